// What writes: the jobs whose outputs must exist completely or not at all, whatever happens.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "files.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/model/progress.hpp"

namespace mpo::test {

/// The files of a folder, or the one file: what an output is, byte by byte. Empty where there is
/// none.
using Output = std::map<std::string, std::string>;
[[nodiscard]] Output everything(const std::filesystem::path& path);

/// mpo::compress with half the parameters, and mpo::reconstruct. Compiled once: they are not small.
void compress_model(const std::filesystem::path& model, const std::filesystem::path& output,
                    const ProgressCallback& progress = {}, ReadMode mode = ReadMode::mapped);
void reconstruct_model(const std::filesystem::path& compressed, const std::filesystem::path& output,
                       const ProgressCallback& progress = {});

/// Writes a model of `layers` layers of seven linears.
void write_layers(const std::filesystem::path& folder, int layers);

/// A model of two layers, and the same compressed, for jobs to read.
struct Sources {
    explicit Sources(int layers = 2);
    TemporaryFolder folder;
    std::filesystem::path model, small;
};

/// A job writes the output `path`.
struct Job {
    std::string name;
    std::function<void(const std::filesystem::path& path)> run;
};

/// One file of text, one of tensors, compress and reconstruct. The sources must live longer.
[[nodiscard]] std::vector<Job> jobs(const Sources& sources);

/// What each job makes where nothing goes wrong, by its name.
[[nodiscard]] std::map<std::string, Output> good_outputs(const std::vector<Job>& jobs);

/// Names in a folder that are not of temporary files.
[[nodiscard]] std::vector<std::string> final_names(const TemporaryFolder& folder);

}  // namespace mpo::test

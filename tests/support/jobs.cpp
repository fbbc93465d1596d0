#include "support/jobs.hpp"

#include "mpo/io/atomic_file.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/compress.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/reconstruct.hpp"
#include "support/models.hpp"

namespace mpo::test {
namespace {

void write_two_tensors(const std::filesystem::path& path) {
    SafetensorsWriter writer(path);
    writer.append("first", normal_tensor<float>({100, 100}, 1));
    writer.append("second", normal_tensor<float>({70, 50}, 2), DType::bf16);
    writer.finish();
}

}  // namespace

Output everything(const std::filesystem::path& path) {
    if (std::filesystem::is_directory(path)) return contents(path);
    if (std::filesystem::exists(path)) return {{"", read_file(path)}};
    return {};
}

void compress_model(const std::filesystem::path& model, const std::filesystem::path& output,
                    const ProgressCallback& progress, ReadMode mode) {
    CompressOptions options;
    options.budget = 0.5;
    options.progress = progress;
    (void)compress(Checkpoint(model, mode), output, options, EigenBackend{});
}

void reconstruct_model(const std::filesystem::path& compressed, const std::filesystem::path& output,
                       const ProgressCallback& progress) {
    ReconstructOptions options;
    options.progress = progress;
    (void)reconstruct(CompressedCheckpoint(compressed), output, options, EigenBackend{});
}

void write_layers(const std::filesystem::path& folder, int layers) {
    Weights weights;
    weights["model.norm.weight"] = normal_tensor<float>({24}, 98);
    for (int layer = 0; layer < layers; ++layer)
        for (const auto& [module, shape] : small_linears())
            weights["model.layers." + std::to_string(layer) + "." + module + ".weight"] =
                normal_tensor<float>(shape, 5);
    write_model(folder, weights);
}

Sources::Sources(int layers) : model(folder / "model"), small(folder / "small") {
    write_layers(model, layers);
    compress_model(model, small);
}

std::vector<Job> jobs(const Sources& sources) {
    return {
        {"text file", [](const auto& path) { write_text_file(path, std::string(30'000, 'x')); }},
        {"safetensors file", [](const auto& path) { write_two_tensors(path); }},
        {"compress", [&](const auto& path) { compress_model(sources.model, path); }},
        {"reconstruct", [&](const auto& path) { reconstruct_model(sources.small, path); }}};
}

std::map<std::string, Output> good_outputs(const std::vector<Job>& jobs) {
    std::map<std::string, Output> outputs;
    for (const auto& job : jobs) {
        const TemporaryFolder folder;
        job.run(folder / "out");
        outputs[job.name] = everything(folder / "out");
    }
    return outputs;
}

std::vector<std::string> final_names(const TemporaryFolder& folder) {
    std::vector<std::string> names;
    for (const auto& name : folder.names())
        if (!(name.starts_with(".") && name.ends_with(".tmp"))) names.push_back(name);
    return names;
}

}  // namespace mpo::test

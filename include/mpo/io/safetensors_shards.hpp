// Reading a checkpoint that is split over several safetensors files. The index,
// model.safetensors.index.json, is
//
//   1. a JSON object {"metadata": .., "weight_map": {tensor: file, ..}}; other keys are ignored.
//   2. A file is a plain name: it lies beside the index, never elsewhere.
//   3. Every tensor of the map is in the file named, and every tensor of a file is in the map.
//   4. A tensor occurs once.
//
// Limits of ours: those of io/limits.hpp, 10,000 shards, an index of 100,000,000 bytes.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mpo/io/safetensors.hpp"

namespace mpo {

/// All shards of an index, opened. Const calls are safe from many threads.
class ShardedSafetensors {
  public:
    /// Throws FileError where a file is missing or unreadable, FormatError where one breaks a rule.
    explicit ShardedSafetensors(const std::filesystem::path& index,
                                const SafetensorsOptions& options = {});

    /// Sorted by file name.
    [[nodiscard]] const std::vector<SafetensorsFile>& shards() const { return shards_; }

    /// Whether a shard holds a tensor of that name.
    [[nodiscard]] bool contains(const std::string& name) const { return owners_.count(name) != 0; }

    /// The shard that holds the tensor. Throws ArgumentError where none does.
    [[nodiscard]] const SafetensorsFile& shard_of(const std::string& name) const;

  private:
    void open_shards(const std::filesystem::path& folder,
                     const std::unordered_map<std::string, std::string>& weight_map,
                     const std::string& source, const SafetensorsOptions& options);

    static void require_listed(const SafetensorsFile& shard, const std::string& name,
                               const std::unordered_map<std::string, std::string>& weight_map,
                               const std::string& source);

    std::vector<SafetensorsFile> shards_;
    std::unordered_map<std::string, std::size_t> owners_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/safetensors_shards_inl.hpp"
#endif

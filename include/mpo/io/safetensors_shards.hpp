// Reading a checkpoint that is split over several safetensors files. The index,
// model.safetensors.index.json, is
//
//   1. a JSON object {"metadata": .., "weight_map": {tensor: file, ..}}; other keys are ignored.
//   2. A file is a plain name: it lies beside the index, never elsewhere.
//   3. Every tensor of the map is in the file named, and every tensor of a file is in the map.
//   4. A tensor occurs once.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/io/json_events.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/io/safetensors.hpp"

namespace mpo {
namespace detail {

/// Hears the index and collects weight_map.
class SafetensorsIndex final : public JsonEvents {
  public:
    explicit SafetensorsIndex(std::string source) : source_(std::move(source)) {}

    std::unordered_map<std::string, std::string> weight_map;

    void begin_object() override {
        if (in_map()) fail(tensor_, "a file name belongs here, not an object");
        ++depth_;
    }
    void end_object() override { --depth_; }
    void begin_array() override {
        if (depth_ == 0 || in_map()) fail(tensor_, "an array where none belongs");
        ++depth_;
    }
    void end_array() override { --depth_; }

    void key(std::string name) override {
        if (in_map())
            tensor_ = std::move(name);
        else if (depth_ == 1) {
            if (name == "weight_map" && seen_map_) fail(name, "occurs twice");
            seen_map_ = seen_map_ || name == "weight_map";
            section_ = std::move(name);
        }
    }

    void scalar(JsonScalar value) override {
        if (depth_ == 0 || (depth_ == 1 && section_ == "weight_map"))
            fail(section_, concat("an object belongs here, not ", kind_of(value)));
        if (!in_map()) return;
        auto* file = std::get_if<std::string>(&value);
        if (!file) fail(tensor_, concat("a file name belongs here, not ", kind_of(value)));
        const bool plain = !file->empty() && *file != "." && *file != ".." &&
                           file->find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
        if (!plain) fail(tensor_, json_quote(*file) + " is not a plain file name");
        if (!weight_map.emplace(tensor_, std::move(*file)).second) fail(tensor_, "occurs twice");
    }

  private:
    [[nodiscard]] bool in_map() const { return depth_ == 2 && section_ == "weight_map"; }
    [[noreturn]] void fail(const std::string& key, const std::string& what) const {
        throw FormatError(concat(source_, ": '", key, "': ", what));
    }

    std::string source_, section_, tensor_;
    int depth_ = 0;
    bool seen_map_ = false;
};

}  // namespace detail

/// All shards of an index, opened. Const calls are safe from many threads.
class ShardedSafetensors {
  public:
    /// Throws FileError where a file is missing or unreadable, FormatError where one breaks a rule.
    explicit ShardedSafetensors(const std::filesystem::path& index,
                                const SafetensorsOptions& options = {}) {
        constexpr Index max_index_bytes = 100'000'000;
        const std::string source = index.string();
        const MappedFile file(index, ReadMode::buffered);
        if (file.size() > max_index_bytes)
            throw FormatError(detail::concat(source, ": ", file.size(),
                                             " bytes exceed the limit of ", max_index_bytes));
        const auto text = file.bytes(0, file.size());
        detail::SafetensorsIndex parsed(source);
        detail::parse_json({reinterpret_cast<const char*>(text.data()), text.span().size()}, parsed,
                           source);
        if (parsed.weight_map.empty())
            throw FormatError(detail::concat(source, ": weight_map is missing or empty"));
        open_shards(index.parent_path(), parsed.weight_map, source, options);
    }

    /// Sorted by file name.
    [[nodiscard]] const std::vector<SafetensorsFile>& shards() const { return shards_; }

    /// Whether a shard holds a tensor of that name.
    [[nodiscard]] bool contains(const std::string& name) const { return owners_.count(name) != 0; }

    /// The shard that holds the tensor. Throws ArgumentError where none does.
    [[nodiscard]] const SafetensorsFile& shard_of(const std::string& name) const {
        const auto found = owners_.find(name);
        if (found == owners_.end())
            throw ArgumentError(detail::concat("no tensor '", name, "' in the ", shards_.size(),
                                               " shards of the checkpoint"));
        return shards_[found->second];
    }

  private:
    void open_shards(const std::filesystem::path& folder,
                     const std::unordered_map<std::string, std::string>& weight_map,
                     const std::string& source, const SafetensorsOptions& options) {
        std::map<std::string, std::size_t> positions;
        for (const auto& [tensor, name] : weight_map) positions.emplace(name, 0);
        for (auto& [name, position] : positions) {
            if (!std::filesystem::exists(folder / name))
                throw FileError(detail::concat(source, ": the shard '", name, "' is missing"));
            position = shards_.size();
            shards_.emplace_back(folder / name, options);
        }
        for (const auto& [tensor, name] : weight_map) {
            if (!shards_[positions[name]].contains(tensor))
                throw FormatError(detail::concat(source, ": tensor '", tensor, "' is not in '",
                                                 name, "', where the index says it is"));
            owners_[tensor] = positions[name];
        }
        for (const auto& shard : shards_)
            for (const auto& entry : shard.tensors())
                if (weight_map.count(entry.name) == 0 || &shard_of(entry.name) != &shard)
                    throw FormatError(detail::concat(source, ": tensor '", entry.name, "' of '",
                                                     shard.path().filename().string(),
                                                     "' is not listed there by the index"));
    }

    std::vector<SafetensorsFile> shards_;
    std::unordered_map<std::string, std::size_t> owners_;
};

}  // namespace mpo

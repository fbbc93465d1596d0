// The bodies of io/safetensors_shards.hpp that are no templates.
#pragma once

#include <map>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_events.hpp"
#include "mpo/io/limits.hpp"
#include "mpo/io/safetensors_shards.hpp"
#include "mpo/io/text_file.hpp"

namespace mpo {
namespace detail {

/// Hears the index and collects weight_map.
class SafetensorsIndex final : public JsonEvents {
  public:
    explicit SafetensorsIndex(std::string source) : source_(std::move(source)) {}

    std::unordered_map<std::string, std::string> weight_map;

    void begin_object() override {
        if (in_map()) fail("a file name belongs here, not an object");
        ++depth_;
    }
    void end_object() override { --depth_; }
    void begin_array() override {
        if (depth_ == 0) fail("an object belongs here, not an array");
        if (depth_ == 1 && section_ == "weight_map") fail("an object belongs here, not an array");
        if (in_map()) fail("a file name belongs here, not an array");
        ++depth_;
    }
    void end_array() override { --depth_; }

    void key(std::string name, Index byte) override {
        if (depth_ > 1 && !in_map()) return;
        if (depth_ == 1) section_ = name;
        key_ = std::move(name);
        byte_ = byte;
        if (depth_ == 1 && section_ == "weight_map" && std::exchange(seen_map_, true))
            fail("occurs twice");
    }

    void scalar(JsonScalar value) override {
        if (depth_ == 0 || (depth_ == 1 && section_ == "weight_map"))
            fail(concat("an object belongs here, not ", kind_of(value)));
        if (!in_map()) return;
        auto* file = std::get_if<std::string>(&value);
        if (!file) fail(concat("a file name belongs here, not ", kind_of(value)));
        const bool plain = !file->empty() && *file != "." && *file != ".." &&
                           file->find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
        if (!plain) fail(in_quotes(*file) + " is not a plain file name");
        if (key_.size() > max_tensor_name_bytes)
            fail(concat("a name of ", key_.size(), " bytes is longer than the limit of ",
                        max_tensor_name_bytes));
        if (static_cast<Index>(weight_map.size()) == max_num_tensors)
            fail(concat("more than ", max_num_tensors, " tensors"));
        if (!weight_map.emplace(key_, std::move(*file)).second) fail("occurs twice");
    }

  private:
    [[nodiscard]] bool in_map() const { return depth_ == 2 && section_ == "weight_map"; }
    [[noreturn]] void fail(const std::string& what) const {
        const std::string key = (in_map() ? "tensor " : "") + in_quotes(key_);
        raise<FormatError>({source_, ": ", depth_ == 0 ? "index" : key, " at byte ",
                            depth_ == 0 ? 0 : byte_, ": ", what});
    }

    std::string source_, section_, key_;
    Index byte_ = 0;  // of key_
    int depth_ = 0;
    bool seen_map_ = false;
};

}  // namespace detail

MPO_DETAIL_MODEL_INLINE ShardedSafetensors::ShardedSafetensors(const std::filesystem::path& index,
                                                               const SafetensorsOptions& options) {
    constexpr Index max_index_bytes = 100'000'000;
    const std::string source = index.string();
    detail::SafetensorsIndex parsed(source);
    detail::parse_json(read_text_file(index, max_index_bytes), parsed, {source});
    if (parsed.weight_map.empty())
        detail::raise<FormatError>({source, ": weight_map is missing or empty"});
    open_shards(index.parent_path(), parsed.weight_map, source, options);
}

MPO_DETAIL_MODEL_INLINE const SafetensorsFile& ShardedSafetensors::shard_of(
    const std::string& name) const {
    const auto found = owners_.find(name);
    if (found == owners_.end())
        detail::raise<ArgumentError>({"no tensor ", detail::in_quotes(name), " in the ",
                                      shards_.size(), " shards of the checkpoint"});
    return shards_[found->second];
}

MPO_DETAIL_MODEL_INLINE void ShardedSafetensors::open_shards(
    const std::filesystem::path& folder,
    const std::unordered_map<std::string, std::string>& weight_map, const std::string& source,
    const SafetensorsOptions& options) {
    std::map<std::string, std::size_t> positions;
    for (const auto& [tensor, name] : weight_map) positions.emplace(name, 0);
    constexpr std::size_t max_shards = 10'000;
    if (positions.size() > max_shards)
        detail::raise<FormatError>(
            {source, ": ", positions.size(), " shards, more than the limit of ", max_shards});
    Index metadata_bytes = 0;
    for (auto& [name, position] : positions) {
        if (!std::filesystem::exists(folder / name))
            detail::raise<FileError>(
                {source, ": the shard ", detail::in_quotes(name), " is missing"});
        position = shards_.size();
        shards_.emplace_back(folder / name, options);
        require_listed(shards_.back(), name, weight_map, source);
        for (const auto& [key, value] : shards_.back().metadata())
            metadata_bytes +=
                static_cast<Index>(key.size() + value.size()) + detail::metadata_pair_bytes;
        if (metadata_bytes > max_metadata_bytes)
            detail::raise<FormatError>({source, ": the shards up to ", detail::in_quotes(name),
                                        " make more metadata than the limit of ",
                                        max_metadata_bytes, " bytes"});
    }
    for (const auto& [tensor, name] : weight_map) {
        if (!shards_[positions[name]].contains(tensor))
            detail::raise<FormatError>({source, ": tensor ", detail::in_quotes(tensor),
                                        " is not in ", detail::in_quotes(name),
                                        ", where the index says it is"});
        owners_[tensor] = positions[name];
    }
}

MPO_DETAIL_MODEL_INLINE void ShardedSafetensors::require_listed(
    const SafetensorsFile& shard, const std::string& name,
    const std::unordered_map<std::string, std::string>& weight_map, const std::string& source) {
    for (const auto& entry : shard.tensors()) {
        const auto listed = weight_map.find(entry.name);
        if (listed == weight_map.end() || listed->second != name)
            detail::raise<FormatError>({source, ": tensor ", detail::in_quotes(entry.name), " of ",
                                        detail::in_quotes(name),
                                        " is not listed there by the index"});
    }
}

}  // namespace mpo

// The bodies of model/snapshot.hpp that are no templates.
#pragma once

#include <utility>

#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/model/snapshot.hpp"

namespace mpo {
namespace detail {

// 2: with a fingerprint
inline constexpr const char* snapshot_version = "2";

/// The text of an object. Throws ArgumentError where `json` is none, or holds what is no UTF-8.
[[nodiscard]] inline std::string snapshot_text(const nlohmann::ordered_json& json,
                                               const std::filesystem::path& path) {
    if (!json.is_object())
        raise<ArgumentError>({"snapshot ", path.string(),
                              ": configuration and header must be JSON objects, got ",
                              json.type_name()});
    try {
        return json.dump();
    } catch (const nlohmann::json::exception& error) {
        raise<ArgumentError>({"snapshot ", path.string(), ": ", error.what()});
    }
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE SnapshotWriter::SnapshotWriter(const std::filesystem::path& path,
                                                       const nlohmann::ordered_json& configuration,
                                                       const nlohmann::ordered_json& header)
    : writer_(path) {
    const auto kept = detail::snapshot_text(configuration, path),
               more = detail::snapshot_text(header, path);
    writer_.set_metadata("mpo_snapshot", detail::snapshot_version);
    writer_.set_metadata("configuration", kept);
    writer_.set_metadata("header", more);
    sum_.add(kept);
    sum_.add(more);
}

MPO_DETAIL_MODEL_INLINE void SnapshotWriter::finish() {
    if (!summed_) writer_.set_metadata("fingerprint", sum_.to_string());
    summed_ = true;  // called again, all of it may lie in the file already
    writer_.finish();
}

MPO_DETAIL_MODEL_INLINE Snapshot::Snapshot(const std::filesystem::path& path,
                                           const nlohmann::ordered_json& configuration)
    : file_(path) {
    if (text("mpo_snapshot") != detail::snapshot_version)
        detail::raise<FormatError>({path.string(), ": is a snapshot of version ",
                                    detail::printable(text("mpo_snapshot")), ", this mpo reads ",
                                    detail::snapshot_version});
    require_undamaged();
    require_same(object("configuration"),
                 nlohmann::json::parse(detail::snapshot_text(configuration, path)));
    header_ = object("header");
}

MPO_DETAIL_MODEL_INLINE const nlohmann::json& Snapshot::header() const {
    return header_;
}

MPO_DETAIL_MODEL_INLINE std::vector<std::string> Snapshot::names() const {
    std::vector<std::string> result;
    for (const auto& entry : file_.tensors()) result.push_back(entry.name);
    return result;
}

MPO_DETAIL_MODEL_INLINE void Snapshot::fail(const std::string& name,
                                            std::string_view problem) const {
    detail::raise<FormatError>(
        {path().string(), ": the array ", detail::in_quotes(name), ' ', problem});
}

MPO_DETAIL_MODEL_INLINE const std::string& Snapshot::text(const char* key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end())
        detail::raise<FormatError>(
            {path().string(), ": is no snapshot, its metadata have no '", key, "'"});
    return found->second;
}

MPO_DETAIL_MODEL_INLINE nlohmann::json Snapshot::object(const char* key) const {
    auto json = detail::parse_json_tree(text(key), path().string());
    if (!json.is_object())
        detail::raise<FormatError>({path().string(), ": '", key,
                                    "' of a snapshot must be an object, got ",
                                    detail::described(json)});
    return json;
}

MPO_DETAIL_MODEL_INLINE void Snapshot::require_undamaged() const {
    detail::Fingerprint sum;
    sum.add(text("configuration"));
    sum.add(text("header"));
    for (const auto& entry : file_.tensors()) {
        sum.add(entry.name);
        const auto bytes = file_.bytes(entry.name);
        sum.add(bytes.data(), static_cast<std::size_t>(bytes.size()));
    }
    if (sum.to_string() != text("fingerprint"))
        detail::raise<FormatError>({path().string(), ": is damaged: its fingerprint is ",
                                    detail::printable(text("fingerprint")), ", its contents have ",
                                    sum.to_string(), "; removed, it is made again"});
}

MPO_DETAIL_MODEL_INLINE void Snapshot::require_same(const nlohmann::json& kept,
                                                    const nlohmann::json& asked) const {
    const auto value_of = [](const nlohmann::json& json, const std::string& key) {
        return json.contains(key) ? detail::printable(json.at(key).dump(), 80)
                                  : std::string("(nothing)");
    };
    for (const auto* side : {&asked, &kept})
        for (const auto& [key, value] : side->items())
            if (!kept.contains(key) || !asked.contains(key) ||
                kept.at(key).dump() != asked.at(key).dump())
                detail::raise<ArgumentError>(
                    {path().string(),
                     ": is a snapshot of another configuration: ", detail::printable(key, 80),
                     " was ", value_of(kept, key), ", asked for is ", value_of(asked, key)});
}

}  // namespace mpo

// The bodies of io/safetensors.hpp that are no templates.
#pragma once

#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/safetensors.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE SafetensorsFile::SafetensorsFile(const std::filesystem::path& path,
                                                         const SafetensorsOptions& options)
    : file_(path, options.mode) {
    const std::string source = path.string();
    const Index header_bytes = read_header_length(source);
    detail::SafetensorsHeader header(source);
    const auto text = file_.bytes(length_bytes, header_bytes);
    const std::string_view json(reinterpret_cast<const char*>(text.data()),
                                static_cast<std::size_t>(header_bytes));
    if (json.empty() || json.front() != '{')
        detail::raise<FormatError>(
            {source, ": the header at byte ", length_bytes, " must begin with '{'"});
    detail::parse_json(json, header, {source, length_bytes});
    entries_ = std::move(header.entries);
    metadata_ = std::move(header.metadata);
    const Index end =
        detail::place_entries(entries_, length_bytes + header_bytes, file_.size(), source);
    if (end != file_.size() && options.trailing == TrailingBytes::refuse)
        detail::raise<FormatError>(
            {source, ": the tensors end at byte ", end, ", the file only at ", file_.size()});
    for (std::size_t k = 0; k < entries_.size(); ++k) positions_[entries_[k].name] = k;
}

MPO_DETAIL_MODEL_INLINE const SafetensorsEntry& SafetensorsFile::info(
    const std::string& name) const {
    const auto found = positions_.find(name);
    if (found == positions_.end())
        detail::raise<ArgumentError>({"no tensor ", detail::in_quotes(name), " in ",
                                      path().string(), " of ", entries_.size(), " tensors"});
    return entries_[found->second];
}

MPO_DETAIL_MODEL_INLINE FileBytes SafetensorsFile::bytes(const std::string& name) const {
    const auto& entry = info(name);
    return file_.bytes(entry.offset, entry.bytes);
}

MPO_DETAIL_MODEL_INLINE Index SafetensorsFile::read_header_length(const std::string& source) const {
    if (file_.size() < length_bytes)
        detail::raise<FormatError>(
            {source, ": ", file_.size(), " bytes cannot hold the header length at byte 0"});
    std::uint64_t length = 0;
    file_.read(0, std::as_writable_bytes(std::span(&length, 1)));
    if (length > max_header_bytes)
        detail::raise<FormatError>({source, ": header length ", length,
                                    " at byte 0 exceeds the limit of ", max_header_bytes});
    const auto left = static_cast<std::uint64_t>(file_.size() - length_bytes);
    if (length > left)
        detail::raise<FormatError>({source, ": header length ", length, " at byte 0 exceeds the ",
                                    left, " bytes that follow"});
    return static_cast<Index>(length);
}

}  // namespace mpo

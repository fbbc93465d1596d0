// The bodies of io/safetensors_writer.hpp that are no templates.
#pragma once

#include <cstdint>
#include <cstdio>
#include <new>

#include "mpo/io/inline.hpp"
#include "mpo/io/json_events.hpp"
#include "mpo/io/safetensors_writer.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                                             SafetensorsWriterOptions options)
    : file_(path), options_(std::move(options)) {
    if (options_.reserved_header_bytes < 0)
        detail::raise<ArgumentError>({"SafetensorsWriter: reserved_header_bytes ",
                                      options_.reserved_header_bytes, " is negative"});
    options_.metadata["format"] = "pt";
    data_begin_ = end_ = length_bytes + round_up(options_.reserved_header_bytes);
}

MPO_DETAIL_MODEL_INLINE void SafetensorsWriter::set_metadata(const std::string& key,
                                                             const std::string& value) {
    require_whole();
    if (state_ == State::sealed || key == "format")
        detail::raise<ArgumentError>(
            {"SafetensorsWriter: metadata '", key, "' ",
             state_ == State::sealed ? "comes after finish()" : "belongs to the writer"});
    static_cast<void>(detail::json_quote(key));  // refuses what is no text
    static_cast<void>(detail::json_quote(value));
    options_.metadata[key] = value;
}

MPO_DETAIL_MODEL_INLINE void SafetensorsWriter::append(const std::string& name, DType dtype,
                                                       const Shape& shape,
                                                       std::span<const std::byte> bytes) {
    auto entry = new_entry(name, dtype, shape);
    if (entry.bytes != static_cast<Index>(bytes.size()))
        detail::raise<ArgumentError>({"SafetensorsWriter: '", name, "' of shape ", to_string(shape),
                                      " and ", to_string(dtype), " takes ", entry.bytes,
                                      " bytes, got ", bytes.size()});
    file_.write_at(end_, bytes);
    accept(std::move(entry));
}

MPO_DETAIL_MODEL_INLINE void SafetensorsWriter::finish_as(const std::filesystem::path& path) {
    seal();
    file_.commit_as(path);
}

MPO_DETAIL_MODEL_INLINE void SafetensorsWriter::seal() {
    if (state_ == State::sealed) return;
    require_whole();
    const std::string header = padded_header();
    const Index begin = length_bytes + static_cast<Index>(header.size());
    file_.resize(end_);
    if (begin != data_begin_) move_data(begin);
    const auto length = static_cast<std::uint64_t>(header.size());
    file_.write_at(0, std::as_bytes(std::span(&length, 1)));
    file_.write_at(length_bytes, std::as_bytes(std::span(header)));
    file_.flush();
    state_ = State::sealed;
}

MPO_DETAIL_MODEL_INLINE void SafetensorsWriter::require_whole() const {
    if (state_ == State::torn)
        detail::raise<ArgumentError>({"SafetensorsWriter: ", file_.path().string(),
                                      " failed while its data were moved before; it must "
                                      "be written anew"});
}

MPO_DETAIL_MODEL_INLINE void SafetensorsWriter::move_data(Index begin) {
    state_ = State::torn;
    try {
        file_.shift(data_begin_, begin);
    } catch (const std::bad_alloc&) {  // shift allocates before it moves
        state_ = State::open;
        throw;
    }
    state_ = State::open;
    end_ += begin - data_begin_;
    data_begin_ = begin;
}

MPO_DETAIL_MODEL_INLINE SafetensorsEntry SafetensorsWriter::new_entry(const std::string& name,
                                                                      DType dtype,
                                                                      const Shape& shape) const {
    const auto refuse = [&](const char* why) {
        detail::raise<ArgumentError>(
            {"SafetensorsWriter: '", name, "' of shape ", to_string(shape), " ", why});
    };
    require_whole();
    if (state_ == State::sealed) refuse("comes after finish()");
    if (name == "__metadata__") refuse("has a name that the format reserves");
    if (contains(name)) refuse("was appended before");
    static_cast<void>(detail::json_quote(name));  // refuses what is no text
    const Index bits = bits_per_element(dtype), count = num_elements(shape);
    Index total = 0;
    if (__builtin_mul_overflow(count, bits, &total) || total % 8 != 0)
        refuse(bits < 8 ? "does not fill whole bytes" : "is too large");
    return {name, dtype, shape, end_ - data_begin_, total / 8};
}

MPO_DETAIL_MODEL_INLINE void SafetensorsWriter::accept(SafetensorsEntry entry) {
    if (entries_.size() == entries_.capacity()) entries_.reserve(2 * entries_.size() + 16);
    names_.insert(entry.name);
    end_ += entry.bytes;
    entries_.push_back(std::move(entry));  // there is room: cannot throw
}

MPO_DETAIL_MODEL_INLINE std::string SafetensorsWriter::entry_text(const SafetensorsEntry& entry) {
    std::string shape;
    for (const Index extent : entry.shape)
        shape += detail::concat(shape.empty() ? "" : ",", extent);
    return detail::concat(',', detail::json_quote(entry.name), ":{\"dtype\":\"",
                          to_string(entry.dtype), "\",\"shape\":[", shape, "],\"data_offsets\":[",
                          entry.offset, ',', entry.offset + entry.bytes, "]}");
}

MPO_DETAIL_MODEL_INLINE std::string SafetensorsWriter::padded_header() const {
    constexpr Index worthwhile = 64;  // move where the spaces exceed 1/64 of the data
    std::string text = "{\"__metadata__\":{";
    for (const auto& [key, value] : options_.metadata)
        text += detail::concat(text.back() == '{' ? "" : ",", detail::json_quote(key), ':',
                               detail::json_quote(value));
    text += "}";
    for (const auto& entry : entries_) text += entry_text(entry);
    text += "}";
    const Index exact = round_up(static_cast<Index>(text.size()));
    if (exact > max_header_bytes)
        detail::raise<ArgumentError>({"SafetensorsWriter: the header of ", entries_.size(),
                                      " tensors takes ", exact, " bytes, more than ",
                                      max_header_bytes});
    const Index room = data_begin_ - length_bytes;
    const bool keep = room >= exact && room - exact <= data_bytes() / worthwhile;
    text.resize(static_cast<std::size_t>(keep ? room : exact), ' ');
    return text;
}

MPO_DETAIL_MODEL_INLINE ShardedSafetensorsWriter::ShardedSafetensorsWriter(
    std::filesystem::path folder, ShardedSafetensorsWriterOptions options)
    : folder_(std::move(folder)), options_(std::move(options)) {
    if (options_.max_shard_bytes < 1)
        detail::raise<ArgumentError>({"ShardedSafetensorsWriter: max_shard_bytes ",
                                      options_.max_shard_bytes, " must be at least 1"});
    open_shard();
}

MPO_DETAIL_MODEL_INLINE void ShardedSafetensorsWriter::finish() {
    if (shards_.size() > 1 && shards_.back().tensors().empty())
        shards_.pop_back();  // was opened for a tensor that could not be appended
    for (auto& shard : shards_) shard.seal();
    if (shards_.size() == 1) return shards_.front().finish_as(folder_ / "model.safetensors");
    Index total = 0;
    std::string map;
    for (std::size_t k = 0; k < shards_.size(); ++k) {
        const std::string file = shard_name(k);
        for (const auto& entry : shards_[k].tensors())
            map += (map.empty() ? "\n    " : ",\n    ") + detail::json_quote(entry.name) + ": \"" +
                   file + "\"";
        total += shards_[k].data_bytes();
    }
    for (std::size_t k = 0; k < shards_.size(); ++k) shards_[k].finish_as(folder_ / shard_name(k));
    write_text_file(folder_ / "model.safetensors.index.json",
                    "{\n  \"metadata\": {\"total_size\": " + std::to_string(total) +
                        "},\n  \"weight_map\": {" + map + "\n  }\n}\n");
}

MPO_DETAIL_MODEL_INLINE void ShardedSafetensorsWriter::open_shard() {
    shards_.emplace_back(
        folder_ / "model.safetensors",
        SafetensorsWriterOptions{options_.metadata, options_.reserved_header_bytes});
}

MPO_DETAIL_MODEL_INLINE SafetensorsWriter& ShardedSafetensorsWriter::shard_for(
    const std::string& name, Index bytes) {
    for (const auto& shard : shards_)
        if (shard.contains(name))
            detail::raise<ArgumentError>(
                {"ShardedSafetensorsWriter: '", name, "' was appended before"});
    const Index present = shards_.back().data_bytes();
    if (present > 0 && bytes > options_.max_shard_bytes - present) open_shard();
    return shards_.back();
}

MPO_DETAIL_MODEL_INLINE std::string ShardedSafetensorsWriter::shard_name(std::size_t k) const {
    const auto digits = [](std::size_t n) {
        const std::string text = std::to_string(n);
        return std::string(text.size() < 5 ? 5 - text.size() : 0, '0') + text;
    };
    return "model-" + digits(k + 1) + "-of-" + digits(shards_.size()) + ".safetensors";
}

}  // namespace mpo

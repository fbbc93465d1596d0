// The bodies of io/safetensors_header.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>

#include "mpo/io/inline.hpp"
#include "mpo/io/limits.hpp"
#include "mpo/io/safetensors_header.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::begin_object() {
    if (at_ == At::start)
        at_ = At::root;
    else if (at_ == At::root)
        at_ = is_metadata() ? At::metadata : At::entry;
    else
        fail(field_text() + "holds an object, where none belongs");
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::key(std::string name, Index byte) {
    if (at_ == At::root)
        begin_member(std::move(name), byte);
    else
        begin_field(std::move(name), byte);
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::begin_array() {
    if (at_ != At::entry || field_ == "dtype")
        fail(field_text() + "holds an array, where none belongs");
    at_ = At::numbers;
    (field_ == "shape" ? entry_.shape : entry_.offsets).emplace();
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::scalar(JsonScalar value) {
    if (at_ == At::metadata)
        add_metadata(text(value));
    else if (at_ == At::entry && field_ == "dtype")
        set_dtype(text(value));
    else if (at_ == At::entry)
        fail(concat(field_text(), "needs an array, got ", kind_of(value)));
    else if (at_ == At::numbers)
        add_number(value);
    else if (!is_metadata() || value.index() != 0)  // null metadata occurs in the wild
        fail(concat("needs an object, got ", kind_of(value)));
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::end_object() {
    if (at_ == At::entry) finish_entry();
    at_ = at_ == At::root ? At::start : At::root;
    field_byte_ = -1;
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::fail(const std::string& what) const {
    raise<FormatError>({source_, is_metadata() ? ": " : ": tensor ", in_quotes(key_), " at byte ",
                        key_byte_, ": ", what});
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::begin_member(std::string name, Index byte) {
    key_ = std::move(name);
    key_byte_ = byte;
    entry_ = {};
    if (key_.size() > max_tensor_name_bytes)
        fail(concat("a name of ", key_.size(), " bytes is longer than the limit of ",
                    max_tensor_name_bytes));
    if (static_cast<Index>(entries.size()) == max_num_tensors)
        fail(concat("more than ", max_num_tensors, " tensors"));
    if (!names_.insert(key_).second) fail("the name occurs twice");
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::begin_field(std::string name, Index byte) {
    field_ = std::move(name);
    field_byte_ = byte;
    if (at_ == At::metadata) {
        if (metadata.count(field_) != 0) fail(field_text() + "occurs twice");
        return;
    }
    const bool dtype = field_ == "dtype", shape = field_ == "shape";
    if (!dtype && !shape && field_ != "data_offsets")
        fail(field_text() + "is unknown; there are dtype, shape and data_offsets");
    if (dtype ? entry_.dtype.has_value() : (shape ? entry_.shape : entry_.offsets).has_value())
        fail(field_text() + "occurs twice");
}

MPO_DETAIL_MODEL_INLINE std::string SafetensorsHeader::text(JsonScalar& value) const {
    if (auto* string = std::get_if<std::string>(&value)) return std::move(*string);
    fail(concat(field_text(), "must be a string, got ", kind_of(value)));
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::add_metadata(std::string value) {
    metadata_bytes_ += static_cast<Index>(field_.size() + value.size()) + metadata_pair_bytes;
    if (metadata_bytes_ > max_metadata_bytes)
        fail(concat(field_text(), "makes more metadata than the limit of ", max_metadata_bytes,
                    " bytes"));
    metadata[field_] = std::move(value);
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::set_dtype(const std::string& name) {
    entry_.dtype = parse_dtype(name);
    if (!entry_.dtype) fail(concat(field_text(), "is unknown: ", in_quotes(name)));
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::add_number(const JsonScalar& value) {
    constexpr std::size_t max_rank = 64;
    constexpr auto limit = static_cast<std::uint64_t>((std::numeric_limits<Index>::max)());
    const auto* number = std::get_if<std::uint64_t>(&value);
    if (!number) fail(concat(field_text(), "needs non-negative integers, got ", kind_of(value)));
    if (*number > limit) fail(concat(field_text(), "holds ", *number, ", more than ", limit));
    auto& numbers = *(field_ == "shape" ? entry_.shape : entry_.offsets);
    if (numbers.size() == (field_ == "shape" ? max_rank : 2))
        fail(concat(field_text(), "has more than ", numbers.size(), " numbers"));
    numbers.push_back(static_cast<Index>(*number));
}

MPO_DETAIL_MODEL_INLINE void SafetensorsHeader::finish_entry() {
    if (!entry_.dtype) fail("no dtype");
    if (!entry_.shape) fail("no shape");
    if (!entry_.offsets || entry_.offsets->size() != 2) fail("data_offsets needs two numbers");
    const Index begin = (*entry_.offsets)[0], end = (*entry_.offsets)[1];
    if (end < begin) fail(concat("data_offsets [", begin, ", ", end, "] run backwards"));
    const Index bytes = stored_bytes(*entry_.dtype, *entry_.shape);
    if (bytes != end - begin)
        fail(concat("shape ", to_string(*entry_.shape), " of ", to_string(*entry_.dtype), " takes ",
                    bytes, " bytes, but data_offsets [", begin, ", ", end, "] hold ", end - begin));
    entries.push_back({key_, *entry_.dtype, std::move(*entry_.shape), begin, bytes});
}

MPO_DETAIL_MODEL_INLINE Index SafetensorsHeader::stored_bytes(DType dtype,
                                                              const Shape& shape) const {
    Index bits = bits_per_element(dtype);
    for (const Index extent : shape)
        if (extent != 0 && __builtin_mul_overflow(bits, extent, &bits))
            fail(concat("shape ", to_string(shape), " of ", to_string(dtype),
                        " has more than 2^63 bits"));
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
    if (bits % 8 != 0)
        fail(concat("shape ", to_string(shape), " of ", to_string(dtype), " takes ", bits,
                    " bits, not whole bytes"));
    return bits / 8;
}

MPO_DETAIL_MODEL_INLINE Index place_entries(std::vector<SafetensorsEntry>& entries,
                                            Index data_begin, Index file_size,
                                            const std::string& source) {
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
    });
    const Index data_bytes = file_size - data_begin;
    Index end = 0;
    for (auto& entry : entries) {
        const auto fail = [&](const auto&... rule) {
            throw FormatError(concat(source, ": tensor ", in_quotes(entry.name), " at bytes [",
                                     entry.offset, ", ", entry.offset + entry.bytes,
                                     ") of the data, which begins at byte ", data_begin, ", ",
                                     rule...));
        };
        if (entry.offset < end) fail("overlaps what ends at ", end);
        if (entry.offset > end) fail("leaves a hole after ", end);
        if (entry.bytes > data_bytes - end)
            fail("ends beyond the file, which has ", data_bytes, " bytes of data");
        end = entry.offset + entry.bytes;
        entry.offset += data_begin;
    }
    return data_begin + end;
}

}  // namespace mpo::detail

// The JSON header of a safetensors file, judged while it is read; io/safetensors.hpp has the
// format.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/json_events.hpp"

namespace mpo {

/// One tensor of a safetensors file.
struct SafetensorsEntry {
    std::string name;          // as the file has it
    DType dtype = DType::f32;  // of the stored numbers
    Shape shape;               // row-major
    Index offset = 0;          // of its first byte, counted from the beginning of the file
    Index bytes = 0;           // of the stored numbers
};

namespace detail {

/// Hears the header and collects its entries; offsets count from the data until place_entries.
class SafetensorsHeader final : public JsonEvents {
  public:
    explicit SafetensorsHeader(std::string source) : source_(std::move(source)) {}

    std::vector<SafetensorsEntry> entries;
    std::map<std::string, std::string> metadata;

    void begin_object() override {
        if (at_ == At::start)
            at_ = At::root;
        else if (at_ == At::root)
            at_ = key_ == "__metadata__" ? At::metadata : At::entry;
        else
            fail("an object where none belongs");
    }

    void key(std::string name) override {
        if (at_ == At::root) {
            key_ = std::move(name);
            if (!names_.insert(key_).second) fail("the name occurs twice");
            entry_ = {};
        } else if (at_ == At::metadata) {
            if (metadata.count(name) != 0) fail("the key '" + name + "' occurs twice");
            field_ = std::move(name);
        } else {
            const bool known = name == "dtype" || name == "shape" || name == "data_offsets";
            if (!known) fail("unknown field '" + name + "'");
            if ((name == "dtype" && entry_.dtype) || (name == "shape" && entry_.shape) ||
                (name == "data_offsets" && entry_.offsets))
                fail("'" + name + "' occurs twice");
            field_ = std::move(name);
        }
    }

    void begin_array() override {
        if (at_ != At::entry || field_ == "dtype") fail("an array where none belongs");
        at_ = At::numbers;
        (field_ == "shape" ? entry_.shape : entry_.offsets).emplace();
    }

    void end_array() override { at_ = At::entry; }

    void scalar(JsonScalar value) override {
        if (at_ == At::metadata)
            metadata[field_] = text(value, "the metadata '" + field_ + "'");
        else if (at_ == At::entry && field_ == "dtype")
            set_dtype(text(value, "'dtype'"));
        else if (at_ == At::numbers)
            add_number(value);
        else if (at_ == At::root && key_ == "__metadata__" && value.index() == 0)
            return;  // null metadata occurs in the wild
        else
            fail(
                concat(kind_of(value), " where ",
                       at_ == At::entry ? "'" + field_ + "' needs an array" : "an object belongs"));
    }

    void end_object() override {
        if (at_ == At::entry) finish_entry();
        at_ = at_ == At::root ? At::start : At::root;
    }

  private:
    enum class At { start, root, metadata, entry, numbers };
    struct Fields {
        std::optional<DType> dtype;
        std::optional<std::vector<Index>> shape, offsets;
    };

    [[noreturn]] void fail(const std::string& what) const {
        const bool inside = !key_.empty() || at_ != At::start;
        throw FormatError(
            concat(source_, inside ? ": '" + key_ + "' in the header: " : ": header: ", what));
    }

    [[nodiscard]] std::string text(JsonScalar& value, const std::string& what) const {
        if (auto* string = std::get_if<std::string>(&value)) return std::move(*string);
        fail(concat(what, " must be a string, got ", kind_of(value)));
    }

    void set_dtype(const std::string& name) {
        entry_.dtype = parse_dtype(name);
        if (!entry_.dtype) fail("unknown dtype '" + name + "'");
    }

    void add_number(const JsonScalar& value) {
        constexpr std::size_t max_rank = 64;
        constexpr auto limit = static_cast<std::uint64_t>((std::numeric_limits<Index>::max)());
        const auto* number = std::get_if<std::uint64_t>(&value);
        if (!number)
            fail(concat("'", field_, "' needs non-negative integers, got ", kind_of(value)));
        if (*number > limit) fail(concat("'", field_, "' holds ", *number, ", more than ", limit));
        auto& numbers = *(field_ == "shape" ? entry_.shape : entry_.offsets);
        if (numbers.size() == (field_ == "shape" ? max_rank : 2))
            fail(concat("'", field_, "' has more than ", numbers.size(), " numbers"));
        numbers.push_back(static_cast<Index>(*number));
    }

    void finish_entry() {
        if (!entry_.dtype) fail("no dtype");
        if (!entry_.shape) fail("no shape");
        if (!entry_.offsets || entry_.offsets->size() != 2) fail("data_offsets needs two numbers");
        const Index begin = (*entry_.offsets)[0], end = (*entry_.offsets)[1];
        if (end < begin) fail(concat("data_offsets [", begin, ", ", end, "] run backwards"));
        const Index bytes = stored_bytes(*entry_.dtype, *entry_.shape);
        if (bytes != end - begin)
            fail(concat("shape ", to_string(*entry_.shape), " of ", to_string(*entry_.dtype),
                        " takes ", bytes, " bytes, but data_offsets [", begin, ", ", end, "] hold ",
                        end - begin));
        entries.push_back({key_, *entry_.dtype, std::move(*entry_.shape), begin, bytes});
    }

    [[nodiscard]] Index stored_bytes(DType dtype, const Shape& shape) const {
        const int bits = bits_per_element(dtype);
        Index count = 1;
        for (const Index extent : shape)
            if (__builtin_mul_overflow(count, extent, &count))
                fail(concat("shape ", to_string(shape), " has more elements than 2^63"));
        if (__builtin_mul_overflow(count, Index{bits}, &count))
            fail(concat("shape ", to_string(shape), " of ", to_string(dtype),
                        " has more than 2^63 bits"));
        if (count % 8 != 0)
            fail(concat("shape ", to_string(shape), " of ", to_string(dtype), " takes ", count,
                        " bits, not whole bytes"));
        return count / 8;
    }

    std::string source_;
    At at_ = At::start;
    std::string key_;    // of the root object
    std::string field_;  // of the entry or the metadata
    Fields entry_;
    std::unordered_set<std::string> names_;
};

/// Sorts by position, requires that the tensors cover the data without hole or overlap, and turns
/// offsets into positions in the file. Returns where the last one ends.
[[nodiscard]] inline Index place_entries(std::vector<SafetensorsEntry>& entries, Index data_begin,
                                         Index file_size, const std::string& source) {
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
    });
    const Index data_bytes = file_size - data_begin;
    Index end = 0;
    for (auto& entry : entries) {
        const auto fail = [&](const char* rule) {
            throw FormatError(concat(source, ": tensor '", entry.name, "' at bytes [", entry.offset,
                                     ", ", entry.offset + entry.bytes, ") of the data ", rule));
        };
        if (entry.offset < end) fail(concat("overlaps what ends at ", end).c_str());
        if (entry.offset > end) fail(concat("leaves a hole after ", end).c_str());
        if (entry.bytes > data_bytes - end)
            fail(concat("ends beyond the file, which has ", data_bytes, " bytes of data").c_str());
        end = entry.offset + entry.bytes;
        entry.offset += data_begin;
    }
    return data_begin + end;
}

}  // namespace detail
}  // namespace mpo

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
#include "mpo/core/printable.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/json_events.hpp"
#include "mpo/io/limits.hpp"

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
            at_ = is_metadata() ? At::metadata : At::entry;
        else
            fail(field_text() + "holds an object, where none belongs");
    }

    void key(std::string name, Index byte) override {
        if (at_ == At::root)
            begin_member(std::move(name), byte);
        else
            begin_field(std::move(name), byte);
    }

    void begin_array() override {
        if (at_ != At::entry || field_ == "dtype")
            fail(field_text() + "holds an array, where none belongs");
        at_ = At::numbers;
        (field_ == "shape" ? entry_.shape : entry_.offsets).emplace();
    }

    void end_array() override { at_ = At::entry; }

    void scalar(JsonScalar value) override {
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

    void end_object() override {
        if (at_ == At::entry) finish_entry();
        at_ = at_ == At::root ? At::start : At::root;
        field_byte_ = -1;
    }

  private:
    enum class At { start, root, metadata, entry, numbers };
    struct Fields {
        std::optional<DType> dtype;
        std::optional<std::vector<Index>> shape, offsets;
    };

    [[nodiscard]] bool is_metadata() const { return key_ == "__metadata__"; }

    [[noreturn]] void fail(const std::string& what) const {
        raise<FormatError>({source_, is_metadata() ? ": " : ": tensor ", in_quotes(key_),
                            " at byte ", key_byte_, ": ", what});
    }
    /// "'shape' at byte 40 " inside an entry or the metadata.
    [[nodiscard]] std::string field_text() const {
        return field_byte_ < 0 ? "" : concat(in_quotes(field_), " at byte ", field_byte_, ' ');
    }

    void begin_member(std::string name, Index byte) {
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

    void begin_field(std::string name, Index byte) {
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

    [[nodiscard]] std::string text(JsonScalar& value) const {
        if (auto* string = std::get_if<std::string>(&value)) return std::move(*string);
        fail(concat(field_text(), "must be a string, got ", kind_of(value)));
    }

    void add_metadata(std::string value) {
        metadata_bytes_ += static_cast<Index>(field_.size() + value.size()) + metadata_pair_bytes;
        if (metadata_bytes_ > max_metadata_bytes)
            fail(concat(field_text(), "makes more metadata than the limit of ", max_metadata_bytes,
                        " bytes"));
        metadata[field_] = std::move(value);
    }

    void set_dtype(const std::string& name) {
        entry_.dtype = parse_dtype(name);
        if (!entry_.dtype) fail(concat(field_text(), "is unknown: ", in_quotes(name)));
    }

    void add_number(const JsonScalar& value) {
        constexpr std::size_t max_rank = 64;
        constexpr auto limit = static_cast<std::uint64_t>((std::numeric_limits<Index>::max)());
        const auto* number = std::get_if<std::uint64_t>(&value);
        if (!number)
            fail(concat(field_text(), "needs non-negative integers, got ", kind_of(value)));
        if (*number > limit) fail(concat(field_text(), "holds ", *number, ", more than ", limit));
        auto& numbers = *(field_ == "shape" ? entry_.shape : entry_.offsets);
        if (numbers.size() == (field_ == "shape" ? max_rank : 2))
            fail(concat(field_text(), "has more than ", numbers.size(), " numbers"));
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

    /// An extent of 0 excuses no overflow of the others: they are strides.
    [[nodiscard]] Index stored_bytes(DType dtype, const Shape& shape) const {
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

    std::string source_;
    At at_ = At::start;
    std::string key_;        // of the root object
    Index key_byte_ = -1;    // where it stands in the file
    std::string field_;      // of the entry or the metadata
    Index field_byte_ = -1;  // where it stands; -1 outside of them
    Fields entry_;
    Index metadata_bytes_ = 0;  // that they take in memory
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

}  // namespace detail
}  // namespace mpo

// The JSON header of a safetensors file, judged while it is read; io/safetensors.hpp has the
// format.
#pragma once

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

    void begin_object() override;

    void key(std::string name, Index byte) override;

    void begin_array() override;

    void end_array() override { at_ = At::entry; }

    void scalar(JsonScalar value) override;

    void end_object() override;

  private:
    enum class At { start, root, metadata, entry, numbers };
    struct Fields {
        std::optional<DType> dtype;
        std::optional<std::vector<Index>> shape, offsets;
    };

    [[nodiscard]] bool is_metadata() const { return key_ == "__metadata__"; }

    [[noreturn]] void fail(const std::string& what) const;
    /// "'shape' at byte 40 " inside an entry or the metadata.
    [[nodiscard]] std::string field_text() const {
        return field_byte_ < 0 ? "" : concat(in_quotes(field_), " at byte ", field_byte_, ' ');
    }

    void begin_member(std::string name, Index byte);

    void begin_field(std::string name, Index byte);

    [[nodiscard]] std::string text(JsonScalar& value) const;

    void add_metadata(std::string value);

    void set_dtype(const std::string& name);

    void add_number(const JsonScalar& value);

    void finish_entry();

    /// An extent of 0 excuses no overflow of the others: they are strides.
    [[nodiscard]] Index stored_bytes(DType dtype, const Shape& shape) const;

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
[[nodiscard]] Index place_entries(std::vector<SafetensorsEntry>& entries, Index data_begin,
                                  Index file_size, const std::string& source);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/safetensors_header_inl.hpp"
#endif

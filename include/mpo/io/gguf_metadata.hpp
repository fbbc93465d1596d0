// The values of a GGUF file's metadata, and the cursor that reads them without trusting a length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/mapped_file.hpp"

namespace mpo {

/// Elements of one type; the order of the alternatives is that of GGUF's type ids, 64-bit ones
/// last.
struct GgufArray {
    /// One alternative per element type.
    using Elements =
        std::variant<std::vector<std::uint8_t>, std::vector<std::int8_t>,
                     std::vector<std::uint16_t>, std::vector<std::int16_t>,
                     std::vector<std::uint32_t>, std::vector<std::int32_t>, std::vector<float>,
                     std::vector<bool>, std::vector<std::string>, std::vector<GgufArray>,
                     std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>>;
    Elements elements;  // in the order of the file

    /// Number of elements; those of nested arrays are not counted.
    [[nodiscard]] Index size() const {
        return std::visit([](const auto& x) { return static_cast<Index>(x.size()); }, elements);
    }
};

/// Alternative k has GGUF's type id k: u8 0, i8, u16, i16, u32, i32, f32 6, bool 7, string 8, array
/// 9, u64 10, i64 11, f64 12.
using GgufValue = std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t,
                               std::uint32_t, std::int32_t, float, bool, std::string, GgufArray,
                               std::uint64_t, std::int64_t, double>;

/// Key to value: "llama.block_count", "tokenizer.ggml.tokens".
using GgufMetadata = std::map<std::string, GgufValue>;

/// The value as an integer, or nothing where it is no integer or too large for Index.
[[nodiscard]] std::optional<Index> as_integer(const GgufValue& value);

/// The value as a floating-point number, or nothing where it is none.
[[nodiscard]] std::optional<double> as_real(const GgufValue& value);

namespace detail {

/// Walks over a file; every step is checked against what is left. Limits keep a small lie from
/// becoming a large allocation. What fails does so at the byte where the last value read begins.
class GgufCursor {
  public:
    explicit GgufCursor(const MappedFile& file) : file_(file) {}

    [[nodiscard]] Index at() const { return at_; }
    [[nodiscard]] std::uint64_t left() const {
        return static_cast<std::uint64_t>(file_.size() - at_);
    }

    [[noreturn]] void fail(const std::string& what, const std::string& problem) const {
        fail_at(value_begin_, what, problem);
    }
    [[noreturn]] void fail_at(Index byte, const std::string& what,
                              const std::string& problem) const {
        raise<FormatError>({file_.path().string(), ": ", what, " at byte ", byte, ": ", problem});
    }

    /// Counts memory that is kept for metadata and names.
    void keep(std::uint64_t bytes, const std::string& what);

    template <class T>
    [[nodiscard]] T number(const std::string& what) {
        T value;
        std::memcpy(&value, take(sizeof value, what), sizeof value);
        return value;
    }

    /// u64 length, then that many bytes.
    [[nodiscard]] std::string string(const std::string& what, std::uint64_t limit);

    /// A value of the given type id.
    [[nodiscard]] GgufValue value(std::uint32_t type, const std::string& what);

  private:
    static constexpr std::uint64_t max_string_bytes = std::uint64_t{64} << 20;
    static constexpr std::uint64_t max_array_bytes = std::uint64_t{64} << 20;
    static constexpr int max_array_depth = 4;

    /// The next bytes; valid until the next call.
    [[nodiscard]] const std::byte* take(std::uint64_t count, const std::string& what);

    /// build(tag) with tag::type = alternative `type` of Variant.
    template <class Variant, std::size_t k = 0, class Build>
    [[nodiscard]] static Variant alternative(std::uint32_t type, Build&& build) {
        if (type == k) return build(std::type_identity<std::variant_alternative_t<k, Variant>>{});
        if constexpr (k + 1 < std::variant_size_v<Variant>)
            return alternative<Variant, k + 1>(type, build);
        else
            raise<ArgumentError>({"GGUF: no value type has the id ", type});
    }

    template <class T>
    [[nodiscard]] T element(const std::string& what, int depth) {
        if constexpr (std::is_same_v<T, std::string>)
            return string(what, max_string_bytes);
        else if constexpr (std::is_same_v<T, GgufArray>)
            return array(what, depth + 1);
        else if constexpr (std::is_same_v<T, bool>)
            return boolean(what);
        else
            return number<T>(what);
    }

    [[nodiscard]] bool boolean(const std::string& what);

    [[nodiscard]] GgufArray array(const std::string& what, int depth);

    template <class T>
    [[nodiscard]] std::vector<T> elements(std::uint64_t count, const std::string& what, int depth) {
        constexpr std::uint64_t least = std::is_same_v<T, std::string> ? 8
                                        : std::is_same_v<T, GgufArray> ? 12
                                                                       : sizeof(T);
        if (count > max_array_bytes / least)
            fail(what, concat("an array of ", count, " elements exceeds the limit of ",
                              max_array_bytes / least));
        if (count * least > left())
            fail(what, concat("an array of ", count, " elements needs at least ", count * least,
                              " bytes, the file has ", left(), " left"));
        keep(count * (std::is_same_v<T, bool> ? 1 : sizeof(T)), what);
        std::vector<T> result;
        result.reserve(static_cast<std::size_t>(count));
        for (std::uint64_t k = 0; k < count; ++k) result.push_back(element<T>(what, depth));
        return result;
    }

    const MappedFile& file_;
    FileBytes window_;
    Index window_begin_ = 0;
    Index at_ = 0;
    Index value_begin_ = 0;
    Index kept_ = 0;
};

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/gguf_metadata_inl.hpp"
#endif

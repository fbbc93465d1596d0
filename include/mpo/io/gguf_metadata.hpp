// The values of a GGUF file's metadata, and the cursor that reads them without trusting a length.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/limits.hpp"
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
[[nodiscard]] inline std::optional<Index> as_integer(const GgufValue& value) {
    return std::visit(
        [](const auto& x) -> std::optional<Index> {
            using T = std::decay_t<decltype(x)>;
            if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
                if (std::in_range<Index>(x)) return static_cast<Index>(x);
            }
            return std::nullopt;
        },
        value);
}

/// The value as a floating-point number, or nothing where it is none.
[[nodiscard]] inline std::optional<double> as_real(const GgufValue& value) {
    if (const auto* x = std::get_if<float>(&value)) return static_cast<double>(*x);
    if (const auto* x = std::get_if<double>(&value)) return *x;
    return std::nullopt;
}

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
    void keep(std::uint64_t bytes, const std::string& what) {
        if (bytes > static_cast<std::uint64_t>(max_metadata_bytes - kept_))
            fail(what, concat("more metadata than the limit of ", max_metadata_bytes, " bytes"));
        kept_ += static_cast<Index>(bytes);
    }

    template <class T>
    [[nodiscard]] T number(const std::string& what) {
        T value;
        std::memcpy(&value, take(sizeof value, what), sizeof value);
        return value;
    }

    /// u64 length, then that many bytes.
    [[nodiscard]] std::string string(const std::string& what, std::uint64_t limit) {
        const auto length = number<std::uint64_t>(what);
        if (length > limit) fail(what, concat(length, " bytes long, more than the limit ", limit));
        const auto* text = take(length, what);
        keep(length, what);
        return {reinterpret_cast<const char*>(text), static_cast<std::size_t>(length)};
    }

    /// A value of the given type id.
    [[nodiscard]] GgufValue value(std::uint32_t type, const std::string& what) {
        if (type >= std::variant_size_v<GgufValue>)
            fail(what, concat("unknown value type ", type, " (0 to 12 exist)"));
        return alternative<GgufValue>(type, [&](auto tag) {
            return GgufValue(element<typename decltype(tag)::type>(what, 0));
        });
    }

  private:
    static constexpr std::uint64_t max_string_bytes = std::uint64_t{64} << 20;
    static constexpr std::uint64_t max_array_bytes = std::uint64_t{64} << 20;
    static constexpr int max_array_depth = 4;

    /// The next bytes; valid until the next call.
    [[nodiscard]] const std::byte* take(std::uint64_t count, const std::string& what) {
        value_begin_ = at_;
        if (count > left())
            fail(what, concat("needs ", count, " bytes, the file has ", left(), " left"));
        const auto size = static_cast<Index>(count);
        if (at_ + size > window_begin_ + window_.size()) {
            constexpr Index piece = 1 << 18;
            window_ = file_.bytes(at_, (std::min)((std::max)(size, piece), file_.size() - at_));
            window_begin_ = at_;
        }
        const auto* from = window_.data() + (at_ - window_begin_);
        at_ += size;
        return from;
    }

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

    [[nodiscard]] bool boolean(const std::string& what) {
        const int value = number<std::uint8_t>(what);
        if (value > 1) fail(what, concat("a boolean must be 0 or 1, got ", value));
        return value == 1;
    }

    [[nodiscard]] GgufArray array(const std::string& what, int depth) {
        if (depth > max_array_depth)
            fail(what, concat("arrays nested more than ", max_array_depth, " deep"));
        const auto type = number<std::uint32_t>(what);
        const auto count = number<std::uint64_t>(what);
        if (type >= std::variant_size_v<GgufValue>)
            fail(what, concat("unknown array element type ", type, " (0 to 12 exist)"));
        return {alternative<GgufArray::Elements>(type, [&](auto tag) {
            using Vector = typename decltype(tag)::type;
            return GgufArray::Elements(elements<typename Vector::value_type>(count, what, depth));
        })};
    }

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

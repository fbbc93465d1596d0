// Number formats as they lie in files, and their conversion to and from the types we compute in.
//
// Names are those of safetensors. F16, BF16, F32, F64 and C64 are converted; every other type is
// known by name and size only, so that a file can be listed and its tensors copied byte for byte.
// Narrowing rounds to nearest, ties to even; NaN stays NaN, subnormal numbers are kept.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

static_assert(std::endian::native == std::endian::little,
              "mpo: every supported file format is little-endian, and so must be the machine");

/// Formats of one number. The order is that of `detail::dtype_table`.
enum class DType {
    boolean,
    f4,
    f6_e2m3,
    f6_e3m2,
    u8,
    i8,
    f8_e5m2,
    f8_e4m3,
    f8_e8m0,
    f8_e4m3fnuz,
    f8_e5m2fnuz,
    i16,
    u16,
    f16,
    bf16,
    i32,
    u32,
    f32,
    c64,
    f64,
    i64,
    u64
};

namespace detail {

struct DTypeEntry {
    std::string_view name;
    int bits;
};

inline constexpr std::array<DTypeEntry, 22> dtype_table{
    {{"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
     {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
     {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
     {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
     {"I64", 64},        {"U64", 64}}};

}  // namespace detail

/// "BF16" for DType::bf16: the name safetensors gives it.
[[nodiscard]] inline std::string to_string(DType type) {
    return std::string(detail::dtype_table.at(static_cast<std::size_t>(type)).name);
}

/// Bits of one element; 4 and 6 occur.
[[nodiscard]] inline int bits_per_element(DType type) {
    return detail::dtype_table.at(static_cast<std::size_t>(type)).bits;
}

/// The inverse of to_string; nothing for a name that safetensors does not know.
[[nodiscard]] inline std::optional<DType> parse_dtype(std::string_view name) {
    for (std::size_t k = 0; k < detail::dtype_table.size(); ++k)
        if (detail::dtype_table[k].name == name) return static_cast<DType>(k);
    return std::nullopt;
}

/// True for the types that decode and encode convert.
[[nodiscard]] constexpr bool is_convertible(DType type) {
    return type == DType::f16 || type == DType::bf16 || type == DType::f32 || type == DType::f64 ||
           type == DType::c64;
}

/// The type that stores a T without loss. complex<double> has none.
template <Scalar T>
requires(!std::is_same_v<T, std::complex<double>>) inline constexpr DType dtype_of =
    std::is_same_v<T, float>    ? DType::f32
    : std::is_same_v<T, double> ? DType::f64
                                : DType::c64;

namespace detail {

/// condition ? a : b as mask arithmetic: a branch would keep loops from vectorising.
[[nodiscard]] inline std::uint32_t select(bool condition, std::uint32_t a, std::uint32_t b) {
    const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
    return (a & mask) | (b & ~mask);
}

}  // namespace detail

/// IEEE binary16 to float; exact.
[[nodiscard]] inline float half_to_float(std::uint16_t half) {
    const std::uint32_t sign = (half & 0x8000u) << 16;
    const std::uint32_t body = (half & 0x7fffu) << 13;  // exponent and fraction at float's places
    const std::uint32_t exponent = body & 0x0f800000u;
    const std::uint32_t normal = body + (112u << 23);   // bias 15 becomes bias 127
    const std::uint32_t special = body + (224u << 23);  // exponent 31 becomes 255: Inf and NaN
    // A subnormal half is fraction * 2^-24: give it the leading 1 of 2^-14 and subtract that again.
    const auto small = std::bit_cast<std::uint32_t>(std::bit_cast<float>(body + (113u << 23)) -
                                                    std::bit_cast<float>(113u << 23));
    const std::uint32_t finite = detail::select(exponent == 0, small, normal);
    return std::bit_cast<float>(sign | detail::select(exponent == 0x0f800000u, special, finite));
}

/// Float to IEEE binary16, nearest even; beyond 65519.99 to Inf.
[[nodiscard]] inline std::uint16_t float_to_half(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t body = bits & 0x7fffffffu;
    // Adding 0.5 puts the spacing 2^-24 of subnormal halves at float's last bit: hardware rounds.
    const std::uint32_t small =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(body) + 0.5f) - (126u << 23);
    const std::uint32_t normal = (body - (112u << 23) + 0x0fffu + ((body >> 13) & 1u)) >> 13;
    const std::uint32_t nan = 0x7e00u | ((body >> 13) & 0x03ffu);
    const std::uint32_t finite = detail::select(body < (113u << 23), small, normal);
    const std::uint32_t large = detail::select(body > 0x7f800000u, nan, 0x7c00u);
    return static_cast<std::uint16_t>(sign | detail::select(body >= (143u << 23), large, finite));
}

/// bfloat16 to float; exact.
[[nodiscard]] inline float bfloat16_to_float(std::uint16_t value) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

/// Float to bfloat16, nearest even.
[[nodiscard]] inline std::uint16_t float_to_bfloat16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const std::uint32_t nan = (bits >> 16) | 0x0040u;
    return static_cast<std::uint16_t>(
        detail::select((bits & 0x7fffffffu) > 0x7f800000u, nan, rounded));
}

namespace detail {

/// The float next to `value` whose last bit remembers that the conversion was inexact. Rounding it
/// again to 16 bits gives the same as rounding `value` once.
[[nodiscard]] inline float round_to_odd(double value) {
    const auto nearest = static_cast<float>(value);
    const auto back = static_cast<double>(nearest);
    if (back == value || std::isnan(value)) return nearest;
    auto bits = std::bit_cast<std::uint32_t>(nearest);
    if (std::abs(back) > std::abs(value)) --bits;
    return std::bit_cast<float>(bits | 1u);
}

[[nodiscard]] inline float narrow_for_half(float value) {
    return value;
}
[[nodiscard]] inline float narrow_for_half(double value) {
    return round_to_odd(value);
}

/// target[k] = convert(source[k]); both ends unaligned. The inner loop has a fixed length because
/// compilers vectorise such loops at -O2 already.
template <class From, class To, class Convert>
void convert_each(const std::byte* __restrict source, std::byte* __restrict target, Index n,
                  Convert convert) {
    constexpr Index chunk = 16;
    std::array<From, chunk> from;
    std::array<To, chunk> to;
    Index k = 0;
    for (; k + chunk <= n; k += chunk) {
        std::memcpy(from.data(), source, sizeof from);
        for (std::size_t j = 0; j < chunk; ++j) to[j] = convert(from[j]);
        std::memcpy(target, to.data(), sizeof to);
        source += sizeof from;
        target += sizeof to;
    }
    for (; k < n; ++k, source += sizeof(From), target += sizeof(To)) {
        From one;
        std::memcpy(&one, source, sizeof one);
        const To result = convert(one);
        std::memcpy(target, &result, sizeof result);
    }
}

/// Finite values whose stored form is Inf. Infinities are rare: their sources are only looked at in
/// chunks that have one.
template <class T, class Stored>
[[nodiscard]] Index count_overflows(const T* source, const std::byte* stored, Index n,
                                    Stored magnitude_mask, Stored infinity) {
    constexpr Index chunk = 64;
    Index count = 0;
    for (Index begin = 0; begin < n; begin += chunk) {
        const Index length = (std::min)(chunk, n - begin);
        std::array<Stored, chunk> bits{};  // what lies behind a short chunk is 0: no infinity
        std::memcpy(bits.data(), stored + begin * static_cast<Index>(sizeof(Stored)),
                    static_cast<std::size_t>(length) * sizeof(Stored));
        Stored found = 0;
        for (std::size_t k = 0; k < chunk; ++k)
            found |= static_cast<Stored>((bits[k] & magnitude_mask) == infinity);
        if (found == 0) continue;
        for (Index k = 0; k < length; ++k)
            if ((bits[static_cast<std::size_t>(k)] & magnitude_mask) == infinity &&
                std::isfinite(source[begin + k]))
                ++count;
    }
    return count;
}

}  // namespace detail

/// Decodes n stored numbers, `source`, into `target` of T. Real formats give complex T a zero imaginary part.
/// Throws ArgumentError where the format is not convertible, or complex while T is real.
template <Scalar T>
void decode(DType type, const std::byte* source, T* target, Index n) {
    auto* out = reinterpret_cast<std::byte*>(target);
    using R = Real<T>;
    switch (type) {
        case DType::f16:
            return detail::convert_each<std::uint16_t, T>(source, out, n, [](std::uint16_t x) {
                return T(static_cast<R>(half_to_float(x)));
            });
        case DType::bf16:
            return detail::convert_each<std::uint16_t, T>(source, out, n, [](std::uint16_t x) {
                return T(static_cast<R>(bfloat16_to_float(x)));
            });
        case DType::f32:
            return detail::convert_each<float, T>(source, out, n,
                                                  [](float x) { return T(static_cast<R>(x)); });
        case DType::f64:
            return detail::convert_each<double, T>(source, out, n,
                                                   [](double x) { return T(static_cast<R>(x)); });
        case DType::c64:
            if constexpr (is_complex<T>)
                return detail::convert_each<std::complex<float>, T>(
                    source, out, n, [](std::complex<float> x) {
                        return T(static_cast<R>(x.real()), static_cast<R>(x.imag()));
                    });
            [[fallthrough]];
        default:
            detail::raise<ArgumentError>({"decode: ", to_string(type), " does not convert to ",
                                          is_complex<T> ? "complex" : "real", " numbers"});
    }
}

/// Stores the n numbers of `source` as `type` in `target`. Returns how many finite values (parts, where complex) became Inf because the
/// format is too narrow: the caller decides whether that is a NumericalError.
/// Throws ArgumentError where the format is not convertible, or one is complex and the other real.
template <Scalar T>
[[nodiscard]] Index encode(const T* source, DType type, std::byte* target, Index n) {
    if constexpr (is_complex<T>) {
        if (type == DType::c64)
            return encode(reinterpret_cast<const Real<T>*>(source), DType::f32, target, 2 * n);
    } else {
        const auto* in = reinterpret_cast<const std::byte*>(source);
        switch (type) {
            case DType::f16:
                detail::convert_each<T, std::uint16_t>(
                    in, target, n, [](T x) { return float_to_half(detail::narrow_for_half(x)); });
                return detail::count_overflows<T, std::uint16_t>(source, target, n, 0x7fff, 0x7c00);
            case DType::bf16:
                detail::convert_each<T, std::uint16_t>(in, target, n, [](T x) {
                    return float_to_bfloat16(detail::narrow_for_half(x));
                });
                return detail::count_overflows<T, std::uint16_t>(source, target, n, 0x7fff, 0x7f80);
            case DType::f32:
                detail::convert_each<T, float>(in, target, n,
                                               [](T x) { return static_cast<float>(x); });
                if constexpr (std::is_same_v<T, float>) return 0;
                return detail::count_overflows<T, std::uint32_t>(source, target, n, 0x7fffffff,
                                                                 0x7f800000);
            case DType::f64:
                detail::convert_each<T, double>(in, target, n,
                                                [](T x) { return static_cast<double>(x); });
                return 0;
            default:
                break;
        }
    }
    detail::raise<ArgumentError>({"encode: ", is_complex<T> ? "complex" : "real",
                                  " numbers do not convert to ", to_string(type)});
}

}  // namespace mpo

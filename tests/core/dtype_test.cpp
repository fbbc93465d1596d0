#include "mpo/core/dtype.hpp"

#include <cmath>
#include <complex>
#include <limits>
#include <tuple>
#include <vector>

#include "mpo/core/random.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace {

using namespace mpo;

/// A 16-bit format by its definition: sign, exponent, fraction, evaluated with ldexp.
struct Format {
    DType type;
    int exponent_bits, fraction_bits;

    [[nodiscard]] double value(std::uint32_t bits) const {
        const int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
        const int exponent = static_cast<int>(bits >> fraction_bits) & top;
        const double fraction = bits & ((1u << fraction_bits) - 1);
        const double sign = (bits & 0x8000u) != 0 ? -1 : 1;
        if (exponent == top) return fraction == 0 ? sign * INFINITY : std::nan("");
        if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
        return sign * std::ldexp(fraction + std::ldexp(1.0, fraction_bits),
                                 exponent - bias - fraction_bits);
    }
    [[nodiscard]] std::uint32_t infinity() const {
        return ((1u << exponent_bits) - 1) << fraction_bits;
    }
};

constexpr Format half{DType::f16, 5, 10};
constexpr Format bfloat{DType::bf16, 8, 7};

template <class T>
[[nodiscard]] std::uint16_t stored(T value, DType type) {
    std::byte bytes[2];
    static_cast<void>(encode(&value, type, bytes, 1));
    std::uint16_t result;
    std::memcpy(&result, bytes, sizeof result);
    return result;
}

template <class T>
[[nodiscard]] std::vector<T> decoded(DType type, const std::vector<std::uint16_t>& bits) {
    std::vector<T> result(bits.size());
    decode(type, reinterpret_cast<const std::byte*>(bits.data()), result.data(),
           static_cast<Index>(bits.size()));
    return result;
}

}  // namespace

TEST_CASE("every 16-bit pattern decodes to its definition, and back to itself") {
    const auto format = GENERATE(half, bfloat);
    std::vector<std::uint16_t> all(65536);
    for (std::size_t k = 0; k < all.size(); ++k) all[k] = static_cast<std::uint16_t>(k);
    const auto floats = decoded<float>(format.type, all);
    const auto doubles = decoded<double>(format.type, all);
    std::vector<std::byte> back(2 * all.size());
    CHECK(encode(floats.data(), format.type, back.data(), 65536) == 0);
    Index wrong = 0;
    for (std::uint32_t k = 0; k < 65536; ++k) {
        const double expected = format.value(k);
        std::uint16_t again;
        std::memcpy(&again, back.data() + 2 * k, 2);
        const bool same = std::isnan(expected)
                              ? std::isnan(floats[k]) && std::isnan(doubles[k]) &&
                                    std::isnan(format.value(again)) && ((again ^ k) & 0x8000u) == 0
                              : static_cast<double>(floats[k]) == expected &&
                                    doubles[k] == expected &&
                                    std::signbit(floats[k]) == std::signbit(expected) && again == k;
        if (!same) ++wrong;
    }
    CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE("narrowing rounds to nearest, ties to even, at every boundary", "", float,
                   double) {
    using T = TestType;
    const auto format = GENERATE(half, bfloat);
    const T infinity = std::numeric_limits<T>::infinity();
    Index wrong = 0;
    for (std::uint32_t k = 0; k < format.infinity(); ++k) {
        // The value half way to the next one; beyond the largest, half way to what would follow it.
        const double low = format.value(k);
        const double step =
            k + 1 < format.infinity() ? format.value(k + 1) - low : low - format.value(k - 1);
        const auto middle = static_cast<T>(low + step / 2);
        if (static_cast<double>(middle) != low + step / 2) continue;  // too small for a float
        const std::uint32_t even = k % 2 == 0 ? k : k + 1;
        for (const std::uint32_t sign : {0u, 0x8000u}) {
            const T x = sign == 0 ? middle : -middle;
            const T outward = std::nextafter(x, sign == 0 ? infinity : -infinity);
            if (stored(x, format.type) != (even | sign)) ++wrong;
            if (stored(std::nextafter(x, T(0)), format.type) != (k | sign)) ++wrong;
            if (stored(outward, format.type) != ((k + 1) | sign)) ++wrong;
        }
    }
    CHECK(wrong == 0);
}

TEST_CASE("a double is rounded once, not first to float and then again") {
    // 1 + 2^-11 is a tie between two halves; 2^-40 more decides it, and is lost in a float.
    const double above = 1 + std::ldexp(1.0, -11) + std::ldexp(1.0, -40);
    CHECK(half.value(stored(above, DType::f16)) == 1 + std::ldexp(1.0, -10));
    CHECK(stored(static_cast<float>(above), DType::f16) == stored(1.0f, DType::f16));
    const double bfloat_above = 1 + std::ldexp(1.0, -8) + std::ldexp(1.0, -40);
    CHECK(bfloat.value(stored(bfloat_above, DType::bf16)) == 1 + std::ldexp(1.0, -7));
    CHECK(stored(1e300, DType::f16) == 0x7c00);
    CHECK(stored(-1e300, DType::bf16) == 0xff80);
    CHECK(stored(1e-300, DType::f16) == 0);
}

TEST_CASE("encode counts finite values that become Inf, and only those") {
    const float inf = std::numeric_limits<float>::infinity();
    const std::vector<float> floats{65519.0f, 65520.0f, -65520.0f, 1e30f, inf, -inf, NAN, 0.0f};
    std::vector<std::byte> out(8 * floats.size());
    CHECK(encode(floats.data(), DType::f16, out.data(), 8) == 3);
    CHECK(encode(floats.data(), DType::bf16, out.data(), 8) == 0);
    CHECK(encode(floats.data(), DType::f32, out.data(), 8) == 0);
    const std::vector<double> doubles{1e39, -3.5e38, 3.4e38, 1e308, HUGE_VAL, NAN};
    CHECK(encode(doubles.data(), DType::f32, out.data(), 6) == 3);
    CHECK(encode(doubles.data(), DType::bf16, out.data(), 6) == 4);  // 3.4e38 > 3.39e38
    CHECK(encode(doubles.data(), DType::f64, out.data(), 6) == 0);
    const std::vector<std::complex<double>> complexes{{1e39, 1e39}, {0, -1e39}};
    CHECK(encode(complexes.data(), DType::c64, out.data(), 2) == 3);
}

TEMPLATE_TEST_CASE("what a format can hold survives encode and decode at any length and address",
                   "", float, double) {
    using T = TestType;
    const DType type = GENERATE(DType::f16, DType::bf16, DType::f32, DType::f64);
    const Index n = GENERATE(0, 1, 15, 16, 17, 97);
    const std::size_t skew = GENERATE(0u, 1u, 3u);
    std::vector<T> values(static_cast<std::size_t>(n)), back(values.size());
    for (Index k = 0; k < n; ++k) values[static_cast<std::size_t>(k)] = static_cast<T>(k - 40) / 4;
    std::vector<std::byte> bytes(skew + 8 * values.size());
    CHECK(encode(values.data(), type, bytes.data() + skew, n) == 0);
    decode(type, bytes.data() + skew, back.data(), n);
    CHECK(back == values);
}

TEST_CASE("complex numbers are stored as C64, and real formats read as complex") {
    using C = std::complex<double>;
    const std::vector<C> values{{1, -2}, {0.5, 0.25}, {-8, 3}};
    std::vector<std::byte> bytes(24);
    CHECK(encode(values.data(), DType::c64, bytes.data(), 3) == 0);
    std::vector<C> back(3);
    decode(DType::c64, bytes.data(), back.data(), 3);
    CHECK(back == values);
    const std::vector<float> reals{1.5f, -2};
    decode(DType::f32, reinterpret_cast<const std::byte*>(reals.data()), back.data(), 2);
    CHECK(back[0] == C(1.5));
    CHECK(back[1] == C(-2));
}

TEST_CASE("names, sizes and enumerators of number formats agree") {
    for (int k = 0; k <= static_cast<int>(DType::u64); ++k) {
        const auto type = static_cast<DType>(k);
        CHECK(parse_dtype(to_string(type)) == type);
    }
    const std::vector<std::tuple<DType, std::string, int>> expected{
        {DType::boolean, "BOOL", 8},    {DType::f4, "F4", 4},    {DType::f6_e2m3, "F6_E2M3", 6},
        {DType::f8_e4m3, "F8_E4M3", 8}, {DType::f16, "F16", 16}, {DType::bf16, "BF16", 16},
        {DType::f8_e8m0, "F8_E8M0", 8}, {DType::i32, "I32", 32}, {DType::c64, "C64", 64},
        {DType::u64, "U64", 64}};
    for (const auto& [type, name, bits] : expected) {
        CHECK(to_string(type) == name);
        CHECK(bits_per_element(type) == bits);
    }
    CHECK(!parse_dtype("f32"));
    CHECK(!parse_dtype(""));
    CHECK(dtype_of<float> == DType::f32);
    CHECK(dtype_of<double> == DType::f64);
    CHECK(dtype_of<std::complex<float>> == DType::c64);
}

TEST_CASE("formats without a conversion are refused by name") {
    using test::check_throws;
    float real = 0;
    std::complex<float> complex = 0;
    std::byte bytes[16]{};
    check_throws<ArgumentError>([&] { decode(DType::i64, bytes, &real, 1); }, {"I64", "real"});
    check_throws<ArgumentError>([&] { decode(DType::c64, bytes, &real, 1); }, {"C64", "real"});
    check_throws<ArgumentError>([&] { decode(DType::f8_e5m2, bytes, &complex, 1); }, {"F8_E5M2"});
    check_throws<ArgumentError>([&] { static_cast<void>(encode(&real, DType::u8, bytes, 1)); },
                                {"U8", "real"});
    check_throws<ArgumentError>([&] { static_cast<void>(encode(&complex, DType::f32, bytes, 1)); },
                                {"F32", "complex"});
}

// The loops of linalg/row_functions.hpp, written once over vectors and compiled for three instruction sets:
// name_on(isa, ..) runs one of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "mpo/core/tensor.hpp"
#include "mpo/impl/gemm_kernel_inl.hpp"

namespace mpo::detail {

/// Columns of the panels of absorb_panel and scale_columns.
inline constexpr Index row_panel_columns = 32;

/// Some numbers at a time: a vector of Bytes, and what is done with one.
template <int Bytes>
struct Lanes {
    using type = typename Simd<float, Bytes>::type;
    using Loose = typename Simd<float, Bytes>::loose;
    using Bits = typename Simd<std::uint32_t, Bytes>::type;
    static constexpr Index count = Simd<float, Bytes>::width;

    [[gnu::always_inline]] static void load(const float* from, Index left, float rest, type& to) {
        if (left >= count) {
            to = *reinterpret_cast<const Loose*>(from);
        } else {
            alignas(Bytes) float buffer[count];
            for (Index k = 0; k < count; ++k) buffer[k] = k < left ? from[k] : rest;
            to = *reinterpret_cast<const type*>(buffer);
        }
    }

    [[gnu::always_inline]] static void store(const type& from, Index left, float* to) {
        if (left >= count)
            *reinterpret_cast<Loose*>(to) = from;
        else
            std::memcpy(to, &from, static_cast<std::size_t>(left) * sizeof(float));
    }

    [[gnu::always_inline]] static float sum(const type& x) {
        float total = 0;
        for (Index k = 0; k < count; ++k) total += x[k];
        return total;
    }

    /// x = exp x; NaN stays.
    [[gnu::always_inline]] static void exp(type& x) {
        constexpr float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
        constexpr float magic = 12582912.0f;  // 1.5 2^23: adding it rounds to an integer
        const type least = type{} - 87.3f, most = type{} + 88.0f;
        const Bits vanishes = reinterpret_cast<Bits>(x < least);
        x = x < least ? least : x;
        x = x > most ? most : x;
        const type shifted = x * log2_e + magic;
        const type n = shifted - magic;
        const type r = (x - n * ln2_high) - n * ln2_low;
        type p = r * (1.0f / 5040) + 1.0f / 720;
        p = p * r + 1.0f / 120;
        p = p * r + 1.0f / 24;
        p = p * r + 1.0f / 6;
        p = p * r + 0.5f;
        p = p * r + 1.0f;
        p = p * r + 1.0f;
        const Bits power = (reinterpret_cast<Bits>(shifted) << 23) + 0x3f800000u;
        p *= reinterpret_cast<type>(power);
        x = reinterpret_cast<type>(reinterpret_cast<Bits>(p) & ~vanishes);
    }
};

template <int Bytes>
[[gnu::always_inline]] inline void normalize_row_body(Index n, const float* x, const float* weight,
                                                      float epsilon, float* y) {
    using L = Lanes<Bytes>;
    typename L::type squares = {}, a, w;
    for (Index k = 0; k < n; k += L::count) {
        L::load(x + k, n - k, 0, a);
        squares += a * a;
    }
    const float inverse = 1 / std::sqrt(L::sum(squares) / static_cast<float>(n) + epsilon);
    for (Index k = 0; k < n; k += L::count) {
        L::load(x + k, n - k, 0, a);
        L::load(weight + k, n - k, 0, w);
        L::store(a * inverse * w, n - k, y + k);
    }
}

template <int Bytes>
[[gnu::always_inline]] inline void silu_multiply_body(Index n, const float* gate, const float* up,
                                                      float* h) {
    using L = Lanes<Bytes>;
    for (Index k = 0; k < n; k += L::count) {
        typename L::type g, u;
        L::load(gate + k, n - k, 0, g);
        L::load(up + k, n - k, 0, u);
        typename L::type e = -g;
        L::exp(e);
        L::store(u * (g / (e + 1.0f)), n - k, h + k);
    }
}

template <int Bytes>
[[gnu::always_inline]] inline void silu_multiply_gradient_body(Index n, const float* gate,
                                                               const float* up, const float* dh,
                                                               float* dgate, float* dup) {
    using L = Lanes<Bytes>;
    for (Index k = 0; k < n; k += L::count) {
        typename L::type g, u, d;
        L::load(gate + k, n - k, 0, g);
        L::load(up + k, n - k, 0, u);
        L::load(dh + k, n - k, 0, d);
        typename L::type e = -g;
        L::exp(e);
        const typename L::type s = 1.0f / (e + 1.0f);
        L::store(d * u * (s * (1.0f + g * (1.0f - s))), n - k, dgate + k);
        L::store(d * (g * s), n - k, dup + k);
    }
}

template <int Bytes>
[[gnu::always_inline]] inline void normalize_row_gradient_body(Index n, const float* x,
                                                               const float* weight, float epsilon,
                                                               const float* dy, float* dx,
                                                               float* dweight) {
    using L = Lanes<Bytes>;
    typename L::type squares = {}, products = {}, a, w, d, to;
    for (Index k = 0; k < n; k += L::count) {
        L::load(x + k, n - k, 0, a);
        L::load(weight + k, n - k, 0, w);
        L::load(dy + k, n - k, 0, d);
        squares += a * a;
        products += a * (w * d);
    }
    const float mean = L::sum(squares) / static_cast<float>(n) + epsilon;
    const float inverse = 1 / std::sqrt(mean);
    const float along = L::sum(products) / static_cast<float>(n) / mean;
    for (Index k = 0; k < n; k += L::count) {
        L::load(x + k, n - k, 0, a);
        L::load(weight + k, n - k, 0, w);
        L::load(dy + k, n - k, 0, d);
        L::load(dx + k, n - k, 0, to);
        L::store(to + (w * d - a * along) * inverse, n - k, dx + k);
        if (dweight == nullptr) continue;
        L::load(dweight + k, n - k, 0, to);
        L::store(to + d * (a * inverse), n - k, dweight + k);
    }
}

template <int Bytes>
[[gnu::always_inline]] inline void softmax_gradient_body(Index n, float log_sum, float mean,
                                                         float* p, float* dp) {
    using L = Lanes<Bytes>;
    for (Index k = 0; k < n; k += L::count) {
        typename L::type a, d;
        L::load(p + k, n - k, 0, a);
        L::load(dp + k, n - k, 0, d);
        a -= log_sum;
        L::exp(a);
        L::store(a, n - k, p + k);
        L::store(a * (d - mean), n - k, dp + k);
    }
}

template <int Bytes>
[[gnu::always_inline]] inline float dot_row_body(Index n, const float* x, const float* y) {
    using L = Lanes<Bytes>;
    typename L::type sum = {}, a, b;
    for (Index k = 0; k < n; k += L::count) {
        L::load(x + k, n - k, 0, a);
        L::load(y + k, n - k, 0, b);
        sum += a * b;
    }
    return L::sum(sum);
}

template <int Bytes>
[[gnu::always_inline]] inline void add_row_body(Index n, const float* x, float* y) {
    using L = Lanes<Bytes>;
    for (Index k = 0; k < n; k += L::count) {
        typename L::type a, b;
        L::load(x + k, n - k, 0, a);
        L::load(y + k, n - k, 0, b);
        L::store(a + b, n - k, y + k);
    }
}

template <int Bytes>
[[gnu::always_inline]] inline void rotate_pairs_body(Index half, const float* cosines,
                                                     const float* sines, float scale, float* x) {
    using L = Lanes<Bytes>;
    for (Index k = 0; k < half; k += L::count) {
        typename L::type a, b, c, s;
        L::load(x + k, half - k, 0, a);
        L::load(x + half + k, half - k, 0, b);
        L::load(cosines + k, half - k, 0, c);
        L::load(sines + k, half - k, 0, s);
        L::store((a * c - b * s) * scale, half - k, x + k);
        L::store((b * c + a * s) * scale, half - k, x + half + k);
    }
}

template <int Bytes>
[[gnu::always_inline]] inline float row_maximum_body(Index n, const float* x) {
    using L = Lanes<Bytes>;
    typename L::type top = typename L::type{} + x[0], a;
    for (Index k = 0; k < n; k += L::count) {
        L::load(x + k, n - k, x[0], a);
        top = a > top ? a : top;
    }
    float most = x[0];
    for (Index k = 0; k < L::count; ++k) most = top[k] > most ? top[k] : most;
    return most;
}

template <int Bytes>
[[gnu::always_inline]] inline float exponentiate_body(Index n, float shift, float* x) {
    using L = Lanes<Bytes>;
    typename L::type sum = {}, a;
    for (Index k = 0; k < n; k += L::count) {
        L::load(x + k, n - k, -std::numeric_limits<float>::infinity(), a);
        a -= shift;
        L::exp(a);
        sum += a;
        L::store(a, n - k, x + k);
    }
    return L::sum(sum);
}

inline constexpr Index summed_in_float = 1024;

template <int Bytes>
[[gnu::always_inline]] inline double sum_of_exponentials_body(Index n, float shift,
                                                              const float* x) {
    using L = Lanes<Bytes>;
    double total = 0;
    for (Index begin = 0; begin < n; begin += summed_in_float) {
        const Index end = (std::min)(n, begin + summed_in_float);
        typename L::type sum = {}, a;
        for (Index k = begin; k < end; k += L::count) {
            L::load(x + k, end - k, -std::numeric_limits<float>::infinity(), a);
            a -= shift;
            L::exp(a);
            sum += a;
        }
        total += static_cast<double>(L::sum(sum));
    }
    return total;
}

/// Mean of x - y under the weights exp(x - shift).
template <int Bytes>
[[gnu::always_inline]] inline double mean_difference_body(Index n, float shift, const float* x,
                                                          const float* y) {
    using L = Lanes<Bytes>;
    double total = 0, weight = 0;
    for (Index begin = 0; begin < n; begin += summed_in_float) {
        const Index end = (std::min)(n, begin + summed_in_float);
        typename L::type sum = {}, weights = {}, a, b;
        for (Index k = begin; k < end; k += L::count) {
            L::load(x + k, end - k, -1e30f, a);
            L::load(y + k, end - k, -1e30f, b);
            typename L::type p = a - shift;
            L::exp(p);
            weights += p;
            sum += p * (a - b);
        }
        total += static_cast<double>(L::sum(sum));
        weight += static_cast<double>(L::sum(weights));
    }
    return total / weight;
}

template <int Bytes>
[[gnu::always_inline]] inline void absorb_panel_body(Index keys, float* S, float* maximum,
                                                     float* sum, float* rescale) {
    using L = Lanes<Bytes>;
    for (Index half = 0; half < row_panel_columns; half += L::count) {
        typename L::type before, top, a, total;
        L::load(maximum + half, L::count, 0, before);
        top = before;
        for (Index t = 0; t < keys; ++t) {
            L::load(S + t * row_panel_columns + half, L::count, 0, a);
            top = a > top ? a : top;
        }
        L::store(top, L::count, maximum + half);
        before -= top;
        L::exp(before);
        L::store(before, L::count, rescale + half);
        L::load(sum + half, L::count, 0, total);
        total *= before;
        for (Index t = 0; t < keys; ++t) {
            L::load(S + t * row_panel_columns + half, L::count, 0, a);
            a -= top;
            L::exp(a);
            total += a;
            L::store(a, L::count, S + t * row_panel_columns + half);
        }
        L::store(total, L::count, sum + half);
    }
}

template <int Bytes>
[[gnu::always_inline]] inline void scale_columns_body(Index rows, const float* factor, float* P) {
    using L = Lanes<Bytes>;
    constexpr Index parts = row_panel_columns / L::count;
    typename L::type f[parts], a;
#pragma GCC unroll 8
    for (Index j = 0; j < parts; ++j) L::load(factor + j * L::count, L::count, 0, f[j]);
    for (Index r = 0; r < rows; ++r)
#pragma GCC unroll 8
        for (Index j = 0; j < parts; ++j) {
            float* at = P + r * row_panel_columns + j * L::count;
            L::load(at, L::count, 0, a);
            L::store(a * f[j], L::count, at);
        }
}

/// Defines name_on by name_body.
#if defined(__x86_64__)
#define MPO_DETAIL_ROW_FUNCTION(result, name, parameters, ...)                  \
    __attribute__((target("avx512f"))) inline result name##_avx512 parameters { \
        return name##_body<vector_bytes<Isa::avx512>>(__VA_ARGS__);             \
    }                                                                           \
    __attribute__((target("avx2,fma"))) inline result name##_avx2 parameters {  \
        return name##_body<vector_bytes<Isa::avx2>>(__VA_ARGS__);               \
    }                                                                           \
    inline result name##_on(Isa isa, MPO_DETAIL_UNWRAP parameters) {            \
        if (isa == Isa::avx512) return name##_avx512(__VA_ARGS__);              \
        if (isa == Isa::avx2) return name##_avx2(__VA_ARGS__);                  \
        return name##_body<vector_bytes<Isa::generic>>(__VA_ARGS__);            \
    }
#else
#define MPO_DETAIL_ROW_FUNCTION(result, name, parameters, ...)       \
    inline result name##_on(Isa, MPO_DETAIL_UNWRAP parameters) {     \
        return name##_body<vector_bytes<Isa::generic>>(__VA_ARGS__); \
    }
#endif
#define MPO_DETAIL_UNWRAP(...) __VA_ARGS__

MPO_DETAIL_ROW_FUNCTION(void, normalize_row,
                        (Index n, const float* x, const float* weight, float epsilon, float* y), n,
                        x, weight, epsilon, y)
MPO_DETAIL_ROW_FUNCTION(void, silu_multiply,
                        (Index n, const float* gate, const float* up, float* h), n, gate, up, h)
MPO_DETAIL_ROW_FUNCTION(void, silu_multiply_gradient,
                        (Index n, const float* gate, const float* up, const float* dh, float* dgate,
                         float* dup),
                        n, gate, up, dh, dgate, dup)
MPO_DETAIL_ROW_FUNCTION(void, normalize_row_gradient,
                        (Index n, const float* x, const float* weight, float epsilon,
                         const float* dy, float* dx, float* dweight),
                        n, x, weight, epsilon, dy, dx, dweight)
MPO_DETAIL_ROW_FUNCTION(void, softmax_gradient,
                        (Index n, float log_sum, float mean, float* p, float* dp), n, log_sum, mean,
                        p, dp)
MPO_DETAIL_ROW_FUNCTION(float, dot_row, (Index n, const float* x, const float* y), n, x, y)
MPO_DETAIL_ROW_FUNCTION(void, add_row, (Index n, const float* x, float* y), n, x, y)
MPO_DETAIL_ROW_FUNCTION(void, rotate_pairs,
                        (Index half, const float* cosines, const float* sines, float scale,
                         float* x),
                        half, cosines, sines, scale, x)
MPO_DETAIL_ROW_FUNCTION(float, row_maximum, (Index n, const float* x), n, x)
MPO_DETAIL_ROW_FUNCTION(float, exponentiate, (Index n, float shift, float* x), n, shift, x)
MPO_DETAIL_ROW_FUNCTION(double, sum_of_exponentials, (Index n, float shift, const float* x), n,
                        shift, x)
MPO_DETAIL_ROW_FUNCTION(double, mean_difference,
                        (Index n, float shift, const float* x, const float* y), n, shift, x, y)
MPO_DETAIL_ROW_FUNCTION(void, absorb_panel,
                        (Index keys, float* S, float* maximum, float* sum, float* rescale), keys, S,
                        maximum, sum, rescale)
MPO_DETAIL_ROW_FUNCTION(void, scale_columns, (Index rows, const float* factor, float* P), rows,
                        factor, P)
#undef MPO_DETAIL_ROW_FUNCTION
#undef MPO_DETAIL_UNWRAP

}  // namespace mpo::detail

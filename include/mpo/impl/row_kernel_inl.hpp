// The loops of linalg/row_functions.hpp, written once over vectors of 16 floats and compiled for three
// instruction sets: name_on(isa, ..) runs one of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "mpo/core/tensor.hpp"
#include "mpo/impl/gemm_kernel_inl.hpp"

namespace mpo::detail {

inline constexpr Index row_lanes = 16;
/// Columns of the panels of absorb_panel and scale_columns.
inline constexpr Index row_panel_columns = 32;
using Lanes = typename Simd<float, 64>::type;
using LaneBits = typename Simd<std::uint32_t, 64>::type;

[[gnu::always_inline]] inline void load_lanes(const float* from, Index count, float rest,
                                              Lanes& to) {
    if (count >= row_lanes) {
        to = *reinterpret_cast<const typename Simd<float, 64>::loose*>(from);
    } else {
        alignas(64) float buffer[row_lanes];
        for (Index k = 0; k < row_lanes; ++k) buffer[k] = k < count ? from[k] : rest;
        to = *reinterpret_cast<const Lanes*>(buffer);
    }
}

[[gnu::always_inline]] inline void store_lanes(const Lanes& from, Index count, float* to) {
    if (count >= row_lanes)
        *reinterpret_cast<typename Simd<float, 64>::loose*>(to) = from;
    else
        std::memcpy(to, &from, static_cast<std::size_t>(count) * sizeof(float));
}

[[gnu::always_inline]] inline float sum_of(const Lanes& x) {
    float total = 0;
    for (Index k = 0; k < row_lanes; ++k) total += x[k];
    return total;
}

/// x = exp x; NaN stays.
[[gnu::always_inline]] inline void exp_lanes(Lanes& x) {
    constexpr float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    constexpr float magic = 12582912.0f;  // 1.5 2^23: adding it rounds to an integer
    const Lanes least = Lanes{} - 87.3f, most = Lanes{} + 88.0f;
    const LaneBits vanishes = reinterpret_cast<LaneBits>(x < least);
    x = x < least ? least : x;
    x = x > most ? most : x;
    const Lanes shifted = x * log2_e + magic;
    const Lanes n = shifted - magic;
    const Lanes r = (x - n * ln2_high) - n * ln2_low;
    Lanes p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const LaneBits power = (reinterpret_cast<LaneBits>(shifted) << 23) + 0x3f800000u;
    p *= reinterpret_cast<Lanes>(power);
    x = reinterpret_cast<Lanes>(reinterpret_cast<LaneBits>(p) & ~vanishes);
}

[[gnu::always_inline]] inline void normalize_row_body(Index n, const float* x, const float* weight,
                                                      float epsilon, float* y) {
    Lanes squares = {}, a, w;
    for (Index k = 0; k < n; k += row_lanes) {
        load_lanes(x + k, n - k, 0, a);
        squares += a * a;
    }
    const float inverse = 1 / std::sqrt(sum_of(squares) / static_cast<float>(n) + epsilon);
    for (Index k = 0; k < n; k += row_lanes) {
        load_lanes(x + k, n - k, 0, a);
        load_lanes(weight + k, n - k, 0, w);
        store_lanes(a * inverse * w, n - k, y + k);
    }
}

[[gnu::always_inline]] inline void silu_multiply_body(Index n, const float* gate, const float* up,
                                                      float* h) {
    for (Index k = 0; k < n; k += row_lanes) {
        Lanes g, u;
        load_lanes(gate + k, n - k, 0, g);
        load_lanes(up + k, n - k, 0, u);
        Lanes e = -g;
        exp_lanes(e);
        store_lanes(u * (g / (e + 1.0f)), n - k, h + k);
    }
}

[[gnu::always_inline]] inline void silu_multiply_gradient_body(Index n, const float* gate,
                                                               const float* up, const float* dh,
                                                               float* dgate, float* dup) {
    for (Index k = 0; k < n; k += row_lanes) {
        Lanes g, u, d;
        load_lanes(gate + k, n - k, 0, g);
        load_lanes(up + k, n - k, 0, u);
        load_lanes(dh + k, n - k, 0, d);
        Lanes e = -g;
        exp_lanes(e);
        const Lanes s = 1.0f / (e + 1.0f);
        store_lanes(d * u * (s * (1.0f + g * (1.0f - s))), n - k, dgate + k);
        store_lanes(d * (g * s), n - k, dup + k);
    }
}

[[gnu::always_inline]] inline void normalize_row_gradient_body(Index n, const float* x,
                                                               const float* weight, float epsilon,
                                                               const float* dy, float* dx,
                                                               float* dweight) {
    Lanes squares = {}, products = {}, a, w, d, to;
    for (Index k = 0; k < n; k += row_lanes) {
        load_lanes(x + k, n - k, 0, a);
        load_lanes(weight + k, n - k, 0, w);
        load_lanes(dy + k, n - k, 0, d);
        squares += a * a;
        products += a * (w * d);
    }
    const float mean = sum_of(squares) / static_cast<float>(n) + epsilon;
    const float inverse = 1 / std::sqrt(mean);
    const float along = sum_of(products) / static_cast<float>(n) / mean;
    for (Index k = 0; k < n; k += row_lanes) {
        load_lanes(x + k, n - k, 0, a);
        load_lanes(weight + k, n - k, 0, w);
        load_lanes(dy + k, n - k, 0, d);
        load_lanes(dx + k, n - k, 0, to);
        store_lanes(to + (w * d - a * along) * inverse, n - k, dx + k);
        if (dweight == nullptr) continue;
        load_lanes(dweight + k, n - k, 0, to);
        store_lanes(to + d * (a * inverse), n - k, dweight + k);
    }
}

[[gnu::always_inline]] inline void softmax_gradient_body(Index n, float log_sum, float mean,
                                                         float* p, float* dp) {
    for (Index k = 0; k < n; k += row_lanes) {
        Lanes a, d;
        load_lanes(p + k, n - k, 0, a);
        load_lanes(dp + k, n - k, 0, d);
        a -= log_sum;
        exp_lanes(a);
        store_lanes(a, n - k, p + k);
        store_lanes(a * (d - mean), n - k, dp + k);
    }
}

[[gnu::always_inline]] inline float dot_row_body(Index n, const float* x, const float* y) {
    Lanes sum = {}, a, b;
    for (Index k = 0; k < n; k += row_lanes) {
        load_lanes(x + k, n - k, 0, a);
        load_lanes(y + k, n - k, 0, b);
        sum += a * b;
    }
    return sum_of(sum);
}

[[gnu::always_inline]] inline void add_row_body(Index n, const float* x, float* y) {
    for (Index k = 0; k < n; k += row_lanes) {
        Lanes a, b;
        load_lanes(x + k, n - k, 0, a);
        load_lanes(y + k, n - k, 0, b);
        store_lanes(a + b, n - k, y + k);
    }
}

[[gnu::always_inline]] inline void rotate_pairs_body(Index half, const float* cosines,
                                                     const float* sines, float scale, float* x) {
    for (Index k = 0; k < half; k += row_lanes) {
        Lanes a, b, c, s;
        load_lanes(x + k, half - k, 0, a);
        load_lanes(x + half + k, half - k, 0, b);
        load_lanes(cosines + k, half - k, 0, c);
        load_lanes(sines + k, half - k, 0, s);
        store_lanes((a * c - b * s) * scale, half - k, x + k);
        store_lanes((b * c + a * s) * scale, half - k, x + half + k);
    }
}

[[gnu::always_inline]] inline float row_maximum_body(Index n, const float* x) {
    Lanes top = Lanes{} + x[0], a;
    for (Index k = 0; k < n; k += row_lanes) {
        load_lanes(x + k, n - k, x[0], a);
        top = a > top ? a : top;
    }
    float most = x[0];
    for (Index k = 0; k < row_lanes; ++k) most = top[k] > most ? top[k] : most;
    return most;
}

[[gnu::always_inline]] inline float exponentiate_body(Index n, float shift, float* x) {
    Lanes sum = {}, a;
    for (Index k = 0; k < n; k += row_lanes) {
        load_lanes(x + k, n - k, -std::numeric_limits<float>::infinity(), a);
        a -= shift;
        exp_lanes(a);
        sum += a;
        store_lanes(a, n - k, x + k);
    }
    return sum_of(sum);
}

inline constexpr Index summed_in_float = 1024;

[[gnu::always_inline]] inline double sum_of_exponentials_body(Index n, float shift,
                                                              const float* x) {
    double total = 0;
    for (Index begin = 0; begin < n; begin += summed_in_float) {
        const Index end = (std::min)(n, begin + summed_in_float);
        Lanes sum = {}, a;
        for (Index k = begin; k < end; k += row_lanes) {
            load_lanes(x + k, end - k, -std::numeric_limits<float>::infinity(), a);
            a -= shift;
            exp_lanes(a);
            sum += a;
        }
        total += static_cast<double>(sum_of(sum));
    }
    return total;
}

/// Mean of x - y under the weights exp(x - shift).
[[gnu::always_inline]] inline double mean_difference_body(Index n, float shift, const float* x,
                                                          const float* y) {
    double total = 0, weight = 0;
    for (Index begin = 0; begin < n; begin += summed_in_float) {
        const Index end = (std::min)(n, begin + summed_in_float);
        Lanes sum = {}, weights = {}, a, b;
        for (Index k = begin; k < end; k += row_lanes) {
            load_lanes(x + k, end - k, -1e30f, a);
            load_lanes(y + k, end - k, -1e30f, b);
            Lanes p = a - shift;
            exp_lanes(p);
            weights += p;
            sum += p * (a - b);
        }
        total += static_cast<double>(sum_of(sum));
        weight += static_cast<double>(sum_of(weights));
    }
    return total / weight;
}

[[gnu::always_inline]] inline void absorb_panel_body(Index keys, float* S, float* maximum,
                                                     float* sum, float* rescale) {
    for (Index half = 0; half < row_panel_columns; half += row_lanes) {
        Lanes before, top, a, total;
        load_lanes(maximum + half, row_lanes, 0, before);
        top = before;
        for (Index t = 0; t < keys; ++t) {
            load_lanes(S + t * row_panel_columns + half, row_lanes, 0, a);
            top = a > top ? a : top;
        }
        store_lanes(top, row_lanes, maximum + half);
        before -= top;
        exp_lanes(before);
        store_lanes(before, row_lanes, rescale + half);
        load_lanes(sum + half, row_lanes, 0, total);
        total *= before;
        for (Index t = 0; t < keys; ++t) {
            load_lanes(S + t * row_panel_columns + half, row_lanes, 0, a);
            a -= top;
            exp_lanes(a);
            total += a;
            store_lanes(a, row_lanes, S + t * row_panel_columns + half);
        }
        store_lanes(total, row_lanes, sum + half);
    }
}

[[gnu::always_inline]] inline void scale_columns_body(Index rows, const float* factor, float* P) {
    Lanes f[2], a;
    load_lanes(factor, row_lanes, 0, f[0]);
    load_lanes(factor + row_lanes, row_lanes, 0, f[1]);
    for (Index r = 0; r < rows; ++r)
        for (Index half = 0; half < 2; ++half) {
            float* at = P + r * row_panel_columns + half * row_lanes;
            load_lanes(at, row_lanes, 0, a);
            store_lanes(a * f[half], row_lanes, at);
        }
}

/// Defines name_on by name_body.
#if defined(__x86_64__)
#define MPO_DETAIL_ROW_FUNCTION(result, name, parameters, ...)                  \
    __attribute__((target("avx512f"))) inline result name##_avx512 parameters { \
        return name##_body(__VA_ARGS__);                                        \
    }                                                                           \
    __attribute__((target("avx2,fma"))) inline result name##_avx2 parameters {  \
        return name##_body(__VA_ARGS__);                                        \
    }                                                                           \
    inline result name##_on(Isa isa, MPO_DETAIL_UNWRAP parameters) {            \
        if (isa == Isa::avx512) return name##_avx512(__VA_ARGS__);              \
        if (isa == Isa::avx2) return name##_avx2(__VA_ARGS__);                  \
        return name##_body(__VA_ARGS__);                                        \
    }
#else
#define MPO_DETAIL_ROW_FUNCTION(result, name, parameters, ...)   \
    inline result name##_on(Isa, MPO_DETAIL_UNWRAP parameters) { \
        return name##_body(__VA_ARGS__);                         \
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

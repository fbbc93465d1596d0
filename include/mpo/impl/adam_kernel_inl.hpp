// The loops of AdamW, written once over vectors and compiled for three instruction sets.
#pragma once

#include <cstdint>

#include "mpo/impl/row_kernel_inl.hpp"
#include "mpo/linalg/adam_update.hpp"

namespace mpo::detail {

/// root = sqrt(x), x >= 0: 1/sqrt by its exponent's half and three Newton steps, which leave 1e-10 of the
/// first guess's error; then x times it. No sqrt instruction, because vector types know none.
template <int Bytes>
[[gnu::always_inline]] inline void root_lanes(const typename Lanes<Bytes>::type& x,
                                              typename Lanes<Bytes>::type& root) {
    using V = typename Lanes<Bytes>::type;
    using Bits = typename Lanes<Bytes>::Bits;
    const Bits guess = 0x5f375a86u - (reinterpret_cast<Bits>(x) >> 1);
    V y = reinterpret_cast<V>(guess);
    const V half = x * 0.5f;
    for (int step = 0; step < 3; ++step) y *= 1.5f - half * y * y;
    root = x * y;
}

template <int Bytes>
[[gnu::always_inline]] inline void adam_update_body(Index n, const AdamUpdate<float>& update,
                                                    const float* gradient, float* m, float* v,
                                                    float* x) {
    using L = Lanes<Bytes>;
    const AdamUpdate<float> u = update;  // a copy: the stores below cannot change it
    for (Index k = 0; k < n; k += L::count) {
        typename L::type g, first, second, value, root;
        L::load(gradient + k, n - k, 0, g);
        L::load(m + k, n - k, 0, first);
        L::load(v + k, n - k, 0, second);
        L::load(x + k, n - k, 0, value);
        g *= u.gradient_factor;
        first = u.keep_first * first + u.take_first * g;
        second = u.keep_second * second + u.take_second * g * g;
        root_lanes<Bytes>(second, root);
        value = u.keep_value * value - u.step_size * first / (u.second_factor * root + u.epsilon);
        L::store(first, n - k, m + k);
        L::store(second, n - k, v + k);
        L::store(value, n - k, x + k);
    }
}

template <int Bytes>
[[gnu::always_inline]] inline double sum_of_squares_body(Index n, const float* x) {
    using Doubles = Simd<double, Bytes>;
    using Floats = typename Simd<float, Bytes / 2>::loose;
    constexpr Index W = Doubles::width;
    typename Doubles::type even = {}, odd = {};
    Index k = 0;
    for (; k + 2 * W <= n; k += 2 * W) {
        const auto a = __builtin_convertvector(*reinterpret_cast<const Floats*>(x + k),
                                               typename Doubles::type);
        const auto b = __builtin_convertvector(*reinterpret_cast<const Floats*>(x + k + W),
                                               typename Doubles::type);
        even += a * a;
        odd += b * b;
    }
    even += odd;
    double sum = 0;
    for (Index lane = 0; lane < W; ++lane) sum += even[lane];
    for (; k < n; ++k) sum += static_cast<double>(x[k]) * static_cast<double>(x[k]);
    return sum;
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) inline void adam_update_avx512(Index n,
                                                                  const AdamUpdate<float>& update,
                                                                  const float* gradient, float* m,
                                                                  float* v, float* x) {
    adam_update_body<vector_bytes<Isa::avx512>>(n, update, gradient, m, v, x);
}
__attribute__((target("avx2,fma"))) inline void adam_update_avx2(Index n,
                                                                 const AdamUpdate<float>& update,
                                                                 const float* gradient, float* m,
                                                                 float* v, float* x) {
    adam_update_body<vector_bytes<Isa::avx2>>(n, update, gradient, m, v, x);
}
__attribute__((target("avx512f"))) inline double sum_of_squares_avx512(Index n, const float* x) {
    return sum_of_squares_body<vector_bytes<Isa::avx512>>(n, x);
}
__attribute__((target("avx2,fma"))) inline double sum_of_squares_avx2(Index n, const float* x) {
    return sum_of_squares_body<vector_bytes<Isa::avx2>>(n, x);
}
#endif

inline void adam_update_on(Isa isa, Index n, const AdamUpdate<float>& update, const float* gradient,
                           float* m, float* v, float* x) {
#if defined(__x86_64__)
    if (isa == Isa::avx512) return adam_update_avx512(n, update, gradient, m, v, x);
    if (isa == Isa::avx2) return adam_update_avx2(n, update, gradient, m, v, x);
#endif
    static_cast<void>(isa);
    adam_update_body<vector_bytes<Isa::generic>>(n, update, gradient, m, v, x);
}

[[nodiscard]] inline double sum_of_squares_on(Isa isa, Index n, const float* x) {
#if defined(__x86_64__)
    if (isa == Isa::avx512) return sum_of_squares_avx512(n, x);
    if (isa == Isa::avx2) return sum_of_squares_avx2(n, x);
#endif
    static_cast<void>(isa);
    return sum_of_squares_body<vector_bytes<Isa::generic>>(n, x);
}

}  // namespace mpo::detail

// Products of a few rows with panels of 32 columns, each number of which is read once and in order: what
// decoding spends its time on. Written once, compiled for three vector widths like the tiles of
// gemm_kernel_inl.hpp, and for two ways in which a panel holds its numbers.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

#include "mpo/core/tensor.hpp"
#include "mpo/impl/gemm_kernel_inl.hpp"

namespace mpo::detail {

/// Columns of a panel, whatever the processor: what is packed on one machine serves on every other.
inline constexpr Index panel_columns = 32;
/// Rows that one pass over a panel serves.
inline constexpr int panel_rows = 4;

/// Vector v of each half of a panel's row, as floats: columns v W .. and 16 + v W .. . bfloat16 is the upper half of a
/// float; column c lies beside column c + 16, so that a shift and a mask make two vectors of one.
template <class S, int Bytes>
[[gnu::always_inline]] inline void load_panel_row(const S* row, int v,
                                                  typename Simd<float, Bytes>::type& left,
                                                  typename Simd<float, Bytes>::type& right) {
    constexpr int W = Simd<float, Bytes>::width;
    if constexpr (std::is_same_v<S, float>) {
        using Loose = typename Simd<float, Bytes>::loose;
        left = *reinterpret_cast<const Loose*>(row + v * W);
        right = *reinterpret_cast<const Loose*>(row + 16 + v * W);
    } else {
        using V = typename Simd<float, Bytes>::type;
        using Bits = Simd<std::uint32_t, Bytes>;
        const typename Bits::type pairs =
            *reinterpret_cast<const typename Bits::loose*>(row + 2 * v * W);
        left = reinterpret_cast<V>(pairs << 16);
        right = reinterpret_cast<V>(pairs & 0xffff0000u);
    }
}

/// Where column c of a row of bfloat16 lies.
[[nodiscard]] constexpr Index narrow_place(Index c) {
    return c % 16 * 2 + c / 16;
}

/// `steps` rows of bfloat16 as floats.
template <int Bytes>
[[gnu::always_inline]] inline void widen_rows_body(Index steps, const std::uint16_t* from,
                                                   float* to) {
    using V = Simd<float, Bytes>;
    for (Index k = 0; k < steps; ++k, from += panel_columns, to += panel_columns)
#pragma GCC unroll 4
        for (int v = 0; v < 16 / V::width; ++v) {
            typename V::type left, right;
            load_panel_row<std::uint16_t, Bytes>(from, v, left, right);
            *reinterpret_cast<typename V::loose*>(to + v * V::width) = left;
            *reinterpret_cast<typename V::loose*>(to + 16 + v * V::width) = right;
        }
}

/// How the sums of a tile of H rows fill the registers: 32 of AVX-512, 16 of the others.
template <int Bytes, int H>
struct PanelShape {
    static constexpr int vectors = 64 / Bytes;  // of half a row
    static constexpr int most = Bytes == 64 ? 24 : 12;
    /// Vectors of each half that one pass over the steps takes.
    static constexpr int at_once = 2 * H * vectors <= most ? vectors
                                   : H * vectors <= most   ? vectors / 2
                                                           : vectors / 4;
    /// Sums of every number: few rows leave registers for several, so that additions overlap.
    static constexpr int together = 2 * H * at_once >= 8 ? 1 : 8 / (2 * H * at_once);
};

/// Y (H, 32) = X (H, steps) P (steps, 32), or added to; rows of X, P and Y lie ldx, ldp and ldy apart.
template <class S, int Bytes, int H>
[[gnu::always_inline]] inline void panel_tile(Index steps, const float* x, Index ldx,
                                              const S* panel, Index ldp, float* y, Index ldy,
                                              int accumulate) {
    using Shape = PanelShape<Bytes, H>;
    using V = typename Simd<float, Bytes>::type;
    using Loose = typename Simd<float, Bytes>::loose;
    constexpr int at_once = Shape::at_once, together = Shape::together;
    constexpr Index W = Simd<float, Bytes>::width;
    constexpr Index ahead = 4096 / (panel_columns * static_cast<Index>(sizeof(S)));  // steps
    for (int first = 0; first < Shape::vectors; first += at_once) {
        V sum[together][H][at_once][2] = {};
        const auto add = [&](const float* at, const S* row, V(&to)[H][at_once][2]) {
#pragma GCC unroll 4
            for (int v = 0; v < at_once; ++v) {
                V left, right;
                load_panel_row<S, Bytes>(row, first + v, left, right);
#pragma GCC unroll 4
                for (int i = 0; i < H; ++i) {
                    to[i][v][0] += at[i * ldx] * left;
                    to[i][v][1] += at[i * ldx] * right;
                }
            }
        };
        Index k = 0;
        for (; k + together <= steps; k += together) {
#pragma GCC unroll 4
            for (int u = 0; u < together; ++u) {
                __builtin_prefetch(panel + (k + u + ahead) * ldp);
                if constexpr (sizeof(S) == 4)
                    __builtin_prefetch(panel + (k + u + ahead) * ldp + 16);
                add(x + k + u, panel + (k + u) * ldp, sum[u]);
            }
        }
        for (; k < steps; ++k) add(x + k, panel + k * ldp, sum[0]);
#pragma GCC unroll 4
        for (int i = 0; i < H; ++i) {
#pragma GCC unroll 4
            for (int v = 0; v < at_once; ++v) {
#pragma GCC unroll 2
                for (int half = 0; half < 2; ++half) {
                    V total = sum[0][i][v][half];
#pragma GCC unroll 4
                    for (int u = 1; u < together; ++u) total += sum[u][i][v][half];
                    auto& out =
                        *reinterpret_cast<Loose*>(y + i * ldy + Index{16} * half + (first + v) * W);
                    out = accumulate != 0 ? out + total : total;
                }
            }
        }
    }
}

template <class S>
using PanelKernel = void (*)(Index steps, const float* x, Index ldx, const S* panel, Index ldp,
                             float* y, Index ldy, int accumulate);

#if defined(__x86_64__)
template <class S, int H>
__attribute__((target("avx512f"))) void panel_avx512(Index steps, const float* x, Index ldx,
                                                     const S* panel, Index ldp, float* y, Index ldy,
                                                     int accumulate) {
    panel_tile<S, vector_bytes<Isa::avx512>, H>(steps, x, ldx, panel, ldp, y, ldy, accumulate);
}
template <class S, int H>
__attribute__((target("avx2,fma"))) void panel_avx2(Index steps, const float* x, Index ldx,
                                                    const S* panel, Index ldp, float* y, Index ldy,
                                                    int accumulate) {
    panel_tile<S, vector_bytes<Isa::avx2>, H>(steps, x, ldx, panel, ldp, y, ldy, accumulate);
}
__attribute__((target("avx512f"))) inline void widen_rows_avx512(Index steps,
                                                                 const std::uint16_t* from,
                                                                 float* to) {
    widen_rows_body<vector_bytes<Isa::avx512>>(steps, from, to);
}
__attribute__((target("avx2,fma"))) inline void widen_rows_avx2(Index steps,
                                                                const std::uint16_t* from,
                                                                float* to) {
    widen_rows_body<vector_bytes<Isa::avx2>>(steps, from, to);
}
#endif
template <class S, int H>
void panel_generic(Index steps, const float* x, Index ldx, const S* panel, Index ldp, float* y,
                   Index ldy, int accumulate) {
    panel_tile<S, vector_bytes<Isa::generic>, H>(steps, x, ldx, panel, ldp, y, ldy, accumulate);
}

inline void widen_rows(Index steps, const std::uint16_t* from, float* to, Isa isa = best_isa()) {
#if defined(__x86_64__)
    if (isa == Isa::avx512) return widen_rows_avx512(steps, from, to);
    if (isa == Isa::avx2) return widen_rows_avx2(steps, from, to);
#endif
    widen_rows_body<vector_bytes<Isa::generic>>(steps, from, to);
}

/// Kernels for 1 .. panel_rows rows.
template <class S>
[[nodiscard]] const std::array<PanelKernel<S>, panel_rows>& panel_kernels(Isa isa) {
#if defined(__x86_64__)
    static constexpr std::array<PanelKernel<S>, panel_rows> avx512{
        &panel_avx512<S, 1>, &panel_avx512<S, 2>, &panel_avx512<S, 3>, &panel_avx512<S, 4>};
    static constexpr std::array<PanelKernel<S>, panel_rows> avx2{
        &panel_avx2<S, 1>, &panel_avx2<S, 2>, &panel_avx2<S, 3>, &panel_avx2<S, 4>};
    if (isa == Isa::avx512) return avx512;
    if (isa == Isa::avx2) return avx2;
#endif
    static constexpr std::array<PanelKernel<S>, panel_rows> generic{
        &panel_generic<S, 1>, &panel_generic<S, 2>, &panel_generic<S, 3>, &panel_generic<S, 4>};
    return generic;
}

/// The same for any number of rows, a few at a time.
template <class S>
void panel_product(Index rows, Index steps, const float* x, Index ldx, const S* panel, Index ldp,
                   float* y, Index ldy, int accumulate, Isa isa = best_isa()) {
    const auto& kernels = panel_kernels<S>(isa);
    for (Index r = 0; r < rows; r += panel_rows) {
        const Index h = (std::min)(rows - r, Index{panel_rows});
        kernels[static_cast<std::size_t>(h - 1)](steps, x + r * ldx, ldx, panel, ldp, y + r * ldy,
                                                 ldy, accumulate);
    }
}

}  // namespace mpo::detail

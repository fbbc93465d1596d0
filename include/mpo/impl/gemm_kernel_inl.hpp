// The innermost loop of every product: a register tile C (h, NV W) += A (h, k) B (k, NV W), written
// once over GCC/Clang vector types and compiled for three vector widths. Which one runs is decided
// by the processor at hand, because a header-only library cannot ask its users for -march.
#pragma once

#include <array>
#include <utility>

#include "mpo/core/tensor.hpp"

namespace mpo::detail {

enum class Isa { generic, avx2, avx512 };

/// The widest instruction set of this processor that the kernels know.
[[nodiscard, gnu::noinline]] inline Isa best_isa() {
#if defined(__x86_64__)
    static const Isa isa = [] {
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f")) return Isa::avx512;
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
        return Isa::generic;
    }();
    return isa;
#else
    return Isa::generic;
#endif
}

/// Bytes of its vectors. Wider ones compile, too, and are taken apart number by number: never use them.
template <Isa isa>
inline constexpr int vector_bytes = isa == Isa::avx512 ? 64
                                    : isa == Isa::avx2 ? 32
                                                       : 16;

template <class R, int Bytes>
struct Simd {
    typedef R type __attribute__((vector_size(Bytes)));
    typedef R loose __attribute__((vector_size(Bytes), aligned(alignof(R)), may_alias));
    static constexpr int width = Bytes / static_cast<int>(sizeof(R));
};

/// C (H, NV W) at row distance ldc: overwritten, or added to where `accumulate` is not 0.
/// a: number (i, p) of H rows and k steps is a[i a_row + p a_step]: packed, with a_row = 1 and a_step = H, or where it
/// is; b: k rows of NV W numbers at distance ldb.
/// 2 H NV W k flops; loads H + NV W numbers per step of k.
template <class R, int Bytes, int H, int NV>
[[gnu::always_inline]] inline void register_tile(Index k, const R* a, Index a_row, Index a_step,
                                                 const R* b, Index ldb, R* c, Index ldc,
                                                 int accumulate) {
    using V = typename Simd<R, Bytes>::type;
    using Loose = typename Simd<R, Bytes>::loose;
    constexpr int W = Simd<R, Bytes>::width;
    // the rows of C lie ldc apart, which no hardware prefetcher follows
#pragma GCC unroll 16
    for (int i = 0; i < H; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) __builtin_prefetch(c + i * ldc + j * W);
    }
    // what is prepared may come from memory, and is read in order: asked for ahead, products of few rows or columns
    // run at its speed
    constexpr Index ahead_of_b = 4096 / (NV * Bytes);
    const Index ahead_of_a = a_row == 1 ? 4096 / static_cast<Index>(sizeof(R)) : 0;
    // three rows from one pointer: an address has room for one distance, once or twice
    constexpr int groups = (H + 2) / 3;
    const R* at[groups];
#pragma GCC unroll 4
    for (Index g = 0; g < groups; ++g) at[g] = a + 3 * g * a_row;
    V sum[H][NV] = {};
    for (Index p = 0; p < k; ++p) {
        V row[NV];
        __builtin_prefetch(at[0] + ahead_of_a);
#pragma GCC unroll 2
        for (int line = 0; line < NV * Bytes; line += 64)
            __builtin_prefetch(b + ahead_of_b * ldb + line / static_cast<int>(sizeof(R)));
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) row[j] = *reinterpret_cast<const Loose*>(b + j * W);
#pragma GCC unroll 16
        for (int i = 0; i < H; ++i) {
#pragma GCC unroll 4
            for (int j = 0; j < NV; ++j) sum[i][j] += at[i / 3][i % 3 * a_row] * row[j];
        }
#pragma GCC unroll 4
        for (int g = 0; g < groups; ++g) at[g] += a_step;
        b += ldb;
    }
#pragma GCC unroll 16
    for (int i = 0; i < H; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) {
            auto& out = *reinterpret_cast<Loose*>(c + i * ldc + j * W);
            out = accumulate != 0 ? out + sum[i][j] : sum[i][j];
        }
    }
}

/// out (N, W), the first h of W: column j is A (h, k) times b[j], whose numbers lie ldb apart. a: k columns of h <= W
/// numbers, and readable to the end of a vector. For few columns: lanes are rows of A, so that none is padding, and A
/// is read at the speed of memory.
template <class R, int Bytes, int N>
[[gnu::always_inline]] inline void narrow_tile(Index k, const R* a, Index h, const R* const* b,
                                               Index ldb, R* out) {
    using V = typename Simd<R, Bytes>::type;
    using Loose = typename Simd<R, Bytes>::loose;
    constexpr int together = N <= 2 ? 4 : 2;
    V sum[together][N] = {};
    const auto add = [&](Index p, V(&to)[N]) {
        const V column = *reinterpret_cast<const Loose*>(a + p * h);
        __builtin_prefetch(a + p * h + 4096 / sizeof(R));
#pragma GCC unroll 4
        for (int j = 0; j < N; ++j) to[j] += b[j][p * ldb] * column;
    };
    Index p = 0;
    for (; p + together <= k; p += together) {
#pragma GCC unroll 4
        for (int u = 0; u < together; ++u) add(p + u, sum[u]);
    }
    for (; p < k; ++p) add(p, sum[0]);
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) {
#pragma GCC unroll 4
        for (int u = 1; u < together; ++u) sum[0][j] += sum[u][j];
        *reinterpret_cast<Loose*>(out + j * Simd<R, Bytes>::width) = sum[0][j];
    }
}

template <class R>
using NarrowKernel = void (*)(Index k, const R* a, Index h, const R* const* b, Index ldb, R* out);

template <class R>
using TileKernel = void (*)(Index k, const R* a, Index a_row, Index a_step, const R* b, Index ldb,
                            R* c, Index ldc, int accumulate);

#if defined(__x86_64__)
template <class R, int H, int NV>
__attribute__((target("avx512f"))) void tile_avx512(Index k, const R* a, Index a_row, Index a_step,
                                                    const R* b, Index ldb, R* c, Index ldc,
                                                    int accumulate) {
    register_tile<R, 64, H, NV>(k, a, a_row, a_step, b, ldb, c, ldc, accumulate);
}
template <class R, int H, int NV>
__attribute__((target("avx2,fma"))) void tile_avx2(Index k, const R* a, Index a_row, Index a_step,
                                                   const R* b, Index ldb, R* c, Index ldc,
                                                   int accumulate) {
    register_tile<R, 32, H, NV>(k, a, a_row, a_step, b, ldb, c, ldc, accumulate);
}
template <class R, int N>
__attribute__((target("avx512f"))) void narrow_avx512(Index k, const R* a, Index h,
                                                      const R* const* b, Index ldb, R* out) {
    narrow_tile<R, 64, N>(k, a, h, b, ldb, out);
}
template <class R, int N>
__attribute__((target("avx2,fma"))) void narrow_avx2(Index k, const R* a, Index h,
                                                     const R* const* b, Index ldb, R* out) {
    narrow_tile<R, 32, N>(k, a, h, b, ldb, out);
}
#endif
template <class R, int N>
void narrow_generic(Index k, const R* a, Index h, const R* const* b, Index ldb, R* out) {
    narrow_tile<R, 16, N>(k, a, h, b, ldb, out);
}
template <class R, int H, int NV>
void tile_generic(Index k, const R* a, Index a_row, Index a_step, const R* b, Index ldb, R* c,
                  Index ldc, int accumulate) {
    register_tile<R, 16, H, NV>(k, a, a_row, a_step, b, ldb, c, ldc, accumulate);
}

/// Heights that have kernels: one for every height would cost a user 0.2 s of compile time. Odd
/// numbers of rows are begun with one odd tile, see RowPanels.
[[nodiscard]] constexpr bool has_kernel(int height) {
    return height <= 6 || height % 2 == 0;
}

/// The kernels of one instruction set: run[v][h] makes h rows of (v + 1) W columns, where
/// has_kernel(h), h <= rows.
template <class R>
struct KernelSet {
    static constexpr int most_rows = 12, most_narrow = 4;
    int rows = 0;   // of the largest tile
    int width = 0;  // W: numbers in a vector; the largest tile has 2 W columns
    std::array<std::array<TileKernel<R>, most_rows + 1>, 2> run{};
    std::array<NarrowKernel<R>, 2> narrow{};  // of 2 and 4 columns; where rows <= width

    [[nodiscard]] int columns() const { return 2 * width; }
    /// Whether a row of the largest tile takes more than a line of the cache: on AVX-512, whatever R is.
    [[nodiscard]] bool long_rows() const { return columns() * Index{sizeof(R)} > 64; }
};

template <class R, Isa isa, int H, int NV>
[[nodiscard]] constexpr TileKernel<R> tile_kernel() {
#if defined(__x86_64__)
    if constexpr (isa == Isa::avx512) return &tile_avx512<R, H, NV>;
    if constexpr (isa == Isa::avx2) return &tile_avx2<R, H, NV>;
#endif
    return &tile_generic<R, H, NV>;
}

template <class R, Isa isa, int N>
[[nodiscard]] constexpr NarrowKernel<R> narrow_kernel() {
#if defined(__x86_64__)
    if constexpr (isa == Isa::avx512) return &narrow_avx512<R, N>;
    if constexpr (isa == Isa::avx2) return &narrow_avx2<R, N>;
#endif
    return &narrow_generic<R, N>;
}

template <class R, Isa isa, int H>
constexpr void add_kernels(KernelSet<R>& set) {
    if constexpr (has_kernel(H)) {
        set.run[0][H] = tile_kernel<R, isa, H, 1>();
        set.run[1][H] = tile_kernel<R, isa, H, 2>();
    }
}

template <class R, Isa isa, int Bytes, int Rows>
[[nodiscard]] constexpr KernelSet<R> make_kernel_set() {
    KernelSet<R> set;
    set.rows = Rows;
    set.width = Simd<R, Bytes>::width;
    [&]<int... h>(std::integer_sequence<int, h...>) {
        (add_kernels<R, isa, h + 1>(set), ...);
    }
    (std::make_integer_sequence<int, Rows>{});
    if constexpr (Rows <= Simd<R, Bytes>::width)
        set.narrow = {narrow_kernel<R, isa, 2>(), narrow_kernel<R, isa, 4>()};
    return set;
}

/// 12 x 2 vectors fill the 32 registers of AVX-512; 6 x 2 and 4 x 2 the 16 of AVX2 and SSE2/NEON.
template <class R>
[[nodiscard]] const KernelSet<R>& kernel_set(Isa isa) {
#if defined(__x86_64__)
    static constexpr KernelSet<R> avx512 = make_kernel_set<R, Isa::avx512, 64, 12>();
    static constexpr KernelSet<R> avx2 = make_kernel_set<R, Isa::avx2, 32, 6>();
    if (isa == Isa::avx512) return avx512;
    if (isa == Isa::avx2) return avx2;
#endif
    static constexpr KernelSet<R> generic = make_kernel_set<R, Isa::generic, 16, 4>();
    return generic;
}

}  // namespace mpo::detail

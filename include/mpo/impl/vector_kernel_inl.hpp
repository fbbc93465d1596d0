// Loops over vectors that no product covers, compiled for three vector widths like the tiles of
// gemm_kernel_inl.hpp and chosen by the processor at hand: products of a matrix, or its transpose, with
// one vector, and sequences of plane rotations of neighbouring columns.
#pragma once

#include <algorithm>
#include <vector>

#include "mpo/impl/gemm_kernel_inl.hpp"

namespace mpo::detail {

/// One sweep of plane rotations: rotation k (cosine, sine) acts on columns first - k, first - k + 1:
///   (x, y) -> (c x - s y, s x + c y).
struct RotationSweep {
    Index first = 0;
    std::vector<double> cosines = {}, sines = {};
};

/// Rows that are rotated together; a strip holds its columns one after another.
inline constexpr Index strip_rows = 16;

/// y[i] = sum over j of A[i lda + j] x[j], i < rows, j < n.
template <int Bytes>
[[gnu::always_inline]] inline void row_products_body(Index rows, Index n, const double* A,
                                                     Index lda, const double* x, double* y) {
    using V = Simd<double, Bytes>;
    constexpr Index W = V::width, together = 4;
    for (Index i = 0; i < rows; i += together) {
        const Index h = (std::min)(together, rows - i);
        const double* row[together];
        for (Index q = 0; q < together; ++q) row[q] = A + (i + (std::min)(q, h - 1)) * lda;
        typename V::type sum[together] = {};
        Index j = 0;
        for (; j + W <= n; j += W) {
            const typename V::type right = *reinterpret_cast<const typename V::loose*>(x + j);
#pragma GCC unroll 4
            for (Index q = 0; q < together; ++q)
                sum[q] += *reinterpret_cast<const typename V::loose*>(row[q] + j) * right;
        }
        for (Index q = 0; q < h; ++q) {
            double total = 0;
            for (Index lane = 0; lane < W; ++lane) total += sum[q][lane];
            for (Index rest = j; rest < n; ++rest) total += row[q][rest] * x[rest];
            y[i + q] = total;
        }
    }
}

/// y[j] = sum over i of x[i] A[i lda + j], j < n, i < rows.
template <int Bytes>
[[gnu::always_inline]] inline void column_products_body(Index rows, Index n, const double* A,
                                                        Index lda, const double* x, double* y) {
    using V = Simd<double, Bytes>;
    constexpr Index W = V::width, together = 8;
    std::fill(y, y + n, 0.0);
    for (Index i = 0; i < rows; i += together) {
        const Index h = (std::min)(together, rows - i);
        const double* row[together];
        double factor[together];
        for (Index q = 0; q < together; ++q) {
            row[q] = A + (i + (std::min)(q, h - 1)) * lda;
            factor[q] = q < h ? x[i + q] : 0.0;
        }
        Index j = 0;
        for (; j + W <= n; j += W) {
            typename V::type sum = *reinterpret_cast<const typename V::loose*>(y + j);
#pragma GCC unroll 8
            for (Index q = 0; q < together; ++q)
                sum += factor[q] * *reinterpret_cast<const typename V::loose*>(row[q] + j);
            *reinterpret_cast<typename V::loose*>(y + j) = sum;
        }
        for (; j < n; ++j)
            for (Index q = 0; q < h; ++q) y[j] += factor[q] * row[q][j];
    }
}

/// Applies a sweep to a strip. The column that two rotations share stays in registers.
template <int Bytes>
[[gnu::always_inline]] inline void rotate_strip_body(double* strip, const RotationSweep& sweep) {
    using V = Simd<double, Bytes>;
    constexpr Index W = V::width, NV = strip_rows / W;
    using Column = typename V::loose;
    const auto count = static_cast<Index>(sweep.cosines.size());
    double* column = strip + (sweep.first + 1) * strip_rows;
    typename V::type shared[NV];
#pragma GCC unroll 8
    for (Index q = 0; q < NV; ++q) shared[q] = *reinterpret_cast<const Column*>(column + q * W);
    for (Index k = 0; k < count; ++k, column -= strip_rows) {
        const double c = sweep.cosines[static_cast<std::size_t>(k)],
                     s = sweep.sines[static_cast<std::size_t>(k)];
#pragma GCC unroll 8
        for (Index q = 0; q < NV; ++q) {
            const typename V::type x =
                *reinterpret_cast<const Column*>(column - strip_rows + q * W);
            *reinterpret_cast<Column*>(column + q * W) = s * x + c * shared[q];
            shared[q] = c * x - s * shared[q];
        }
    }
#pragma GCC unroll 8
    for (Index q = 0; q < NV; ++q) *reinterpret_cast<Column*>(column + q * W) = shared[q];
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) inline void row_products_avx512(Index rows, Index n,
                                                                   const double* A, Index lda,
                                                                   const double* x, double* y) {
    row_products_body<vector_bytes<Isa::avx512>>(rows, n, A, lda, x, y);
}
__attribute__((target("avx2,fma"))) inline void row_products_avx2(Index rows, Index n,
                                                                  const double* A, Index lda,
                                                                  const double* x, double* y) {
    row_products_body<vector_bytes<Isa::avx2>>(rows, n, A, lda, x, y);
}
__attribute__((target("avx512f"))) inline void column_products_avx512(Index rows, Index n,
                                                                      const double* A, Index lda,
                                                                      const double* x, double* y) {
    column_products_body<vector_bytes<Isa::avx512>>(rows, n, A, lda, x, y);
}
__attribute__((target("avx2,fma"))) inline void column_products_avx2(Index rows, Index n,
                                                                     const double* A, Index lda,
                                                                     const double* x, double* y) {
    column_products_body<vector_bytes<Isa::avx2>>(rows, n, A, lda, x, y);
}
__attribute__((target("avx512f"))) inline void rotate_strip_avx512(double* strip,
                                                                   const RotationSweep& sweep) {
    rotate_strip_body<vector_bytes<Isa::avx512>>(strip, sweep);
}
__attribute__((target("avx2,fma"))) inline void rotate_strip_avx2(double* strip,
                                                                  const RotationSweep& sweep) {
    rotate_strip_body<vector_bytes<Isa::avx2>>(strip, sweep);
}
#endif

inline void row_products(Index rows, Index n, const double* A, Index lda, const double* x,
                         double* y, Isa isa = best_isa()) {
#if defined(__x86_64__)
    if (isa == Isa::avx512) return row_products_avx512(rows, n, A, lda, x, y);
    if (isa == Isa::avx2) return row_products_avx2(rows, n, A, lda, x, y);
#endif
    row_products_body<vector_bytes<Isa::generic>>(rows, n, A, lda, x, y);
}

inline void column_products(Index rows, Index n, const double* A, Index lda, const double* x,
                            double* y, Isa isa = best_isa()) {
#if defined(__x86_64__)
    if (isa == Isa::avx512) return column_products_avx512(rows, n, A, lda, x, y);
    if (isa == Isa::avx2) return column_products_avx2(rows, n, A, lda, x, y);
#endif
    column_products_body<vector_bytes<Isa::generic>>(rows, n, A, lda, x, y);
}

inline void rotate_strip(double* strip, const RotationSweep& sweep, Isa isa = best_isa()) {
#if defined(__x86_64__)
    if (isa == Isa::avx512) return rotate_strip_avx512(strip, sweep);
    if (isa == Isa::avx2) return rotate_strip_avx2(strip, sweep);
#endif
    rotate_strip_body<vector_bytes<Isa::generic>>(strip, sweep);
}

}  // namespace mpo::detail

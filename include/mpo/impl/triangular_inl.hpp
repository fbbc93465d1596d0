// Cholesky factors and triangular solves by recursive splitting: halves of halves, so that nearly all
// flops are matrix products on the library's tiles and threads, and those as large as they can be.
// In the scalar they are asked in, in place, for any strides. And LU, column by column.
//
//   solve      L11 X1 = B1,  L22 X2 = B2 - L21 X1
//   Cholesky   L11 L11^H = A11,  L21 = A21 L11^-H,  L22 L22^H = A22 - L21 L21^H
//
// No inverse is formed: a block at the bottom of the recursion is substituted row by row, so that errors are
// those of substitution, whatever the condition number (Higham, Accuracy and Stability of Numerical
// Algorithms (2002), theorems 8.5 and 10.3, whose order of summation is free).
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>

#include "mpo/impl/reflectors_inl.hpp"
#include "mpo/linalg/backend.hpp"

namespace mpo::detail {

inline constexpr Index triangular_block = 32;    // rows that are substituted one by one
inline constexpr Index triangular_columns = 32;  // right-hand sides taken along at once
inline constexpr Index symmetric_block = 192;    // of an update, computed as a whole square

/// Rows of the first half: whole blocks, at least one, and fewer than n.
[[nodiscard]] inline Index first_half(Index n) {
    return (n / triangular_block + 1) / 2 * triangular_block;
}

/// sum -= a b, of complex numbers without the rules for Inf and NaN.
template <class W>
void subtract_product(W& sum, W a, W b) {
    if constexpr (is_complex<W>)
        sum = W(sum.real() - (a.real() * b.real() - a.imag() * b.imag()),
                sum.imag() - (a.real() * b.imag() + a.imag() * b.real()));
    else
        sum -= a * b;
}

/// Whether n numbers at distance `stride` are neither NaN nor Inf.
template <class W>
[[nodiscard]] bool all_finite(const W* x, Index n, Index stride) {
    using R = Real<W>;
    constexpr Index parts = is_complex<W> ? 2 : 1, lanes = 16;
    if (stride < 0) x += (n - 1) * stride, stride = -stride;
    const R* real = reinterpret_cast<const R*>(x);
    R poison[lanes] = {};  // 0 x is NaN where x is NaN or Inf
    Index k = 0;
    if (stride == 1) {
        for (; k + lanes <= n * parts; k += lanes)
            for (Index lane = 0; lane < lanes; ++lane) poison[lane] += 0 * real[k + lane];
        for (; k < n * parts; ++k) poison[0] += 0 * real[k];
    }
    for (; stride != 1 && k < n; ++k)
        for (Index part = 0; part < parts; ++part)
            poison[part] += 0 * real[k * stride * parts + part];
    for (const R sum : poison) poison[0] += sum;
    return !std::isnan(poison[0]);
}

enum class Region { whole, lower, upper };  // the triangles with their diagonal

/// Throws NumericalError where that region of A holds NaN or Inf.
template <class W>
void require_finite(MatrixView<const W> A, Region region, const char* who) {
    const Index rows = A.rows, cols = A.cols;
    if (std::abs(A.row_stride) < std::abs(A.col_stride)) {  // along what lies close together
        A = transpose(A);
        if (region != Region::whole)
            region = region == Region::lower ? Region::upper : Region::lower;
    }
    std::atomic<bool> finite = true;
    parallel_for(0, A.rows, vector_product_grain(A.cols), [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
            const Index first = region == Region::upper ? i : 0;
            const Index last = region == Region::lower ? i + 1 : A.cols;
            if (!all_finite(A.data + i * A.row_stride + first * A.col_stride, last - first,
                            A.col_stride))
                finite = false;
        }
    });
    if (!finite)
        raise<NumericalError>({who, ": a ", rows, " x ", cols, " matrix holds NaN or Inf"});
}

/// The last row first.
template <class W>
[[nodiscard]] MatrixView<W> upside_down(MatrixView<W> M) {
    M.data += (M.rows - 1) * M.row_stride;
    M.row_stride = -M.row_stride;
    return M;
}

/// Row i of a solution, from its right-hand side and the rows before it; x has triangular_columns columns.
template <class W>
void substitute_row(Index i, const W* l, W* x) {
    constexpr Index width = triangular_columns;
    W* row = x + i * width;
    l += i * triangular_block;
    if constexpr (is_complex<W>) {
        for (Index q = 0; q < i; ++q)
            for (Index j = 0; j < width; ++j) subtract_product(row[j], l[q], x[q * width + j]);
        for (Index j = 0; j < width; ++j) {
            if (std::imag(l[i]) == 0)
                row[j] /= std::real(l[i]);
            else
                row[j] /= l[i];
        }
    } else {
        using V = typename Simd<W, 16>::type;
        using Loose = typename Simd<W, 16>::loose;
        constexpr Index lanes = Simd<W, 16>::width, vectors = 8;  // half of the registers of SSE2
        for (Index j = 0; j < width; j += vectors * lanes) {
            V sum[vectors];
#pragma GCC unroll 8
            for (Index v = 0; v < vectors; ++v)
                sum[v] = *reinterpret_cast<const Loose*>(row + j + v * lanes);
            for (Index q = 0; q < i; ++q) {
#pragma GCC unroll 8
                for (Index v = 0; v < vectors; ++v)
                    sum[v] -= l[q] * *reinterpret_cast<const Loose*>(x + q * width + j + v * lanes);
            }
#pragma GCC unroll 8
            for (Index v = 0; v < vectors; ++v)
                *reinterpret_cast<Loose*>(row + j + v * lanes) = sum[v] / l[i];
        }
    }
}

/// L x = b for at most triangular_block rows: X holds b, then x. Columns are taken along in a copy whose
/// width is known when this is compiled.
template <class W>
void forward_substitute(MatrixView<const W> L, MatrixView<W> X) {
    constexpr Index width = triangular_columns;
    const Index n = L.rows;
    W l[triangular_block * triangular_block];
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j <= i; ++j) l[i * triangular_block + j] = value_at<W>(L, i, j);
    parallel_for(0, X.cols, 8 * width, [&](Index begin, Index end) {
        W x[triangular_block * width];
        for (; begin < end; begin += width) {
            const Index columns = (std::min)(width, end - begin);
            W* from = X.data + begin * X.col_stride;
            for (Index i = 0; i < n; ++i)
                for (Index j = 0; j < width; ++j)
                    x[i * width + j] =
                        j < columns ? from[i * X.row_stride + j * X.col_stride] : W{};
            for (Index i = 0; i < n; ++i) substitute_row(i, l, x);
            for (Index i = 0; i < n; ++i)
                for (Index j = 0; j < columns; ++j)
                    from[i * X.row_stride + j * X.col_stride] = x[i * width + j];
        }
    });
}

/// A X = B, A (n, n) a triangle whose diagonal has no zeros: X replaces B (n, columns).
template <class W>
void solve_triangle(Triangle triangle, MatrixView<const W> A, MatrixView<W> B) {
    const Index n = A.rows;
    if (n <= triangular_block) {
        if (triangle == Triangle::lower) return forward_substitute(A, B);
        return forward_substitute(transpose(upside_down(transpose(upside_down(A)))),
                                  upside_down(B));
    }
    const Index half = first_half(n), rest = n - half;
    const auto top = block(B, 0, 0, half, B.cols), bottom = block(B, half, 0, rest, B.cols);
    if (triangle == Triangle::lower) {
        solve_triangle<W>(triangle, block(A, 0, 0, half, half), top);
        gemm_shared<W>(W{-1}, block(A, half, 0, rest, half), {top, 0}, W{1}, {bottom, 0}, 1);
        solve_triangle<W>(triangle, block(A, half, half, rest, rest), bottom);
    } else {
        solve_triangle<W>(triangle, block(A, half, half, rest, rest), bottom);
        gemm_shared<W>(W{-1}, block(A, 0, half, half, rest), {bottom, 0}, W{1}, {top, 0}, 1);
        solve_triangle<W>(triangle, block(A, 0, 0, half, half), top);
    }
}

/// The lower triangle of A (n, n) -= P P^H; above the diagonal something may be left.
template <class W>
void subtract_gram(MatrixView<const W> P, MatrixView<W> A) {
    const Index n = A.rows, k = P.cols;
    if (n <= symmetric_block) return gemm_shared<W>(W{-1}, P, {adjoint(P), 0}, W{1}, {A, 0}, 1);
    const Index half = first_half(n), rest = n - half;
    const auto top = block(P, 0, 0, half, k), bottom = block(P, half, 0, rest, k);
    subtract_gram<W>(top, block(A, 0, 0, half, half));
    gemm_shared<W>(W{-1}, bottom, {adjoint(top), 0}, W{1}, {block(A, half, 0, rest, half), 0}, 1);
    subtract_gram<W>(bottom, block(A, half, half, rest, rest));
}

/// cholesky_factor of at most triangular_block rows.
template <class W>
[[nodiscard]] Index cholesky_of_block(MatrixView<W> A) {
    const auto row = [&A](Index i) { return A.data + i * A.row_stride; };
    for (Index i = 0; i < A.rows; ++i) {
        for (Index j = 0; j <= i; ++j) {
            W sum = row(i)[j * A.col_stride];
            for (Index q = 0; q < j; ++q)
                subtract_product(sum, row(i)[q * A.col_stride],
                                 conjugate_of(row(j)[q * A.col_stride]));
            if (j < i) {
                row(i)[j * A.col_stride] = sum / std::real(row(j)[j * A.col_stride]);
                continue;
            }
            const auto pivot = std::real(sum);
            if (!(pivot > 0)) return i;
            row(i)[i * A.col_stride] = W{std::sqrt(pivot)};
        }
    }
    return A.rows;
}

/// The lower triangle of a positive definite A becomes L, A = L L^H; the upper one is not read, and holds
/// nothing of use afterwards. Returns n, or the first row whose pivot is not positive.
template <class W>
[[nodiscard]] Index cholesky_factor(MatrixView<W> A) {
    const Index n = A.rows;
    if (n <= triangular_block) return cholesky_of_block(A);
    const Index half = first_half(n), rest = n - half;
    const auto L11 = block(A, 0, 0, half, half), L21 = block(A, half, 0, rest, half),
               A22 = block(A, half, half, rest, rest);
    if (const Index done = cholesky_factor(L11); done < half) return done;
    solve_triangle<W>(Triangle::lower, conjugated(MatrixView<const W>(L11)), transpose(L21));
    subtract_gram<W>(L21, A22);
    return half + cholesky_factor(A22);
}

/// P A = L U with the largest pivot of each column. A (m, n) becomes U and, below the diagonal, L.
template <class W>
void pivoted_lu(Tensor<W>& A, Index* pivots) {
    const Index m = A.extent(0), n = A.extent(1);
    for (Index k = 0; k < (std::min)(m, n); ++k) {
        pivots[k] = k;
        for (Index i = k + 1; i < m; ++i)
            if (std::abs(A(i, k)) > std::abs(A(pivots[k], k))) pivots[k] = i;
        if (pivots[k] != k) std::swap_ranges(&A(k, 0), &A(k, 0) + n, &A(pivots[k], 0));
        if (A(k, k) == W{}) continue;  // a zero column: its multipliers are zero already
        for (Index i = k + 1; i < m; ++i) {
            const W factor = A(i, k) /= A(k, k);
            for (Index j = k + 1; j < n; ++j) A(i, j) -= factor * A(k, j);
        }
    }
}

}  // namespace mpo::detail

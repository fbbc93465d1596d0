// Cholesky factors and triangular solves in blocks, so that all but a block's own share of the flops are
// matrix products on the library's tiles and threads. In the scalar they are asked in.
#pragma once

#include <algorithm>
#include <cmath>

#include "mpo/impl/reflectors_inl.hpp"

namespace mpo::detail {

inline constexpr Index triangular_block = 48;

/// L x = b within one block of rows: X (rows, columns) holds b, then x.
template <class W>
void forward_substitute(MatrixView<const W> L, MatrixView<W> X) {
    for (Index i = 0; i < L.rows; ++i) {
        W* row = X.data + i * X.row_stride;
        for (Index q = 0; q < i; ++q) {
            const W factor = L.data[i * L.row_stride + q * L.col_stride];
            const W* other = X.data + q * X.row_stride;
            for (Index j = 0; j < X.cols; ++j) row[j] -= factor * other[j];
        }
        const W pivot = L.data[i * (L.row_stride + L.col_stride)];
        for (Index j = 0; j < X.cols; ++j) row[j] /= pivot;
    }
}

/// L X = B, L (n, n) lower triangular with a diagonal without zeros: X replaces B (n, columns).
template <class W>
void solve_lower(const Tensor<W>& L, Tensor<W>& B) {
    const Index n = L.extent(0), columns = B.extent(1);
    const auto l = matrix<const W>(L.data(), n, n);
    const auto b = matrix(B.data(), n, columns);
    for (Index first = 0; first < n; first += triangular_block) {
        const Index last = (std::min)(first + triangular_block, n);
        const auto X = block(b, first, 0, last - first, columns);
        forward_substitute(block(l, first, first, last - first, last - first), X);
        gemm_shared<W>(W{-1}, block(l, last, first, n - last, last - first), {X, 0}, W{1},
                       {block(b, last, 0, n - last, columns), 0}, 1);
    }
}

/// The lower triangle of a positive definite A becomes L, A = L L^H; the upper one is left as it is.
/// Returns n, or the first row whose pivot is not positive.
template <class W>
[[nodiscard]] Index cholesky_factor(Tensor<W>& A) {
    const Index n = A.extent(0);
    const auto a = matrix(A.data(), n, n);
    for (Index first = 0; first < n; first += triangular_block) {
        const Index last = (std::min)(first + triangular_block, n);
        for (Index i = first; i < n; ++i) {  // rows of the block, then what is below it
            for (Index j = first; j < (std::min)(i + 1, last); ++j) {
                W sum = A(i, j);
                for (Index q = first; q < j; ++q) sum -= A(i, q) * conjugate_of(A(j, q));
                if (j < i) {
                    A(i, j) = sum / A(j, j);
                    continue;
                }
                const auto pivot = std::real(sum);
                if (!(pivot > 0)) return i;
                A(i, i) = W{std::sqrt(pivot)};
            }
        }
        const auto below = block(a, last, first, n - last, last - first);
        gemm_shared<W>(W{-1}, below, {adjoint(MatrixView<const W>(below)), 0}, W{1},
                       {block(a, last, last, n - last, n - last), 0}, 1);
    }
    return n;
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

// Householder reflections H = 1 - tau v v^H, one at a time and in blocks, and the products of matrices
// with single vectors that reductions to condensed form are made of. In double or complex<double>:
// complex matrices are multiplied as real ones of twice the columns.
//
//   H_0 H_1 .. H_(k-1) = 1 - V S V^H,  S upper triangular   (Schreiber, Van Loan,
//   SIAM J. Sci. Stat. Comput. 10 (1989))
#pragma once

#include <cmath>
#include <complex>
#include <utility>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/impl/gemm_inl.hpp"
#include "mpo/impl/vector_kernel_inl.hpp"

namespace mpo::detail {

/// The conjugate of a view.
template <class T>
[[nodiscard]] MatrixView<T> conjugated(const MatrixView<T>& A) {
    return adjoint(transpose(A));
}

/// conj(x) for complex numbers, x for real ones.
template <class W>
[[nodiscard]] W conjugate_of(W x) {
    if constexpr (is_complex<W>)
        return std::conj(x);
    else
        return x;
}

template <class W>
void conjugate_all(W* x, Index n) {
    if constexpr (is_complex<W>)
        for (Index i = 0; i < n; ++i) x[i] = std::conj(x[i]);
}

/// Row k of a tensor of rank 2 from column `from` on.
template <class W>
[[nodiscard]] W* row_of(Tensor<W>& M, Index k, Index from) {
    return M.data() + k * M.extent(1) + from;
}

/// Rows [first, last) of a tensor of rank 2 from column `from` on.
template <class W>
[[nodiscard]] MatrixView<const W> rows_of(const Tensor<W>& M, Index first, Index last, Index from) {
    return block(matrix<const W>(M.data(), M.extent(0), M.extent(1)), first, from, last - first,
                 M.extent(1) - from);
}

/// Pieces of a loop over rows or columns that are worth a thread: 64 KiB of doubles.
[[nodiscard]] inline Index vector_product_grain(Index other_side) {
    return std::max<Index>(8, (Index{1} << 13) / std::max<Index>(1, other_side));
}

/// Complex rows as real ones of twice the columns.
[[nodiscard]] inline MatrixView<const double> as_real(
    const MatrixView<const std::complex<double>>& M) {
    return {reinterpret_cast<const double*>(M.data), M.rows, 2 * M.cols, 2 * M.row_stride};
}

/// y = M x; the rows of M without gaps, here and below.
template <class W>
void multiply(const MatrixView<const W>& M, const W* x, W* y) {
    const Index n = M.cols;
    if constexpr (is_complex<W>) {
        std::vector<double> re(static_cast<std::size_t>(2 * n)), im(re);
        std::vector<double> real_y(static_cast<std::size_t>(M.rows)), imag_y(real_y);
        for (Index i = 0; i < n; ++i) {
            const auto at = static_cast<std::size_t>(2 * i);
            re[at] = x[i].real(), re[at + 1] = -x[i].imag();
            im[at] = x[i].imag(), im[at + 1] = x[i].real();
        }
        const auto real = as_real(M);
        multiply<double>(real, re.data(), real_y.data());
        multiply<double>(real, im.data(), imag_y.data());
        for (Index i = 0; i < M.rows; ++i)
            y[i] = W{real_y[static_cast<std::size_t>(i)], imag_y[static_cast<std::size_t>(i)]};
    } else {
        parallel_for(0, M.rows, vector_product_grain(n), [&](Index first, Index last) {
            row_products(last - first, n, M.data + first * M.row_stride, M.row_stride, x,
                         y + first);
        });
    }
}

/// y = M^T x.
template <class W>
void multiply_transposed(const MatrixView<const W>& M, const W* x, W* y) {
    const Index n = M.cols;
    if constexpr (is_complex<W>) {
        std::vector<double> re(static_cast<std::size_t>(M.rows)), im(re);
        std::vector<double> by_re(static_cast<std::size_t>(2 * n)), by_im(by_re);
        for (Index i = 0; i < M.rows; ++i) {
            re[static_cast<std::size_t>(i)] = x[i].real();
            im[static_cast<std::size_t>(i)] = x[i].imag();
        }
        const auto real = as_real(M);
        multiply_transposed<double>(real, re.data(), by_re.data());
        multiply_transposed<double>(real, im.data(), by_im.data());
        for (Index j = 0; j < n; ++j) {
            const auto at = static_cast<std::size_t>(2 * j);
            y[j] = W{by_re[at] - by_im[at + 1], by_re[at + 1] + by_im[at]};
        }
    } else {
        parallel_for(0, n, vector_product_grain(M.rows), [&](Index first, Index last) {
            column_products(M.rows, last - first, M.data + first, M.row_stride, x, y + first);
        });
    }
}

/// y -= sum over k of x_k M_k, the rows of M.
template <class W>
void subtract_rows(const MatrixView<const W>& M, const std::vector<W>& x, W* y) {
    if (M.rows == 0) return;
    std::vector<W> sum(static_cast<std::size_t>(M.cols));
    multiply_transposed(M, x.data(), sum.data());
    for (Index j = 0; j < M.cols; ++j) y[j] -= sum[static_cast<std::size_t>(j)];
}

/// y -= sum over k of (Q_k^H z) M_k, for the rows of Q and M.
template <class W>
void subtract_projection(const MatrixView<const W>& Q, const std::vector<W>& conj_z,
                         const MatrixView<const W>& M, W* y) {
    std::vector<W> overlaps(static_cast<std::size_t>(Q.rows));
    multiply(Q, conj_z.data(), overlaps.data());
    conjugate_all(overlaps.data(), Q.rows);
    subtract_rows(M, overlaps, y);
}

/// Column `at` of M, conjugated.
template <class W>
[[nodiscard]] std::vector<W> conjugated_column(const MatrixView<const W>& M, Index at) {
    std::vector<W> column;
    for (Index k = 0; k < M.rows; ++k)
        column.push_back(conjugate_of(M.data[k * M.row_stride + at * M.col_stride]));
    return column;
}

/// tau of a reflection and the number that it leaves: H^H x = beta e_0.
template <class W>
struct Reflection {
    W tau{};
    double beta = 0;
};

/// x (n >= 1) becomes v, v[0] = 1. Numbers whose squares underflow count as zeros.
template <class W>
[[nodiscard]] Reflection<W> reflect(W* x, Index n) {
    double tail = 0;
    for (Index i = 1; i < n; ++i) tail += std::norm(x[i]);
    const W alpha = std::exchange(x[0], W{1});
    if (tail == 0 && std::imag(alpha) == 0) {
        std::fill(x + 1, x + n, W{});
        return {W{}, std::real(alpha)};
    }
    const double beta = -std::copysign(std::sqrt(std::norm(alpha) + tail), std::real(alpha));
    const W scale = W{1} / (alpha - beta);
    for (Index i = 1; i < n; ++i) x[i] *= scale;
    return {(W{beta} - alpha) / beta, beta};
}

/// S (k, k) of a block of reflections, whose v are the rows of V (k, n).
template <class W>
[[nodiscard]] Tensor<W> block_factor(MatrixView<const W> V, const W* tau) {
    const Index k = V.rows;
    Tensor<W> overlaps({k, k}), S({k, k});
    gemm_shared<W>(W{1}, conjugated(V), {transpose(V), 0}, W{0}, {matrix(overlaps.data(), k, k), 0},
                   1);
    for (Index j = 0; j < k; ++j) {
        S(j, j) = tau[j];
        for (Index i = 0; i < j; ++i) {
            W sum{};
            for (Index q = i; q < j; ++q) sum += S(i, q) * overlaps(q, j);
            S(i, j) = -tau[j] * sum;
        }
    }
    return S;
}

enum class BlockSide { plain, adjoint };

/// X (n, columns) -> H_0 .. H_(k-1) X, or the adjoint of that product times X. V (k, n).
template <class W>
void apply_block(MatrixView<const W> V, const W* tau, BlockSide side, MatrixView<W> X) {
    const Index k = V.rows, columns = X.cols;
    if (k == 0 || columns == 0) return;
    const Tensor<W> S = block_factor(V, tau);
    const auto s = matrix<const W>(S.data(), k, k);
    Tensor<W> M({k, columns}), SM({k, columns});
    gemm_shared<W>(W{1}, conjugated(V), {X, 0}, W{0}, {matrix(M.data(), k, columns), 0}, 1);
    gemm_shared<W>(W{1}, side == BlockSide::plain ? s : adjoint(s),
                   {matrix<const W>(M.data(), k, columns), 0}, W{0},
                   {matrix(SM.data(), k, columns), 0}, 1);
    gemm_shared<W>(W{-1}, transpose(V), {matrix<const W>(SM.data(), k, columns), 0}, W{1}, {X, 0},
                   1);
}

}  // namespace mpo::detail

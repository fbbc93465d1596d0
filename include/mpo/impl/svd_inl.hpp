// SVD of a matrix A (m, n), m >= n, in double or complex<double>:
//
//   A = Q B P^H               Householder reflections from both sides, `panel` columns and rows at a time, so
//                             that half of the flops are matrix products (Dongarra, Sorensen,
//                             Hammarling, J. Comput. Appl. Math. 27 (1989))
//   B = L diag(sigma) R^T     impl/bidiagonal_svd_inl.hpp
//   U = Q L,  V = P R         compact WY products
//
// 4 n^2 (m - n/3) + 12 n^3 + 4 n^2 m flops where A is real. Our own because Eigen's divide and conquer
// costs 20 s of compile time a scalar, runs on one thread, and in 3.4 returns complex singular vectors
// that are wrong by per cents for rank-deficient matrices, without a word.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "mpo/impl/bidiagonal_svd_inl.hpp"
#include "mpo/impl/reflectors_inl.hpp"

namespace mpo::detail {

/// A = Q B P^H, B real and upper bidiagonal. The v of Q and P stay where A was: v_j below the diagonal
/// of column j, u_j right of the neighbour of the diagonal in row j.
template <class W>
class Bidiagonalization {
  public:
    /// A (m, n), m >= n >= 1, row-major, magnitudes near 1 or below.
    explicit Bidiagonalization(Tensor<W> A)
        : m_(A.extent(0)),
          n_(A.extent(1)),
          A_(std::move(A)),
          v_({panel, m_}),
          x_({panel, m_}),
          u_({panel, n_}),
          y_({panel, n_}) {
        for (Index first = 0; first < n_; first += panel) {
            const Index last = (std::min)(first + panel, n_);
            for (Index j = first; j < last; ++j) {
                reduce_column(first, j);
                if (j + 1 < n_) reduce_row(first, j);
            }
            keep(first, last);
            update_trailing(last, last - first);
        }
    }

    std::vector<double> diagonal, above;  // of B

    /// X (m, columns) -> Q X.
    void apply_q(Tensor<W>& X) const {
        for (Index first = (n_ - 1) / panel * panel; first >= 0; first -= panel)
            apply_panel(A_, first, (std::min)(first + panel, n_), 0, tau_q_, X);
    }
    /// X (n, columns) -> P X.
    void apply_p(Tensor<W>& X) const {
        const Index count = n_ - 1;
        for (Index first = (count - 1) / panel * panel; first >= 0 && count > 0; first -= panel)
            apply_panel(A_, first, (std::min)(first + panel, count), 1, tau_p_, X);
    }

  private:
    static constexpr Index panel = 32;

    /// The first `count` rows of a panel's tensor from column `from` on.
    [[nodiscard]] static MatrixView<const W> rows(const Tensor<W>& M, Index count, Index from) {
        return rows_of(M, 0, count, from);
    }

    /// Column j up to date, its reflection v, and y = tau A^H v.
    void reduce_column(Index first, Index j) {
        const Index at = j - first, length = m_ - j, right = n_ - j - 1;
        W* v = row_of(v_, at, j);
        std::fill(row_of(v_, at, 0), v, W{});
        for (Index i = 0; i < length; ++i) v[i] = A_(j + i, j);
        subtract_rows(rows(v_, at, j), conjugated_column(rows(y_, at, 0), j), v);
        subtract_rows(rows(x_, at, j), conjugated_column(rows(u_, at, 0), j), v);
        const auto reflection = reflect(v, length);
        diagonal.push_back(reflection.beta);
        tau_q_.push_back(reflection.tau);
        W* y = row_of(y_, at, 0);
        std::fill(y, y + n_, W{});
        if (right == 0 || reflection.tau == W{}) return;
        y += j + 1;
        std::vector<W> z(v, v + length);
        conjugate_all(z.data(), length);
        multiply_transposed({row_of(A_, j, j + 1), length, right, n_}, z.data(), y);
        conjugate_all(y, right);
        subtract_projection(rows(v_, at, j), z, rows(y_, at, j + 1), y);
        subtract_projection(rows(x_, at, j), z, rows(u_, at, j + 1), y);
        for (Index c = 0; c < right; ++c) y[c] *= reflection.tau;
    }

    /// Row j right of the diagonal up to date, its reflection u, and x = tau A u.
    void reduce_row(Index first, Index j) {
        const Index at = j - first, right = n_ - j - 1, below = m_ - j - 1;
        W* u = row_of(u_, at, j + 1);
        std::fill(row_of(u_, at, 0), u, W{});
        for (Index c = 0; c < right; ++c) u[c] = conjugate_of(A_(j, j + 1 + c));
        subtract_rows(rows(y_, at + 1, j + 1), conjugated_column(rows(v_, at + 1, 0), j), u);
        subtract_rows(rows(u_, at, j + 1), conjugated_column(rows(x_, at, 0), j), u);
        const auto reflection = reflect(u, right);
        above.push_back(reflection.beta);
        tau_p_.push_back(reflection.tau);
        W* x = row_of(x_, at, 0);
        std::fill(x, x + m_, W{});
        if (below == 0 || reflection.tau == W{}) return;
        x += j + 1;
        multiply({row_of(A_, j + 1, j + 1), below, right, n_}, u, x);
        std::vector<W> z(u, u + right);
        conjugate_all(z.data(), right);
        subtract_projection(rows(y_, at + 1, j + 1), z, rows(v_, at + 1, j + 1), x);
        subtract_projection(rows(u_, at, j + 1), z, rows(x_, at, j + 1), x);
        for (Index i = 0; i < below; ++i) x[i] *= reflection.tau;
    }

    /// The panel's reflections, into the rows and columns of A that they finished.
    void keep(Index first, Index last) {
        for (Index j = first; j < last; ++j) {
            for (Index i = j; i < m_; ++i) A_(i, j) = v_(j - first, i);
            if (j + 1 < n_)
                std::copy_n(row_of(u_, j - first, j + 1), n_ - j - 1, row_of(A_, j, j + 1));
        }
    }

    /// A -= V^T conj(Y) + X^T conj(U), rows and columns from `last` on.
    void update_trailing(Index last, Index count) {
        if (last == n_) return;
        const MatrixView<W> rest{row_of(A_, last, last), m_ - last, n_ - last, n_, 1};
        gemm_shared(W{-1}, transpose(rows(v_, count, last)), {conjugated(rows(y_, count, last)), 0},
                    W{1}, {rest, 0}, 1);
        gemm_shared(W{-1}, transpose(rows(x_, count, last)), {conjugated(rows(u_, count, last)), 0},
                    W{1}, {rest, 0}, 1);
    }

    /// Reflections [first, last), v_k from row or column k + offset on: of columns (offset 0), of rows (1).
    static void apply_panel(const Tensor<W>& A, Index first, Index last, Index offset,
                            const std::vector<W>& tau, Tensor<W>& X) {
        const Index from = first + offset, length = X.extent(0) - from, columns = X.extent(1);
        Tensor<W> V({last - first, length});
        for (Index k = first; k < last; ++k)
            for (Index i = k + offset; i < X.extent(0); ++i)
                V(k - first, i - from) = offset == 0 ? A(i, k) : A(k, i);
        apply_block<W>(matrix<const W>(V.data(), last - first, length), tau.data() + first,
                       BlockSide::plain, {X.data() + from * columns, length, columns, columns, 1});
    }

    Index m_, n_;
    Tensor<W> A_;
    Tensor<W> v_, x_;  // (panel, m): A_now = A - sum v_p y_p^H + x_p u_p^H within a panel
    Tensor<W> u_, y_;  // (panel, n)
    std::vector<W> tau_q_, tau_p_;
};

template <class W>
struct ThinSvd {
    Tensor<W> U;                // (m, n)
    std::vector<double> sigma;  // descending
    Tensor<W> V;                // (n, n)
};

/// A (m, n), m >= n >= 1, finite. Throws NumericalError (no convergence).
template <class W>
[[nodiscard]] ThinSvd<W> thin_svd(Tensor<W> A) {
    const Index m = A.extent(0), n = A.extent(1);
    double largest = 0;
    for (Index k = 0; k < A.size(); ++k)
        largest = (std::max)(
            {largest, std::abs(std::real(A.data()[k])), std::abs(std::imag(A.data()[k]))});
    const int exponent = largest > 0 ? std::ilogb(largest) : 0;
    for (Index k = 0; k < A.size(); ++k) {
        W& x = A.data()[k];
        if constexpr (is_complex<W>)
            x = {std::ldexp(x.real(), -exponent), std::ldexp(x.imag(), -exponent)};
        else
            x = std::ldexp(x, -exponent);
    }
    const Bidiagonalization<W> reduced(std::move(A));
    const BidiagonalSvd svd(reduced.diagonal, reduced.above);
    const auto values = svd.values();
    const auto order = descending_order(values);
    ThinSvd<W> result{Tensor<W>({m, n}), {}, Tensor<W>({n, n})};
    for (const Index k : order)
        result.sigma.push_back(std::ldexp(values[static_cast<std::size_t>(k)], exponent));
    for (Index i = 0; i < n; ++i) {
        for (Index k = 0; k < n; ++k) {
            result.U(i, k) = W{svd.left(i, order[static_cast<std::size_t>(k)])};
            result.V(i, k) = W{svd.right(i, order[static_cast<std::size_t>(k)])};
        }
    }
    reduced.apply_q(result.U);
    reduced.apply_p(result.V);
    return result;
}

}  // namespace mpo::detail

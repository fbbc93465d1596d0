// Eigenvalues and eigenvectors of a Hermitian matrix A (n, n), in double or complex<double>:
//
//   A = Q T Q^H              Householder reflections, `panel` at a time, so that half of the flops are
//                            matrix products (Dongarra, Sorensen, Hammarling, J. Comput. Appl. Math. 27 (1989))
//   T = Z diag(lambda) Z^T   impl/tridiagonal_eigen_inl.hpp
//   vectors = Q Z            compact WY products, impl/reflectors_inl.hpp
//
// 4/3 n^3 + 3 n^3 + 2 n^3 flops where A is real. Our own because Eigen's, compiled without -march and on
// one thread, took a quarter of a whole decomposition.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "mpo/impl/reflectors_inl.hpp"
#include "mpo/impl/tridiagonal_eigen_inl.hpp"

namespace mpo::detail {

/// A = Q T Q^H. Q = H_0 H_1 .. H_(n-2), H_k = 1 - tau_k v_k v_k^H, v_k zero up to row k, 1 in row k + 1.
template <class W>
class Tridiagonalization {
  public:
    /// A (n, n), row-major, Hermitian, magnitudes near 1 or below.
    explicit Tridiagonalization(Tensor<W> A)
        : n_(A.extent(0)),
          A_(std::move(A)),
          reflectors_({std::max<Index>(n_ - 1, 0), n_}),
          images_({panel, n_}),
          tau_(static_cast<std::size_t>(std::max<Index>(n_ - 1, 0))) {
        for (Index first = 0; first + 1 < n_; first += panel) {
            const Index last = (std::min)(first + panel, n_ - 1);
            for (Index j = first; j < last; ++j) reduce(first, j);
            update_trailing(first, last);
        }
        diagonal.push_back(std::real(A_(n_ - 1, n_ - 1)));
    }

    std::vector<double> diagonal, beside;  // of T

    /// X (n, columns) -> Q X.
    void apply_q(Tensor<W>& X) const {
        const Index most = std::max<Index>(n_ - 1, 0);
        for (Index first = (most - 1) / panel * panel; first >= 0 && most > 0; first -= panel)
            apply_block<W>(rows_of(reflectors_, first, (std::min)(first + panel, most), first + 1),
                           tau_.data() + first, BlockSide::plain,
                           {row_of(X, first + 1, 0), n_ - first - 1, X.extent(1), X.extent(1), 1});
    }

  private:
    static constexpr Index panel = 32;

    [[nodiscard]] static W inner(const W* x, const W* y, Index n) {
        W sum{};
        for (Index i = 0; i < n; ++i) sum += conjugate_of(x[i]) * y[i];
        return sum;
    }

    /// Column j: what the panel's earlier columns do to it, its reflection, the image of that.
    void reduce(Index first, Index j) {
        W* x = row_of(reflectors_, j, 0);
        for (Index i = j; i < n_; ++i) x[i] = conjugate_of(A_(j, i));
        const auto before = rows_of(reflectors_, first, j, j);
        const auto images = rows_of(images_, 0, j - first, j);
        subtract_rows(before, conjugated_column(images, 0), x + j);
        subtract_rows(images, conjugated_column(before, 0), x + j);
        diagonal.push_back(std::real(x[j]));
        x[j] = W{};
        const auto reflection = reflect(x + j + 1, n_ - j - 1);
        beside.push_back(reflection.beta);
        tau_[static_cast<std::size_t>(j)] = reflection.tau;
        make_image(first, j, reflection.tau);
    }

    /// w = p - tau (p^H v) / 2 v, p = tau A v, so that H^H A H = A - v w^H - w v^H.
    void make_image(Index first, Index j, W tau) {
        const Index from = j + 1, n = n_ - from;
        const W* v = row_of(reflectors_, j, from);
        W* p = row_of(images_, j - first, 0);
        std::fill(p, p + from, W{});
        p += from;
        if (tau == W{}) {
            std::fill(p, p + n, W{});
            return;
        }
        multiply({row_of(A_, from, from), n, n, n_}, v, p);  // half of all flops, bound by memory
        std::vector<W> conj_v(v, v + n);
        conjugate_all(conj_v.data(), n);
        const auto before = rows_of(reflectors_, first, j, from);
        const auto images = rows_of(images_, 0, j - first, from);
        subtract_projection(images, conj_v, before, p);
        subtract_projection(before, conj_v, images, p);
        for (Index i = 0; i < n; ++i) p[i] *= tau;
        const W share = tau * inner(p, v, n) / 2.0;
        for (Index i = 0; i < n; ++i) p[i] -= share * v[i];
    }

    /// A -= V^T conj(W) + W^T conj(V), rows and columns from `last` on.
    void update_trailing(Index first, Index last) {
        const auto V = rows_of(reflectors_, first, last, last);
        const auto images = rows_of(images_, 0, last - first, last);
        const MatrixView<W> rest{row_of(A_, last, last), n_ - last, n_ - last, n_, 1};
        gemm_shared(W{-1}, transpose(V), {conjugated(images), 0}, W{1}, {rest, 0}, 1);
        gemm_shared(W{-1}, transpose(images), {conjugated(V), 0}, W{1}, {rest, 0}, 1);
    }

    Index n_;
    Tensor<W> A_;           // what is left to reduce
    Tensor<W> reflectors_;  // (n - 1, n), row k: v_k
    Tensor<W> images_;      // (panel, n), rows: the w of this panel
    std::vector<W> tau_;
};

/// Hermitian A (n, n), of which the lower triangle is read -> eigenvectors in the columns of A, values
/// descending. A must be finite. Throws NumericalError (no convergence).
template <class W>
[[nodiscard]] std::vector<double> hermitian_eigen(Tensor<W>& A) {
    const Index n = A.extent(0);
    double largest = 0;
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j <= i; ++j)
            largest =
                (std::max)({largest, std::abs(std::real(A(i, j))), std::abs(std::imag(A(i, j)))});
    const int exponent = largest > 0 ? std::ilogb(largest) : 0;
    const auto scaled = [&](double x) { return std::ldexp(x, -exponent); };
    for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < i; ++j) {
            if constexpr (is_complex<W>) {
                A(i, j) = {scaled(A(i, j).real()), scaled(A(i, j).imag())};
                A(j, i) = std::conj(A(i, j));
            } else {
                A(j, i) = A(i, j) = scaled(A(i, j));
            }
        }
        A(i, i) = W{scaled(std::real(A(i, i)))};
    }
    const Tridiagonalization<W> reduced(A);
    const TridiagonalEigen eigen(reduced.diagonal, reduced.beside);
    const auto& eigenvalues = eigen.values();
    const auto order = descending_order(eigenvalues);
    std::vector<double> values;
    values.reserve(order.size());
    for (const Index k : order)
        values.push_back(std::ldexp(eigenvalues[static_cast<std::size_t>(k)], exponent));
    for (Index i = 0; i < n; ++i)
        for (Index k = 0; k < n; ++k)
            A(i, k) = W{eigen.vector(i, order[static_cast<std::size_t>(k)])};
    reduced.apply_q(A);
    return values;
}

}  // namespace mpo::detail

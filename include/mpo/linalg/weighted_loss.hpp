// What a linear y = W x loses where another matrix stands in for W, in the metric S = E[x x^H] of its inputs:
//
//   E norm((W - A) x)^2  =  tr(E S E^H),   E = W - A
//
// by its definition, a panel of rows at a time, in the scalar of Gram matrices: the yardstick of every form
// that claims a loss of its own. The difference is taken there too, so that numbers which agree to the
// last bits of T have the loss they have.
#pragma once

#include <complex>
#include <type_traits>
#include <utility>

#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/orthonormalize.hpp"
#include "mpo/linalg/range.hpp"

namespace mpo::detail {

/// A row-major matrix without gaps converted to the wider scalar, a panel over the host at a time.
template <Scalar W, Scalar T, BackendFor<T> B>
[[nodiscard]] BufferOf<B, W> widened(MatrixView<const T> A, const B& backend) {
    auto wide = backend.template allocate<W>(A.size());
    const Index step = rows_of_panel(A.cols);
    for (Index i = 0; i < A.rows; i += step) {
        const Index rows = (std::min)(step, A.rows - i);
        const auto from = fetch<T>(A.data + i * A.cols, rows, A.cols, backend);
        Tensor<W> panel(from.shape());
        for (Index k = 0; k < from.size(); ++k) panel.data()[k] = static_cast<W>(from.data()[k]);
        backend.template upload<W>(TensorView<const W>(panel.view()), wide.data() + i * A.cols);
    }
    return wide;
}

/// sum of the losses of panels of rows, panel(i, rows) being those of E in GramScalar, (rows, n). Rounding
/// can take a loss that is zero below it; NaN stays.
template <Scalar T, BackendFor<T> B, class Panel>
[[nodiscard]] double sum_of_losses(Index m, MatrixView<const GramScalar<B, T>> S, Panel&& panel,
                                   const B& backend) {
    using W = GramScalar<B, T>;
    const Index n = S.rows;
    if (m == 0 || n == 0) return 0;
    const Index step = (std::min)(rows_of_panel(n), m);
    const auto product = backend.template allocate<W>(step * n);
    const auto inner = backend.template allocate<GramScalar<B, W>>(1);
    double sum = 0;
    for (Index i = 0; i < m; i += step) {
        const Index rows = (std::min)(step, m - i);
        const auto E = panel(i, rows);
        const auto ES = matrix(product.data(), rows, n);
        backend.gemm(W{1}, matrix<const W>(E.data(), rows, n), S, W{0}, ES);
        backend.template dot<W>(ES.size(), E.data(), ES.data, inner.data());
        sum += static_cast<double>(
            std::real(fetch<GramScalar<B, W>>(inner.data(), 1, 1, backend)(0, 0)));
    }
    return sum < 0 ? 0.0 : sum;
}

/// tr(E S E^H).
///
/// E      (m, n), row-major without gaps, backend memory
/// S      (n, n), Hermitian, in GramScalar; any strides
/// error  m n rounding errors of GramScalar relative to tr(E E^H) norm(S)
/// cost   m n^2 multiply-adds; two panels of 2^20 numbers
template <Scalar T, BackendFor<T> B>
[[nodiscard]] double weighted_loss(std::type_identity_t<MatrixView<const T>> E,
                                   std::type_identity_t<MatrixView<const GramScalar<B, T>>> S,
                                   const B& backend) {
    const auto panel = [&](Index i, Index rows) {
        return widened<GramScalar<B, T>, T>(matrix(E.data + i * E.cols, rows, E.cols), backend);
    };
    return sum_of_losses<T>(E.rows, S, panel, backend);
}

/// tr((W - A) S (W - A)^H), for W and A (m, n) as E above; three panels.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] double weighted_loss(std::type_identity_t<MatrixView<const T>> W,
                                   std::type_identity_t<MatrixView<const T>> A,
                                   std::type_identity_t<MatrixView<const GramScalar<B, T>>> S,
                                   const B& backend) {
    using G = GramScalar<B, T>;
    const auto panel = [&](Index i, Index rows) {
        auto E = widened<G, T>(matrix(W.data + i * W.cols, rows, W.cols), backend);
        const auto a = widened<G, T>(matrix(A.data + i * A.cols, rows, A.cols), backend);
        backend.axpy(E.size(), G{-1}, static_cast<const G*>(a.data()), E.data());
        return E;
    };
    return sum_of_losses<T>(W.rows, S, panel, backend);
}

}  // namespace mpo::detail

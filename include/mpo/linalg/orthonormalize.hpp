// Orthonormal bases of thin matrices by products: Cholesky QR, twice where once is not enough.
//
//   H = Y^H Y = L L^H,  Q = Y L^-H
//
// One pass leaves norm(Q^H Q - I) ~ eps(wide) cond(Y)^2 + eps cond(Y), a second one leaves eps
// (Yamamoto, Nakatsukasa, Yanagisawa, Fukaya, ETNA 44 (2015)). All its flops are matrix products,
// where Householder QR of a 4096 x 110 matrix runs at a tenth of their rate. Where `wide` is T itself, a
// first pass may leave columns too far from orthonormal for a second: then there is a third. A Cholesky
// factor that does not exist, or a condition number that no pass could repair, falls back to Householder.
#pragma once

#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpo/linalg/backend.hpp"

namespace mpo::detail {

/// Copies a small matrix from backend memory.
template <Scalar T, class B>
[[nodiscard]] Tensor<T> fetch(const T* from, Index rows, Index cols, const B& backend) {
    Tensor<T> host({rows, cols});
    backend.download(from, host.view());
    return host;
}

/// A host matrix in backend memory, converted to T.
template <Scalar T, Scalar W, class B>
[[nodiscard]] BufferOf<B, T> send(const Tensor<W>& host, const B& backend) {
    auto buffer = backend.template allocate<T>(host.size());
    Tensor<T> converted(host.shape());
    for (Index k = 0; k < host.size(); ++k) converted.data()[k] = static_cast<T>(host.data()[k]);
    backend.template upload<T>(TensorView<const T>(converted.view()), buffer.data());
    return buffer;
}

/// A matrix in backend memory, converted to T: as it is where it is of T already, else over the host.
template <Scalar T, Scalar W, class B>
[[nodiscard]] BufferOf<B, T> converted(BufferOf<B, W> matrix, Index rows, Index cols,
                                       const B& backend) {
    if constexpr (std::is_same_v<T, W>)
        return matrix;
    else
        return send<T>(fetch<W>(matrix.data(), rows, cols, backend), backend);
}

/// Eigenvectors on the host, in columns, and eigenvalues, descending.
template <Scalar W>
struct Eigenpairs {
    Tensor<W> vectors;
    std::vector<double> values;
};

/// Of a Hermitian matrix (s, s), which is overwritten.
template <Scalar W, BackendFor<W> B>
[[nodiscard]] Eigenpairs<W> eigenpairs(BufferOf<B, W> H, Index s, const B& backend) {
    auto values = backend.template allocate<Real<W>>(s);
    backend.eigh(matrix(H.data(), s, s), values.data());
    Eigenpairs<W> pairs{fetch<W>(H.data(), s, s, backend), {}};
    const auto lambda = fetch<Real<W>>(values.data(), s, 1, backend);
    for (Index k = 0; k < s; ++k) pairs.values.push_back(static_cast<double>(lambda(k, 0)));
    return pairs;
}

/// Re <x, y> of n numbers in backend memory.
template <Scalar T, class B>
[[nodiscard]] double real_dot(const T* x, const T* y, Index n, const B& backend) {
    using W = GramScalar<B, T>;
    auto sum = backend.template allocate<W>(1);
    backend.dot(n, x, y, sum.data());
    return static_cast<double>(std::real(fetch<W>(sum.data(), 1, 1, backend)(0, 0)));
}

/// norm(x)^2 of n numbers in backend memory.
template <Scalar T, class B>
[[nodiscard]] double squared_norm(const T* x, Index n, const B& backend) {
    return real_dot<T>(x, x, n, backend);
}

/// 1 (n, n) in backend memory.
template <Scalar T, class B>
[[nodiscard]] BufferOf<B, T> unit_matrix(Index n, const B& backend) {
    Tensor<T> unit({n, n});
    for (Index k = 0; k < n; ++k) unit(k, k) = T{1};
    return send<T>(unit, backend);
}

/// A + shift 1 in place, A (n, n) row-major without gaps.
template <Scalar T, BackendFor<T> B>
void add_to_diagonal(MatrixView<T> A, double shift, const B& backend) {
    const auto numbers =
        send<T>(Tensor<T>({2}, {static_cast<T>(static_cast<Real<T>>(shift)), T{1}}), backend);
    backend.gemm_batched(T{1}, BatchView<const T>{matrix<const T>(numbers.data(), 1, 1), 0},
                         BatchView<const T>{matrix<const T>(numbers.data() + 1, 1, 1), 0}, T{1},
                         BatchView<T>{matrix(A.data, 1, 1), A.rows + 1}, A.rows);
}

/// X = (L L^H)^-1 X, L (n, n) of cholesky.
template <Scalar T, BackendFor<T> B>
void solve_cholesky(std::type_identity_t<MatrixView<const T>> L, MatrixView<T> X,
                    const B& backend) {
    backend.solve_triangular(Triangle::lower, L, X);
    backend.solve_triangular(Triangle::upper, adjoint(L), X);
}

enum class CholeskyQr {
    orthonormal,  // to eps: the condition number was bounded beforehand
    improved,     // to eps times a condition number that is not known
    refused,      // too ill-conditioned for the scalar: Y is unchanged
};

/// cond(H) <= 12 by Gershgorin's circles: diagonal within a factor of 4, and in every row off-diagonal
/// elements, relative to the diagonal, that add up to at most 1/2.
template <Scalar W>
[[nodiscard]] bool nearly_diagonal(const Tensor<W>& H) {
    const Index l = H.extent(0);
    double smallest = std::numeric_limits<double>::infinity(), largest = 0;
    for (Index i = 0; i < l; ++i) {
        smallest = (std::min)(smallest, static_cast<double>(std::real(H(i, i))));
        largest = (std::max)(largest, static_cast<double>(std::real(H(i, i))));
    }
    if (!(smallest > 0) || largest > 4 * smallest) return false;
    for (Index i = 0; i < l; ++i) {
        double sum = 0;
        for (Index j = 0; j < l; ++j)
            if (j != i) sum += static_cast<double>(std::abs(H(i, j)));
        if (sum > smallest / 2) return false;
    }
    return true;
}

/// Whether L, the Cholesky factor of H = Y^H Y, says how the columns of Y lie to each other: its diagonal
/// falls less than T resolves, and no column is so close to the ones before it that the rounding of H
/// made its pivot.
template <Scalar T, Scalar W>
[[nodiscard]] bool resolves_columns(const Tensor<W>& H, const Tensor<W>& L) {
    const Index l = H.extent(0);
    const double rounding = 8 * static_cast<double>(l) * std::numeric_limits<Real<W>>::epsilon();
    double smallest = std::numeric_limits<double>::infinity(), largest = 0;
    for (Index k = 0; k < l; ++k) {
        const auto pivot = static_cast<double>(std::abs(L(k, k)));
        if (pivot * pivot < rounding * static_cast<double>(std::real(H(k, k)))) return false;
        smallest = (std::min)(smallest, pivot);
        largest = (std::max)(largest, pivot);
    }
    return smallest >= 16 * std::numeric_limits<Real<T>>::epsilon() * largest;
}

/// X (rows, l) in backend memory, multiplied from the right by whatever Y is multiplied by: where
/// Y = A X, X keeps that so. `followed` becomes false where Y went through a Householder QR.
template <Scalar T, class B>
struct Companion {
    BufferOf<B, GramScalar<B, T>> X;
    Index rows = 0;
    bool followed = true;
};

/// One pass of Cholesky QR: Y (m, l), row-major -> Y L^-H.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] CholeskyQr cholesky_qr(BufferOf<B, T>& Y, Index m, Index l, const B& backend,
                                     Companion<T, B>* companion = nullptr) {
    using W = GramScalar<B, T>;
    auto H = backend.template allocate<W>(l * l);
    const auto y = matrix<const T>(Y.data(), m, l);
    backend.syrk(adjoint(y), matrix(H.data(), l, l));  // Y^H Y
    const auto squares = fetch<W>(H.data(), l, l, backend);
    const bool bounded = nearly_diagonal(squares);
    if (backend.cholesky(matrix(H.data(), l, l)) < l ||
        !resolves_columns<T>(squares, fetch<W>(H.data(), l, l, backend)))
        return CholeskyQr::refused;
    auto X = unit_matrix<W>(l, backend);
    backend.solve_triangular(Triangle::lower, matrix<const W>(H.data(), l, l),
                             matrix(X.data(), l, l));
    if (companion != nullptr) {
        auto product = backend.template allocate<W>(companion->rows * l);
        backend.gemm(W{1}, matrix<const W>(companion->X.data(), companion->rows, l),
                     adjoint(matrix<const W>(X.data(), l, l)), W{0},
                     matrix(product.data(), companion->rows, l));
        companion->X = std::move(product);
    }
    const auto factor = converted<T, W>(std::move(X), l, l, backend);  // L^-1
    auto Q = backend.template allocate<T>(m * l);
    backend.gemm(T{1}, y, adjoint(matrix<const T>(factor.data(), l, l)), T{0},
                 matrix(Q.data(), m, l));
    Y = std::move(Q);
    return bounded ? CholeskyQr::orthonormal : CholeskyQr::improved;
}

/// Y (m, l), m >= l, row-major -> orthonormal columns that span its range (and more where its rank
/// is below l). 4 m l^2 flops; throws NumericalError where Y is not finite.
template <Scalar T, BackendFor<T> B>
void orthonormalize(BufferOf<B, T>& Y, Index m, Index l, const B& backend,
                    Companion<T, B>* companion = nullptr) {
    if (l == 0) return;
    constexpr int most_passes = 4;
    auto done = CholeskyQr::improved;
    for (int pass = 0; pass < most_passes && done == CholeskyQr::improved; ++pass)
        done = cholesky_qr<T>(Y, m, l, backend, companion);
    if (done == CholeskyQr::orthonormal) return;
    if (companion != nullptr) companion->followed = false;
    auto R = backend.template allocate<T>(l * l);
    backend.qr(matrix(Y.data(), m, l), matrix(R.data(), l, l));
}

}  // namespace mpo::detail

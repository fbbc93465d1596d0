// The oracle: every operation as its formula, in plain loops and in double. Nobody optimises it.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo::test {

/// double for real, complex<double> for complex scalars.
template <class T>
using Wide = std::conditional_t<is_complex<T>, std::complex<double>, double>;

template <class T>
[[nodiscard]] T conjugated(const T& x) {
    if constexpr (is_complex<T>)
        return std::conj(x);
    else
        return x;
}

namespace naive {

/// Every multi-index of a shape in C order.
template <class F>
void for_each_index(const Shape& shape, F&& visit) {
    Shape at(shape.size(), 0);
    for (Index count = num_elements(shape); count > 0; --count) {
        visit(std::as_const(at));
        for (std::size_t k = shape.size(); k-- > 0;) {
            if (++at[k] < shape[k]) break;
            at[k] = 0;
        }
    }
}

template <class T>
[[nodiscard]] T& entry(const TensorView<T>& view, const Shape& at) {
    Index offset = 0;
    for (std::size_t k = 0; k < at.size(); ++k) offset += at[k] * view.strides[k];
    return view.data[offset];
}

/// The value that a backend reads at (i, j).
template <class T>
[[nodiscard]] std::remove_const_t<T> entry(const MatrixView<T>& A, Index i, Index j) {
    const auto x = A.data[i * A.row_stride + j * A.col_stride];
    return A.conjugation == Conjugation::conjugate ? conjugated(x) : x;
}

/// A copy in double, C order.
template <class T>
[[nodiscard]] Tensor<Wide<T>> widen(const TensorView<const T>& view) {
    Tensor<Wide<T>> copy(view.shape);
    Index n = 0;
    for_each_index(view.shape, [&](const Shape& at) {
        copy.data()[n++] = static_cast<Wide<T>>(entry(view, at));
    });
    return copy;
}
template <class T>
[[nodiscard]] Tensor<Wide<T>> widen(const Tensor<T>& tensor) {
    return widen(tensor.view());
}
template <class T>
[[nodiscard]] Tensor<Wide<T>> widen(const MatrixView<T>& A) {
    Tensor<Wide<T>> copy({A.rows, A.cols});
    for (Index i = 0; i < A.rows; ++i)
        for (Index j = 0; j < A.cols; ++j) copy(i, j) = static_cast<Wide<T>>(entry(A, i, j));
    return copy;
}

/// Rounds to T.
template <class T>
[[nodiscard]] Tensor<T> narrow(const Tensor<Wide<T>>& wide) {
    Tensor<T> copy(wide.shape());
    for (Index n = 0; n < wide.size(); ++n) copy.data()[n] = static_cast<T>(wide.data()[n]);
    return copy;
}

/// C = A B.
template <class W>
[[nodiscard]] Tensor<W> product(const Tensor<W>& A, const Tensor<W>& B) {
    Tensor<W> C({A.extent(0), B.extent(1)});
    for (Index i = 0; i < A.extent(0); ++i)
        for (Index j = 0; j < B.extent(1); ++j)
            for (Index k = 0; k < A.extent(1); ++k) C(i, j) += A(i, k) * B(k, j);
    return C;
}

/// C = alpha A + beta B, any one shape.
template <class W>
[[nodiscard]] Tensor<W> combination(W alpha, const Tensor<W>& A, W beta, const Tensor<W>& B) {
    Tensor<W> C(A.shape());
    for (Index n = 0; n < A.size(); ++n) C.data()[n] = alpha * A.data()[n] + beta * B.data()[n];
    return C;
}

template <class W>
[[nodiscard]] Tensor<W> transpose(const Tensor<W>& A) {
    Tensor<W> At({A.extent(1), A.extent(0)});
    for (Index i = 0; i < A.extent(0); ++i)
        for (Index j = 0; j < A.extent(1); ++j) At(j, i) = A(i, j);
    return At;
}

template <class W>
[[nodiscard]] Tensor<W> conjugate(const Tensor<W>& A) {
    Tensor<W> C(A.shape());
    for (Index n = 0; n < A.size(); ++n) C.data()[n] = conjugated(A.data()[n]);
    return C;
}

template <class W>
[[nodiscard]] Tensor<W> adjoint(const Tensor<W>& A) {
    return conjugate(transpose(A));
}

template <class W>
[[nodiscard]] Tensor<W> identity(Index n) {
    Tensor<W> I({n, n});
    for (Index k = 0; k < n; ++k) I(k, k) = 1;
    return I;
}

/// sum conj(a) b.
template <class W>
[[nodiscard]] W inner(const Tensor<W>& A, const Tensor<W>& B) {
    W sum = 0;
    for (Index n = 0; n < A.size(); ++n) sum += conjugated(A.data()[n]) * B.data()[n];
    return sum;
}

/// tr(E S E^H).
template <class W>
[[nodiscard]] double weighted_loss(const Tensor<W>& E, const Tensor<W>& S) {
    return std::real(inner(E, product(E, S)));
}

/// Frobenius.
template <class T>
[[nodiscard]] double norm(const Tensor<T>& A) {
    double sum = 0;
    for (Index n = 0; n < A.size(); ++n) sum += std::norm(static_cast<Wide<T>>(A.data()[n]));
    return std::sqrt(sum);
}

/// norm(A - B), Frobenius; infinite where the shapes differ, so that a comparison fails.
template <class T, class U>
[[nodiscard]] double distance(const Tensor<T>& A, const Tensor<U>& B) {
    if (A.shape() != B.shape()) return std::numeric_limits<double>::infinity();
    double sum = 0;
    for (Index n = 0; n < A.size(); ++n)
        sum += std::norm(static_cast<Wide<T>>(A.data()[n]) - static_cast<Wide<U>>(B.data()[n]));
    return std::sqrt(sum);
}

/// The digits of `index` in the mixed radix of the legs, first slowest.
[[nodiscard]] inline Shape digits(Index index, const Shape& legs) {
    Shape result(legs.size());
    for (std::size_t k = legs.size(); k-- > 0; index /= legs[k]) result[k] = index % legs[k];
    return result;
}

/// W[(o1..oN), (i1..iN)] = C[0](0, o1, i1, :) .. C[N-1](:, oN, iN, 0), entry by entry.
template <Scalar T>
[[nodiscard]] Tensor<Wide<T>> to_dense(const Mpo<T>& mpo) {
    const Layout layout = mpo.layout();
    Tensor<Wide<T>> W({rows(layout), cols(layout)});
    for (Index row = 0; row < W.extent(0); ++row)
        for (Index col = 0; col < W.extent(1); ++col) {
            const Shape o = digits(row, layout.out), i = digits(col, layout.in);
            std::vector<Wide<T>> left{1};
            for (Index k = 0; k < mpo.num_sites(); ++k) {
                const auto& core = mpo.core(k);
                const auto at = static_cast<std::size_t>(k);
                std::vector<Wide<T>> next(static_cast<std::size_t>(core.extent(3)), 0);
                for (Index a = 0; a < core.extent(0); ++a)
                    for (Index b = 0; b < core.extent(3); ++b)
                        next[static_cast<std::size_t>(b)] +=
                            left[static_cast<std::size_t>(a)] *
                            static_cast<Wide<T>>(core(a, o[at], i[at], b));
                left = std::move(next);
            }
            W(row, col) = left.front();
        }
    return W;
}

/// norm(Q^H Q - 1) of a core as Q (D o i, D'), or of its mirror image as (D, o i D').
template <Scalar T>
[[nodiscard]] double left_orthonormality_defect(const Tensor<T>& core) {
    const Index bond = core.extent(3);
    const auto Q = widen(core).reshape({core.size() / bond, bond});  // (D o i, D')
    return distance(product(adjoint(Q), Q), identity<Wide<T>>(bond));
}
template <Scalar T>
[[nodiscard]] double right_orthonormality_defect(const Tensor<T>& core) {
    const Index bond = core.extent(0);
    const auto Q = widen(core).reshape({bond, core.size() / bond});  // (D, o i D')
    return distance(product(Q, adjoint(Q)), identity<Wide<T>>(bond));
}

/// How far the cores are from the canonical form that the Mpo claims: the largest of all defects.
template <Scalar T>
[[nodiscard]] double canonical_defect(const Mpo<T>& mpo) {
    const Index center = mpo.orthogonality_center();
    double defect = 0;
    for (Index k = 0; center >= 0 && k < mpo.num_sites(); ++k) {
        if (k < center) defect = std::max(defect, left_orthonormality_defect(mpo.core(k)));
        if (k > center) defect = std::max(defect, right_orthonormality_defect(mpo.core(k)));
    }
    return defect;
}

/// Y (B, out) = X (B, in) W^T.
template <class W>
[[nodiscard]] Tensor<W> apply(const Tensor<W>& matrix, const Tensor<W>& X) {
    return product(X, transpose(matrix));
}

}  // namespace naive
}  // namespace mpo::test

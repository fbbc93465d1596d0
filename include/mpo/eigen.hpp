// Eigen's matrices seen as ours, and ours seen as Eigen's; nothing is copied either way. Never in an
// umbrella: who includes this has Eigen, and everybody else need not.
//
//   Eigen::MatrixXf W(out, in), X(in, B), Y(out, B);  // column-major, Eigen's default: Y = W X
//   decompose(as_view(W), options, cpu);              // any storage order: decompose copies anyway
//   plan.apply(as_view(X.transpose()), as_view(Y.transpose()));
//
// A column-major (in, B) matrix is our row-major (B, in): its transpose is a view without gaps. In
// row-major storage tokens are rows already: plan.apply(as_view(X), as_view(Y)) with X (B, in).
#pragma once

#include <Eigen/Core>
#include <type_traits>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {
namespace detail {

template <class M>
inline constexpr bool has_elements_in_memory = (std::remove_cvref_t<M>::Flags &
                                                Eigen::DirectAccessBit) != 0;

/// Matrix and Array: they own what a view of a temporary would outlive.
template <class Derived>
[[nodiscard]] constexpr bool owns_elements(const Eigen::PlainObjectBase<Derived>*) {
    return true;
}
[[nodiscard]] constexpr bool owns_elements(const void*) {
    return false;
}

template <class T>
using EigenRowMajor =
    Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using MappedRowMajor =
    std::conditional_t<std::is_const_v<T>, const EigenRowMajor<T>, EigenRowMajor<T>>;

inline void check_eigen_shape(const Shape& shape) {
    if (shape.size() != 2)
        throw ShapeError("as_eigen: expected rank 2, got shape " + to_string(shape));
}

}  // namespace detail

/// The elements of an Eigen matrix, array, vector, map, block or transpose as a view of shape
/// (rows, cols), with the strides that they have. A vector is the one row or column that it is.
///
/// matrix   anything of Eigen with elements in memory, of one of the four scalars; the view must not
///          outlive it. The elements of a const matrix are const.
/// cost     O(1); no element is read
/// error    at compile time: an expression that is not evaluated (A + B), a temporary Matrix
template <class M>
[[nodiscard]] auto as_view(M&& matrix) {
    using Plain = std::remove_cvref_t<M>;
    static_assert(Scalar<typename Plain::Scalar>,
                  "mpo: as_view takes float, double and their complex numbers");
    static_assert(detail::has_elements_in_memory<M>,
                  "mpo: as_view needs elements in memory: evaluate the Eigen expression first");
    static_assert(
        std::is_lvalue_reference_v<M> || !detail::owns_elements(static_cast<const Plain*>(nullptr)),
        "mpo: as_view of a temporary Eigen matrix would outlive its elements");
    using T = std::remove_pointer_t<decltype(matrix.data())>;
    return TensorView<T>(matrix.data(), {matrix.rows(), matrix.cols()},
                         {matrix.rowStride(), matrix.colStride()});
}

/// A view of rank 2 as an Eigen map of shape (rows, cols) with the strides that it has. Assigning to
/// the map writes through, where T is not const. Throws ShapeError for other ranks. O(1).
template <class T>
[[nodiscard]] auto as_eigen(const TensorView<T>& view) {
    detail::check_eigen_shape(view.shape);
    using AnyStride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
    return Eigen::Map<detail::MappedRowMajor<T>, Eigen::Unaligned, AnyStride>(
        view.data, view.shape[0], view.shape[1], AnyStride(view.strides[0], view.strides[1]));
}

/// A tensor of rank 2 as a row-major map without gaps, which an Eigen::Ref of a row-major matrix
/// takes without a copy. Throws ShapeError for other ranks. O(1). The map must not outlive the tensor.
template <class T>
[[nodiscard]] auto as_eigen(Tensor<T>& tensor) {
    detail::check_eigen_shape(tensor.shape());
    return Eigen::Map<detail::EigenRowMajor<T>>(tensor.data(), tensor.extent(0), tensor.extent(1));
}
/// The same, read only.
template <class T>
[[nodiscard]] auto as_eigen(const Tensor<T>& tensor) {
    detail::check_eigen_shape(tensor.shape());
    return Eigen::Map<const detail::EigenRowMajor<T>>(tensor.data(), tensor.extent(0),
                                                      tensor.extent(1));
}
template <class T>
void as_eigen(Tensor<T>&& tensor) = delete;  // the map would outlive it

}  // namespace mpo

// Tensors of any rank: one that owns (row-major), one that looks (any strides), and the matrix view
// that every Backend operation takes.
//
//   element (i0, .., iN-1) of a view lies at data + i0 * strides[0] + .. + iN-1 * strides[N-1]
#pragma once

#include <algorithm>
#include <complex>
#include <cstddef>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"

namespace mpo {

/// Signed size and position: sums and differences need no care.
using Index = std::ptrdiff_t;
/// Extents, strides or legs, slowest axis first.
using Shape = std::vector<Index>;

/// The real type that belongs to T; see Real.
template <class T>
struct RealOf {
    using type = T;  // T itself
};
/// The same for complex numbers.
template <class T>
struct RealOf<std::complex<T>> {
    using type = T;  // type of both parts
};
/// float for float and complex<float>, double for double and complex<double>.
template <class T>
using Real = typename RealOf<std::remove_cv_t<T>>::type;

/// True for complex<float> and complex<double>.
template <class T>
inline constexpr bool is_complex = !std::is_same_v<Real<T>, std::remove_cv_t<T>>;

/// The four scalar types the library computes in.
template <class T>
concept Scalar = std::is_same_v<T, float> || std::is_same_v<T, double> ||
    std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>;

namespace detail {

/// "3*4*5" where "*" is `between`.
[[nodiscard]] std::string joined(const Shape& numbers, std::string_view between);

}  // namespace detail

/// "3 x 4 x 5" for messages.
[[nodiscard]] std::string to_string(const Shape& shape);

/// Number of elements of a shape; 1 for rank 0. Throws ShapeError on a negative extent or overflow;
/// an extent of 0 excuses no overflow of the others: they are strides.
[[nodiscard]] Index num_elements(const Shape& shape);

/// Strides, in elements, of a row-major (C order) tensor of this shape. Throws as num_elements.
[[nodiscard]] Shape row_major_strides(const Shape& shape);

/// Looks at elements it does not own. T may be const.
template <class T>
struct TensorView {
    T* data = nullptr;  // element (0, .., 0)
    Shape shape;        // extents
    Shape strides;      // in elements; may be negative or zero

    /// Looks at nothing: rank 0 and a null pointer.
    TensorView() = default;
    /// Elements from `data_in` on, row-major without gaps, of shape `shape_in`. Throws ShapeError as
    /// row_major_strides.
    TensorView(T* data_in, Shape shape_in)
        : data(data_in), shape(std::move(shape_in)), strides(row_major_strides(shape)) {}
    /// The same with `strides_in`, in elements, of `data_in` under `shape_in`. Throws ShapeError
    /// unless there is one stride per axis.
    TensorView(T* data_in, Shape shape_in, Shape strides_in)
        : data(data_in), shape(std::move(shape_in)), strides(std::move(strides_in)) {
        if (shape.size() != strides.size())
            detail::raise<ShapeError>({"TensorView: rank ", shape.size(),
                                       " needs as many strides, got ", strides.size()});
    }

    /// Number of axes.
    [[nodiscard]] Index rank() const { return static_cast<Index>(shape.size()); }
    /// Extent of axis k. Throws std::out_of_range beyond the rank.
    [[nodiscard]] Index extent(Index k) const { return shape.at(static_cast<std::size_t>(k)); }
    /// Number of elements.
    [[nodiscard]] Index size() const { return num_elements(shape); }

    /// Element (indices...), unchecked.
    template <class... I>
    [[nodiscard]] T& operator()(I... indices) const {
        Index offset = 0;
        std::size_t k = 0;
        ((offset += static_cast<Index>(indices) * strides[k++]), ...);
        return data[offset];
    }

    /// True where the elements lie in C order without gaps.
    [[nodiscard]] bool is_contiguous() const {
        Index expected = 1;
        for (std::size_t k = shape.size(); k-- > 0;) {
            if (shape[k] != 1 && strides[k] != expected) return false;
            expected *= shape[k];
        }
        return true;
    }

    /// A view that may be written serves where one is read.
    operator TensorView<const T>() const  // NOLINT: a view of T is a view of const T
        requires(!std::is_const_v<T>) {
        return {data, shape, strides};
    }
};

namespace detail {

/// Extents and strides of a view.
struct Axes {
    Shape shape, strides;
};
[[nodiscard]] Axes permuted_axes(const Shape& shape, const Shape& strides, const Shape& order);
[[nodiscard]] Axes split_axes(const Shape& shape, const Shape& strides, Index axis,
                              const Shape& legs);

}  // namespace detail

/// The same elements under another axis order: axis k of the result is axis order[k] of the view.
/// Free. Throws ShapeError where order is not a permutation of 0 .. rank-1.
template <class T>
[[nodiscard]] TensorView<T> permuted(const TensorView<T>& view, const Shape& order) {
    auto axes = detail::permuted_axes(view.shape, view.strides, order);
    return {view.data, std::move(axes.shape), std::move(axes.strides)};
}

/// Splits axis `axis` of the view into legs (first slowest). Free for any strides.
/// Throws ShapeError where the legs do not multiply up to the extent.
template <class T>
[[nodiscard]] TensorView<T> split_axis(const TensorView<T>& view, Index axis, const Shape& legs) {
    auto axes = detail::split_axes(view.shape, view.strides, axis, legs);
    return {view.data, std::move(axes.shape), std::move(axes.strides)};
}

/// Owns its elements, row-major (C order), zero-initialised.
template <class T>
class Tensor {
  public:
    /// One axis of extent 0.
    Tensor() = default;
    /// All elements 0. Throws ShapeError as num_elements.
    explicit Tensor(Shape shape)
        : shape_(std::move(shape)), data_(static_cast<std::size_t>(num_elements(shape_))) {}
    /// Takes row-major elements over. Throws ShapeError unless there are as many as the shape says.
    Tensor(Shape shape, std::vector<T> elements)
        : shape_(std::move(shape)), data_(std::move(elements)) {
        if (num_elements(shape_) != size())
            detail::raise<ShapeError>({"Tensor: shape ", to_string(shape_), " needs ",
                                       num_elements(shape_), " elements, got ", size()});
    }

    /// Extents, slowest axis first.
    [[nodiscard]] const Shape& shape() const { return shape_; }
    /// Number of axes.
    [[nodiscard]] Index rank() const { return static_cast<Index>(shape_.size()); }
    /// Extent of axis k. Throws std::out_of_range beyond the rank.
    [[nodiscard]] Index extent(Index k) const { return shape_.at(static_cast<std::size_t>(k)); }
    /// Number of elements.
    [[nodiscard]] Index size() const { return static_cast<Index>(data_.size()); }
    /// The elements in row-major order.
    [[nodiscard]] T* data() { return data_.data(); }
    /// The elements in row-major order.
    [[nodiscard]] const T* data() const { return data_.data(); }

    /// Element (indices...), unchecked.
    template <class... I>
    [[nodiscard]] T& operator()(I... indices) {
        return data_[static_cast<std::size_t>(offset(indices...))];
    }
    /// Element (indices...), unchecked.
    template <class... I>
    [[nodiscard]] const T& operator()(I... indices) const {
        return data_[static_cast<std::size_t>(offset(indices...))];
    }

    /// All elements; valid as long as the tensor is neither moved nor gone.
    [[nodiscard]] TensorView<T> view() { return {data(), shape_}; }
    /// The same, read only.
    [[nodiscard]] TensorView<const T> view() const { return {data(), shape_}; }
    /// As view().
    operator TensorView<T>() { return view(); }  // NOLINT: a tensor is viewed freely
    /// As view().
    operator TensorView<const T>() const { return view(); }  // NOLINT

    /// The same elements under another shape. Free: moves the storage of an rvalue.
    [[nodiscard]] Tensor reshape(Shape shape) && {
        return Tensor(std::move(shape), std::move(data_));
    }

  private:
    template <class... I>
    [[nodiscard]] Index offset(I... indices) const {
        Index at = 0;
        std::size_t k = 0;
        ((at = at * shape_[k++] + static_cast<Index>(indices)), ...);
        return at;
    }

    Shape shape_{0};
    std::vector<T> data_;
};

/// Whether values are read as they lie or conjugated.
enum class Conjugation { none, conjugate };

/// A matrix as Backend operations take it: element (i, j) at data + i row_stride + j col_stride.
/// The pointer may be a device pointer: a view is never dereferenced outside a backend.
template <class T>
struct MatrixView {
    T* data = nullptr;                            // element (0, 0)
    Index rows = 0;                               // first extent
    Index cols = 0;                               // second extent
    Index row_stride = 0;                         // elements from row to row
    Index col_stride = 1;                         // elements from column to column
    Conjugation conjugation = Conjugation::none;  // the values read are conj(data[..])

    /// Number of elements.
    [[nodiscard]] Index size() const { return rows * cols; }
    /// A view that may be written serves where one is read.
    operator MatrixView<const T>() const  // NOLINT: a view of T is a view of const T
        requires(!std::is_const_v<T>) {
        return {data, rows, cols, row_stride, col_stride, conjugation};
    }
};

/// A row-major (rows, cols) matrix without gaps that begins at `data`.
template <class T>
[[nodiscard]] MatrixView<T> matrix(T* data, Index rows, Index cols) {
    return {data, rows, cols, cols, 1, Conjugation::none};
}

/// A^T: the strides change places, nothing is moved.
template <class T>
[[nodiscard]] MatrixView<T> transpose(MatrixView<T> A) {
    return {A.data, A.cols, A.rows, A.col_stride, A.row_stride, A.conjugation};
}

/// conj(A)^T; the plain transpose for real scalars.
template <class T>
[[nodiscard]] MatrixView<T> adjoint(MatrixView<T> A) {
    auto At = transpose(A);
    if constexpr (is_complex<T>)
        At.conjugation =
            A.conjugation == Conjugation::none ? Conjugation::conjugate : Conjugation::none;
    return At;
}

/// The rows x cols block of A that begins at (row, col).
template <class T>
[[nodiscard]] MatrixView<T> block(MatrixView<T> A, Index row, Index col, Index rows, Index cols) {
    return {A.data + row * A.row_stride + col * A.col_stride,
            rows,
            cols,
            A.row_stride,
            A.col_stride,
            A.conjugation};
}

/// A view of rank 2 as a matrix. Throws ShapeError for other ranks.
template <class T>
[[nodiscard]] MatrixView<T> as_matrix(const TensorView<T>& view) {
    if (view.rank() != 2)
        throw ShapeError("as_matrix: expected rank 2, got shape " + to_string(view.shape));
    return {view.data,       view.shape[0],   view.shape[1],
            view.strides[0], view.strides[1], Conjugation::none};
}

/// `count` matrices of one shape, `stride` elements apart; stride 0 repeats the same one.
template <class T>
struct BatchView {
    MatrixView<T> first;  // matrix 0
    Index stride = 0;     // elements from one matrix to the next

    /// A view that may be written serves where one is read.
    operator BatchView<const T>() const  // NOLINT: a view of T is a view of const T
        requires(!std::is_const_v<T>) {
        return {first, stride};
    }
    /// Matrix k, unchecked.
    [[nodiscard]] MatrixView<T> operator[](Index k) const {
        auto A = first;
        A.data += k * stride;
        return A;
    }
};

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/core/tensor_inl.hpp"
#endif

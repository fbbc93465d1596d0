// Matrices as the libraries take them: column by column. A row-major matrix is the transpose of such a
// one, so nothing is transposed for their sake; what a library must overwrite is copied first.
#pragma once

#include "mpo/cuda/device.hpp"

namespace mpo::cuda::detail {

/// A matrix whose storage is column-major: element (i, j) of the storage at data + i + j ld. The matrix
/// is the storage, its transpose, or the conjugate of either.
struct Stored {
    Kind kind;
    void* data = nullptr;
    Index rows = 0, cols = 0;  // of the matrix
    Index ld = 1;
    bool transposed = false;
    bool conjugated = false;

    [[nodiscard]] Index stored_rows() const { return transposed ? cols : rows; }
    [[nodiscard]] Index stored_cols() const { return transposed ? rows : cols; }
};

[[nodiscard]] inline Stored transposed(Stored A) {
    std::swap(A.rows, A.cols);
    A.transposed = !A.transposed;
    return A;
}

/// A view of device memory. Throws ArgumentError where no storage of columns fits its strides.
template <class T>
[[nodiscard]] Stored stored(const MatrixView<T>& A, const char* operation) {
    using Value = std::remove_const_t<T>;
    Stored result{kind_of<Value>, const_cast<Value*>(A.data), A.rows, A.cols};  // NOLINT: untyped
    result.conjugated = is_complex<Value> && A.conjugation == Conjugation::conjugate;
    const auto fits = [](Index length, Index unit, Index count, Index stride) {
        return (length <= 1 || unit == 1) && (count <= 1 || stride >= std::max<Index>(1, length));
    };
    if (A.rows == 0 || A.cols == 0) return result;  // strides of nothing say nothing
    if (fits(A.cols, A.col_stride, A.rows, A.row_stride)) {
        result.transposed = true;
        result.ld = A.rows > 1 ? A.row_stride : std::max<Index>(1, A.cols);
    } else if (fits(A.rows, A.row_stride, A.cols, A.col_stride)) {
        result.ld = A.cols > 1 ? A.col_stride : std::max<Index>(1, A.rows);
    } else {
        mpo::detail::raise<ArgumentError>(
            {"CudaBackend::", operation,
             ": one stride must be 1, the other at least the extent, of ", A.rows, " x ", A.cols,
             " got ", A.row_stride, ", ", A.col_stride});
    }
    return result;
}

/// The same for a result, which cannot be a conjugated view.
template <class T>
[[nodiscard]] Stored stored_result(const MatrixView<T>& A, const char* operation) {
    const auto result = stored(A, operation);
    if (result.conjugated)
        mpo::detail::raise<ArgumentError>(
            {"CudaBackend::", operation, ": the result cannot be a conjugated view"});
    return result;
}

/// Columns without gaps at `data`.
[[nodiscard]] inline Stored columns(Kind kind, void* data, Index rows, Index cols) {
    return {kind, data, rows, cols, std::max<Index>(1, rows)};
}

inline void scale(Device& device, Kind kind, Index n, std::complex<double> alpha, void* x,
                  Index step = 1) {
    if (n == 0) return;
    const Number factor(kind, alpha);
    check(with_names(kind,
                     [&](auto names) {
                         using T = typename decltype(names)::T;
                         return names.scal(device.blas.get(), n, factor.as<T>(), static_cast<T*>(x),
                                           step);
                     }),
          "cublas<t>scal", {n, step});
}

/// x = conj(x), n contiguous numbers: every second real number changes its sign.
inline void conjugate(Device& device, Kind kind, Index n, void* x) {
    if (!is_complex_kind(kind)) return;
    const Kind real = real_kind(kind);
    scale(device, real, n, -1.0, element(real, x, 1), 2);
}

/// to = from, whatever the order of either. `to` must be without gaps where the copy has to conjugate
/// without transposing. One launch, then two.
inline void copy_matrix(Device& device, Stored from, Stored to) {
    if (from.rows == 0 || from.cols == 0) return;
    if (to.transposed) {  // the same for the transposes
        from = transposed(from);
        to = transposed(to);
    }
    const bool along = !from.transposed;
    const auto op = along ? CUBLAS_OP_N : from.conjugated ? CUBLAS_OP_C : CUBLAS_OP_T;
    const Number one(to.kind, 1.0), zero(to.kind, 0.0);
    check(with_names(to.kind,
                     [&](auto names) {
                         using T = typename decltype(names)::T;
                         auto* const result = static_cast<T*>(to.data);
                         return names.geam(device.blas.get(), op, CUBLAS_OP_N, to.rows, to.cols,
                                           one.as<T>(), static_cast<const T*>(from.data), from.ld,
                                           zero.as<T>(), result, to.ld, result, to.ld);
                     }),
          "cublas<t>geam", {to.rows, to.cols, from.ld, to.ld});
    if (along && from.conjugated) conjugate(device, to.kind, to.rows * to.cols, to.data);
}

/// A copy in columns without gaps, for what overwrites its input.
struct ColumnCopy {
    Block memory;
    Stored matrix;
};
[[nodiscard]] inline ColumnCopy copied_columns(Device& device, const Stored& A) {
    ColumnCopy copy{device.block(A.kind, A.rows * A.cols), {}};
    copy.matrix = columns(A.kind, copy.memory.data(), A.rows, A.cols);
    copy_matrix(device, A, copy.matrix);
    return copy;
}
/// Room for a result in columns without gaps.
[[nodiscard]] inline ColumnCopy new_columns(Device& device, Kind kind, Index rows, Index cols) {
    ColumnCopy made{device.block(kind, rows * cols), {}};
    made.matrix = columns(kind, made.memory.data(), rows, cols);
    return made;
}

/// Zeros; `A` without gaps or in columns of any distance.
inline void fill_zero(Device& device, const Stored& A) {
    if (A.rows == 0 || A.cols == 0) return;
    const auto size = static_cast<std::size_t>(size_of(A.kind));
    check(cudaMemset2DAsync(A.data, static_cast<std::size_t>(A.ld) * size, 0,
                            static_cast<std::size_t>(A.stored_rows()) * size,
                            static_cast<std::size_t>(A.stored_cols()), device.stream.get()),
          "cudaMemset2DAsync", {A.stored_rows(), A.stored_cols(), A.ld});
}

/// One triangle of the leading (n, n) block of A, with zeros in the other half of `to` (n, n). Both in
/// columns. Three launches that copy bits.
inline void copy_triangle(Device& device, cublasFillMode_t triangle, const Stored& A,
                          const Stored& to) {
    const Index n = to.rows;
    if (n == 0) return;
    const Block packed = device.block(to.kind, n * (n + 1) / 2);
    fill_zero(device, to);
    const int size = to_int(n, "cublas<t>trttp"), from = to_int(A.ld, "cublas<t>trttp"),
              into = to_int(to.ld, "cublas<t>tpttr");
    with_names(to.kind, [&](auto names) {
        using T = typename decltype(names)::T;
        auto* const middle = static_cast<T*>(packed.data());
        check(names.pack(device.blas.get(), triangle, size, static_cast<const T*>(A.data), from,
                         middle),
              "cublas<t>trttp", {n, A.ld});
        check(
            names.unpack(device.blas.get(), triangle, size, middle, static_cast<T*>(to.data), into),
            "cublas<t>tpttr", {n, to.ld});
    });
}

}  // namespace mpo::cuda::detail

// Arguments of cuBLAS and cuSOLVER: matrices in columns, vectors, numbers; and the noise of results.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "machine.hpp"
#include "mpo/linalg/eigen_backend.hpp"

namespace fake_cuda {

using mpo::Index;
using mpo::MatrixView;
using mpo::Real;

/// The scalars of the fake for those of CUDA.
template <class T>
struct Ours {
    using type = T;
};
template <>
struct Ours<cuComplex> {
    using type = std::complex<float>;
};
template <>
struct Ours<cuDoubleComplex> {
    using type = std::complex<double>;
};
template <class T>
using OursOf = typename Ours<std::remove_const_t<T>>::type;

/// A matrix (or `count` of them) in columns on the device, as the host finds it; null after a fault.
template <class T>
[[nodiscard]] T* matrix_at(Machine& machine, const void* p, Index rows, Index cols, Index ld,
                           const char* what, Index count = 1, Index stride = 0) {
    const std::string name(what);
    const bool fits =
        machine.require(rows >= 0 && cols >= 0 && count >= 1, name + ": a negative size") &&
        machine.require(
            ld >= std::max<Index>(1, rows),
            name + ": ld " + std::to_string(ld) + " below " + std::to_string(rows) + " rows") &&
        machine.require(stride >= 0, name + ": a negative stride") &&
        machine.require(reinterpret_cast<std::uintptr_t>(p) % sizeof(T) == 0,
                        name + " is not aligned");
    static T nothing{};
    if (!fits) return nullptr;
    if (rows == 0 || cols == 0) return &nothing;
    const Index elements = (count - 1) * stride + (cols - 1) * ld + rows;
    return reinterpret_cast<T*>(
        machine.host_of(p, static_cast<std::size_t>(elements) * sizeof(T), what));
}

template <class T>
[[nodiscard]] T* vector_at(Machine& machine, const void* p, Index n, Index step, const char* what) {
    if (!machine.require(n >= 1 && step >= 1,
                         std::string(what) + ": n and the increment must be positive"))
        return nullptr;
    return matrix_at<T>(machine, p, 1, n, step, what);
}

/// A factor or a result: on the host or on the device, as the handle says.
template <class T>
[[nodiscard]] T* number_at(Machine& machine, const LibraryState& handle, const void* p,
                           const char* what) {
    const bool there = machine.is_device(p);
    if (!machine.require(p != nullptr && there == (handle.pointers == Pointers::device),
                         std::string(what) + " is on the wrong side for the pointer mode"))
        return nullptr;
    if (there) return matrix_at<T>(machine, p, 1, 1, 1, what);
    return static_cast<T*>(const_cast<void*>(p));
}

template <class T>
[[nodiscard]] MatrixView<T> in_columns(T* data, Index rows, Index cols, Index ld) {
    return {data, rows, cols, 1, ld, mpo::Conjugation::none};
}

/// True where two matrices in columns share an element; `a`, `b` are their first elements on the host.
template <class T>
[[nodiscard]] bool share_elements(const MatrixView<T>& a, const MatrixView<T>& b) {
    const auto end = [](const MatrixView<T>& M) {
        return M.data + (M.cols - 1) * M.col_stride + M.rows;
    };
    if (a.rows * a.cols == 0 || b.rows * b.cols == 0 || end(a) <= b.data || end(b) <= a.data)
        return false;
    for (Index i = 0, j = 0; i < a.cols && j < b.cols;) {
        const T *first = a.data + i * a.col_stride, *second = b.data + j * b.col_stride;
        if (first < second + b.rows && second < first + a.rows) return true;
        first < second ? ++i : ++j;
    }
    return false;
}

/// Off by at most one unit in the last place, the same way every time.
template <class T>
void disturb(MatrixView<T> M) {
    const Real<T> eps = std::numeric_limits<Real<T>>::epsilon();
    const Real<T> factors[] = {1 - eps / 2, 1, 1 + eps};
    for (Index j = 0; j < M.cols; ++j)
        for (Index i = 0; i < M.rows; ++i)
            M.data[i * M.row_stride + j * M.col_stride] *=
                factors[mixed(static_cast<std::uint64_t>(i * 1009 + j)) % 3];
}

template <class T>
[[nodiscard]] T nan_of() {
    return T(std::numeric_limits<Real<T>>::quiet_NaN());
}

template <class T>
void destroy(MatrixView<T> M) {
    for (Index j = 0; j < M.cols; ++j)
        for (Index i = 0; i < M.rows; ++i)
            M.data[i * M.row_stride + j * M.col_stride] = nan_of<T>();
}

/// A number of modulus 1 that depends on `seed`.
template <class T>
[[nodiscard]] T phase(std::uint64_t seed) {
    if constexpr (mpo::is_complex<T>)
        return std::polar<Real<T>>(1, static_cast<Real<T>>(mixed(seed) % 6283) / 1000);
    else
        return mixed(seed) % 2 == 0 ? T{1} : T{-1};
}

template <class T>
[[nodiscard]] T conjugate_of(T x) {
    if constexpr (mpo::is_complex<T>)
        return std::conj(x);
    else
        return x;
}

}  // namespace fake_cuda

// Products of strided matrices as calls of cuBLAS, and what belongs to them.
#pragma once

#include "mpo/cuda/matrix.hpp"

namespace mpo::cuda::detail {

/// Matrices of one batch: `stride` elements from one to the next, 0 repeats the same one.
struct StoredBatch {
    Stored first;
    Index stride = 0;
    Block memory = {};  // owns a copy, where one had to be made
};

/// Batches beyond this fail for some shapes on some devices; they are cut.
inline constexpr Index most_items = 65535;

[[nodiscard]] inline cublasComputeType_t compute_type(const Device& device, Kind kind) {
    if (real_kind(kind) == Kind::f64) return CUBLAS_COMPUTE_64F;
    return device.options.precision == Precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                       : CUBLAS_COMPUTE_32F;
}

/// C = beta C, for products of nothing. Throws nothing on its own account: beta = 0 overwrites NaN.
inline void scale_matrix(Device& device, std::complex<double> beta, const Stored& C) {
    if (beta == 0.0) return fill_zero(device, C);
    if (beta == 1.0) return;
    const Index length = C.stored_rows(), count = C.stored_cols();
    if (C.ld == length) return scale(device, C.kind, length * count, beta, C.data);
    for (Index j = 0; j < count; ++j)
        scale(device, C.kind, length, beta, element(C.kind, C.data, j * C.ld));
}

/// A batch as cuBLAS can read it in this order: conjugates it reads only of transposes, other ones are
/// copied. One launch a matrix and one for all.
[[nodiscard]] inline StoredBatch readable(Device& device, const Stored& A, Index stride,
                                          Index count) {
    StoredBatch batch{A, stride, {}};
    if (!A.conjugated || A.transposed) return batch;
    const Index items = stride == 0 ? 1 : count, size = A.rows * A.cols;
    batch.memory = device.block(A.kind, size * items);
    for (Index i = 0; i < items; ++i) {
        auto from = A;
        from.data = element(A.kind, A.data, i * stride);
        from.conjugated = false;
        copy_matrix(
            device, from,
            columns(A.kind, element(A.kind, batch.memory.data(), i * size), A.rows, A.cols));
    }
    conjugate(device, A.kind, size * items, batch.memory.data());
    batch.first = columns(A.kind, batch.memory.data(), A.rows, A.cols);
    batch.stride = stride == 0 ? 0 : size;
    return batch;
}

[[nodiscard]] inline cublasOperation_t operation_of(const Stored& A) {
    if (!A.transposed) return CUBLAS_OP_N;
    return A.conjugated ? CUBLAS_OP_C : CUBLAS_OP_T;
}

/// C_i = alpha A_i B_i + beta C_i for i < count. A row-major C is computed as its transpose,
/// C^T = B^T A^T. One launch for 65535 items, where nothing has to be conjugated first.
inline void multiply(Device& device, std::complex<double> alpha, Stored A, Index stride_a, Stored B,
                     Index stride_b, std::complex<double> beta, Stored C, Index stride_c,
                     Index count) {
    if (count == 0 || C.rows == 0 || C.cols == 0) return;
    if (A.cols == 0) {
        for (Index i = 0; i < count; ++i) {
            auto item = C;
            item.data = element(C.kind, C.data, i * stride_c);
            scale_matrix(device, beta, item);
        }
        return;
    }
    if (C.transposed) {
        std::swap(A, B);
        std::swap(stride_a, stride_b);
        A = transposed(A);
        B = transposed(B);
        C = transposed(C);
    }
    const auto left = readable(device, A, stride_a, count),
               right = readable(device, B, stride_b, count);
    const auto type = data_type(C.kind);
    const Number a(C.kind, alpha), b(C.kind, beta);
    for (Index first = 0; first < count; first += most_items) {
        const auto at = [&](const Stored& M, Index stride) {
            return element(C.kind, M.data, first * stride);
        };
        const Index items = (std::min)(most_items, count - first);
        const auto op_a = operation_of(left.first), op_b = operation_of(right.first);
        const auto status =
            items == 1 ? cublasGemmEx_64(device.blas.get(), op_a, op_b, C.rows, C.cols, A.cols,
                                         a.data(), at(left.first, left.stride), type, left.first.ld,
                                         at(right.first, right.stride), type, right.first.ld,
                                         b.data(), at(C, stride_c), type, C.ld,
                                         compute_type(device, C.kind), CUBLAS_GEMM_DEFAULT)
                       : cublasGemmStridedBatchedEx_64(
                             device.blas.get(), op_a, op_b, C.rows, C.cols, A.cols, a.data(),
                             at(left.first, left.stride), type, left.first.ld, left.stride,
                             at(right.first, right.stride), type, right.first.ld, right.stride,
                             b.data(), at(C, stride_c), type, C.ld, stride_c, items,
                             compute_type(device, C.kind), CUBLAS_GEMM_DEFAULT);
        check(status, items == 1 ? "cublasGemmEx" : "cublasGemmStridedBatchedEx",
              {C.rows, C.cols, A.cols, left.first.ld, right.first.ld, C.ld, items});
    }
}

/// G = A A^H, exactly Hermitian: one triangle by herk (syrk), then L + L^H with half the diagonal.
/// The storage of A as columns S gives S S^H or S^H S = conj(A) A^T; which of G and conj(G) that is, and
/// which the order of `G` needs, decides whether the triangle is conjugated.
inline void gram(Device& device, const Stored& A, const Stored& G) {
    const Index n = A.rows, k = A.cols;
    if (n == 0) return;
    if (k == 0) return fill_zero(device, G);
    const Kind kind = A.kind;
    const auto half = new_columns(device, kind, n, n);
    fill_zero(device, half.matrix);
    const bool gives_conjugate = A.transposed != A.conjugated, needs_conjugate = G.transposed;
    const auto op = !A.transposed ? CUBLAS_OP_N : is_complex_kind(kind) ? CUBLAS_OP_C : CUBLAS_OP_T;
    const Number one(kind, 1.0), zero(kind, 0.0), real_one(real_kind(kind), 1.0),
        real_zero(real_kind(kind), 0.0);
    with_names(kind, [&](auto names) {
        using T = typename decltype(names)::T;
        using R = typename decltype(names)::R;
        auto* const L = static_cast<T*>(half.matrix.data);
        check(names.herk(device.blas.get(), CUBLAS_FILL_MODE_LOWER, op, n, k, real_one.as<R>(),
                         static_cast<const T*>(A.data), A.ld, real_zero.as<R>(), L, n),
              "cublas<t>herk", {n, k, A.ld});
        scale(device, kind, n, 0.5, L, n + 1);
        if (gives_conjugate != needs_conjugate) conjugate(device, kind, n * n, L);
        check(names.geam(device.blas.get(), CUBLAS_OP_N,
                         is_complex_kind(kind) ? CUBLAS_OP_C : CUBLAS_OP_T, n, n, one.as<T>(), L, n,
                         one.as<T>(), L, n, static_cast<T*>(G.data), G.ld),
              "cublas<t>geam", {n, n, n, G.ld});
    });
}

inline void add(Device& device, Kind kind, Index n, std::complex<double> alpha, const void* x,
                void* y) {
    if (n == 0) return;
    const Number factor(kind, alpha);
    check(with_names(kind,
                     [&](auto names) {
                         using T = typename decltype(names)::T;
                         return names.axpy(device.blas.get(), n, factor.as<T>(),
                                           static_cast<const T*>(x), 1, static_cast<T*>(y), 1);
                     }),
          "cublas<t>axpy", {n});
}

/// Results of cuBLAS stay on the device for as long as this lives.
class ResultsOnDevice {
  public:
    explicit ResultsOnDevice(const Device& device) : blas_(device.blas.get()) {
        check(cublasSetPointerMode(blas_, CUBLAS_POINTER_MODE_DEVICE), "cublasSetPointerMode");
    }
    ~ResultsOnDevice() { (void)cublasSetPointerMode(blas_, CUBLAS_POINTER_MODE_HOST); }
    ResultsOnDevice(const ResultsOnDevice&) = delete;
    ResultsOnDevice& operator=(const ResultsOnDevice&) = delete;

  private:
    cublasHandle_t blas_;
};

/// *result = sum conj(x_i) y_i, on the device.
inline void inner(Device& device, Kind kind, Index n, const void* x, const void* y, void* result) {
    if (n == 0) return fill_zero(device, columns(kind, result, 1, 1));
    const ResultsOnDevice there(device);
    check(with_names(kind,
                     [&](auto names) {
                         using T = typename decltype(names)::T;
                         return names.dot(device.blas.get(), n, static_cast<const T*>(x), 1,
                                          static_cast<const T*>(y), 1, static_cast<T*>(result));
                     }),
          "cublas<t>dot", {n});
}

}  // namespace mpo::cuda::detail

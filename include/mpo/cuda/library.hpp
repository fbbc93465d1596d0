// The typed half of cuBLAS and cuSOLVER behind one name per operation: four scalars, chosen at run time,
// so that an operation of ours is compiled once and not four times.
#pragma once

#include <complex>

#include "mpo/cuda/status.hpp"

namespace mpo::cuda::detail {

/// The four scalar types as the libraries count them.
enum class Kind { f32, f64, c64, c128 };

template <Scalar T>
inline constexpr Kind kind_of = is_complex<T> ? (sizeof(T) == 8 ? Kind::c64 : Kind::c128)
                                              : (sizeof(T) == 4 ? Kind::f32 : Kind::f64);

[[nodiscard]] inline Index size_of(Kind kind) {
    return kind == Kind::f32 ? 4 : kind == Kind::c128 ? 16 : 8;
}
[[nodiscard]] inline bool is_complex_kind(Kind kind) {
    return kind == Kind::c64 || kind == Kind::c128;
}
/// The kind of its real and imaginary parts.
[[nodiscard]] inline Kind real_kind(Kind kind) {
    return kind == Kind::f32 || kind == Kind::c64 ? Kind::f32 : Kind::f64;
}
[[nodiscard]] inline cudaDataType data_type(Kind kind) {
    constexpr cudaDataType types[] = {CUDA_R_32F, CUDA_R_64F, CUDA_C_32F, CUDA_C_64F};
    return types[static_cast<int>(kind)];
}

/// A factor as the libraries read it from the host: a number of one of the four types.
class Number {
  public:
    Number(Kind kind, std::complex<double> value) {
        if (real_kind(kind) == Kind::f32)
            single_ = std::complex<float>(value);
        else
            double_ = value;
        data_ = real_kind(kind) == Kind::f32 ? static_cast<const void*>(&single_)
                                             : static_cast<const void*>(&double_);
    }
    Number(const Number&) = delete;
    Number& operator=(const Number&) = delete;
    [[nodiscard]] const void* data() const { return data_; }
    template <class T>
    [[nodiscard]] const T* as() const {
        return static_cast<const T*>(data_);
    }

  private:
    std::complex<float> single_;  // its real part alone is a float
    std::complex<double> double_;
    const void* data_;
};

/// What a library calls an operation for one scalar type.
template <Kind>
struct Names;
template <>
struct Names<Kind::f32> {
    using T = float;
    using R = float;
    static constexpr auto geam = cublasSgeam_64;
    static constexpr auto scal = cublasSscal_64;
    static constexpr auto axpy = cublasSaxpy_64;
    static constexpr auto dot = cublasSdot_64;
    static constexpr auto asum = cublasSasum_64;
    static constexpr auto amin = cublasIsamin_64;
    static constexpr auto copy = cublasScopy_64;
    static constexpr auto herk = cublasSsyrk_64;
    static constexpr auto trsm = cublasStrsm_64;
    static constexpr auto pack = cublasStrttp;
    static constexpr auto unpack = cublasStpttr;
    static constexpr auto form_q = cusolverDnSorgqr;
    static constexpr auto form_q_size = cusolverDnSorgqr_bufferSize;
    static constexpr auto jacobi = cusolverDnSgesvdj;
    static constexpr auto jacobi_size = cusolverDnSgesvdj_bufferSize;
};
template <>
struct Names<Kind::f64> {
    using T = double;
    using R = double;
    static constexpr auto geam = cublasDgeam_64;
    static constexpr auto scal = cublasDscal_64;
    static constexpr auto axpy = cublasDaxpy_64;
    static constexpr auto dot = cublasDdot_64;
    static constexpr auto asum = cublasDasum_64;
    static constexpr auto amin = cublasIdamin_64;
    static constexpr auto copy = cublasDcopy_64;
    static constexpr auto herk = cublasDsyrk_64;
    static constexpr auto trsm = cublasDtrsm_64;
    static constexpr auto pack = cublasDtrttp;
    static constexpr auto unpack = cublasDtpttr;
    static constexpr auto form_q = cusolverDnDorgqr;
    static constexpr auto form_q_size = cusolverDnDorgqr_bufferSize;
    static constexpr auto jacobi = cusolverDnDgesvdj;
    static constexpr auto jacobi_size = cusolverDnDgesvdj_bufferSize;
};
template <>
struct Names<Kind::c64> {
    using T = cuComplex;
    using R = float;
    static constexpr auto geam = cublasCgeam_64;
    static constexpr auto scal = cublasCscal_64;
    static constexpr auto axpy = cublasCaxpy_64;
    static constexpr auto dot = cublasCdotc_64;
    static constexpr auto asum = cublasScasum_64;
    static constexpr auto amin = cublasIcamin_64;
    static constexpr auto copy = cublasCcopy_64;
    static constexpr auto herk = cublasCherk_64;
    static constexpr auto trsm = cublasCtrsm_64;
    static constexpr auto pack = cublasCtrttp;
    static constexpr auto unpack = cublasCtpttr;
    static constexpr auto form_q = cusolverDnCungqr;
    static constexpr auto form_q_size = cusolverDnCungqr_bufferSize;
    static constexpr auto jacobi = cusolverDnCgesvdj;
    static constexpr auto jacobi_size = cusolverDnCgesvdj_bufferSize;
};
template <>
struct Names<Kind::c128> {
    using T = cuDoubleComplex;
    using R = double;
    static constexpr auto geam = cublasZgeam_64;
    static constexpr auto scal = cublasZscal_64;
    static constexpr auto axpy = cublasZaxpy_64;
    static constexpr auto dot = cublasZdotc_64;
    static constexpr auto asum = cublasDzasum_64;
    static constexpr auto amin = cublasIzamin_64;
    static constexpr auto copy = cublasZcopy_64;
    static constexpr auto herk = cublasZherk_64;
    static constexpr auto trsm = cublasZtrsm_64;
    static constexpr auto pack = cublasZtrttp;
    static constexpr auto unpack = cublasZtpttr;
    static constexpr auto form_q = cusolverDnZungqr;
    static constexpr auto form_q_size = cusolverDnZungqr_bufferSize;
    static constexpr auto jacobi = cusolverDnZgesvdj;
    static constexpr auto jacobi_size = cusolverDnZgesvdj_bufferSize;
};

/// call(Names<kind>{}).
template <class F>
auto with_names(Kind kind, const F& call) {
    switch (kind) {
        case Kind::f32:
            return call(Names<Kind::f32>{});
        case Kind::f64:
            return call(Names<Kind::f64>{});
        case Kind::c64:
            return call(Names<Kind::c64>{});
        default:
            return call(Names<Kind::c128>{});
    }
}

/// The `n`-th element from `data` on.
[[nodiscard]] inline void* element(Kind kind, const void* data, Index n) {
    return const_cast<char*>(static_cast<const char*>(data)) +
           n * size_of(kind);  // NOLINT: untyped
}

}  // namespace mpo::cuda::detail

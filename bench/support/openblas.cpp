#include "support/openblas.hpp"

#include <algorithm>
#include <chrono>
#include <complex>
#include <thread>

#include "support/probe.hpp"

#ifdef MPO_BENCH_OPENBLAS
#include <cblas.h>
#include <lapacke.h>
#endif

namespace mpo::bench::openblas {

void settle() {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    FmaProbe<float>(Index{1} << 16).run();
}

#ifdef MPO_BENCH_OPENBLAS

namespace {

/// Whether these kernels use the vectors that this processor has.
[[nodiscard]] bool fits_processor(const std::string& core) {
    const auto among = [&](std::initializer_list<const char*> names) {
        return std::find(names.begin(), names.end(), core) != names.end();
    };
    const bool with_avx512 = among({"SkylakeX", "Cooperlake", "SapphireRapids", "Sapphirerapids"});
    switch (detail::best_isa()) {
        case detail::Isa::avx512:
            return with_avx512;
        case detail::Isa::avx2:
            return with_avx512 || among({"Haswell", "Zen"});
        default:
            return true;
    }
}

/// Leading dimension and transposition of a row-major operand, or of the transpose of one.
template <class T>
struct Operand {
    CBLAS_TRANSPOSE transposition;
    blasint leading;
    explicit Operand(const MatrixView<T>& A)
        : transposition(A.col_stride == 1 ? CblasNoTrans : CblasTrans),
          leading(static_cast<blasint>(A.col_stride == 1 ? A.row_stride : A.col_stride)) {}
};

}  // namespace

const std::string& refusal() {
    static const std::string text =
        fits_processor(core_name())
            ? ""
            : detail::concat("OpenBLAS runs its ", core_name(), " kernels on a processor with ",
                             simd_name(), "; set OPENBLAS_CORETYPE");
    return text;
}

std::string core_name() {
    return openblas_get_corename();
}

void set_threads(int threads) {
    openblas_set_num_threads(threads);
}

template <Scalar T>
void gemm(MatrixView<const T> A, MatrixView<const T> B, MatrixView<T> C) {
    const Operand a(A), b(B);
    const auto m = static_cast<blasint>(C.rows), n = static_cast<blasint>(C.cols),
               k = static_cast<blasint>(A.cols), ldc = static_cast<blasint>(C.row_stride);
    const T one{1}, zero{0};
    if constexpr (std::is_same_v<T, float>)
        cblas_sgemm(CblasRowMajor, a.transposition, b.transposition, m, n, k, one, A.data,
                    a.leading, B.data, b.leading, zero, C.data, ldc);
    else if constexpr (std::is_same_v<T, double>)
        cblas_dgemm(CblasRowMajor, a.transposition, b.transposition, m, n, k, one, A.data,
                    a.leading, B.data, b.leading, zero, C.data, ldc);
    else if constexpr (std::is_same_v<T, std::complex<float>>)
        cblas_cgemm(CblasRowMajor, a.transposition, b.transposition, m, n, k, &one, A.data,
                    a.leading, B.data, b.leading, &zero, C.data, ldc);
    else
        cblas_zgemm(CblasRowMajor, a.transposition, b.transposition, m, n, k, &one, A.data,
                    a.leading, B.data, b.leading, &zero, C.data, ldc);
}

void sgesdd(Index m, Index n, float* A, float* U, float* sigma, float* Vt) {
    const auto rows = static_cast<lapack_int>(m), cols = static_cast<lapack_int>(n),
               r = std::min(rows, cols);
    const lapack_int info =
        LAPACKE_sgesdd(LAPACK_COL_MAJOR, 'S', rows, cols, A, rows, sigma, U, rows, Vt, r);
    if (info != 0)
        throw NumericalError(
            mpo::detail::concat("LAPACKE_sgesdd: info ", info, " for ", m, " x ", n));
}

#else

const std::string& refusal() {
    static const std::string text = "built without OpenBLAS and LAPACKE";
    return text;
}

std::string core_name() {
    return "none";
}

void set_threads(int) {}

template <Scalar T>
void gemm(MatrixView<const T>, MatrixView<const T>, MatrixView<T>) {
    throw BackendError(refusal());
}

void sgesdd(Index, Index, float*, float*, float*, float*) {
    throw BackendError(refusal());
}

#endif

template void gemm(MatrixView<const float>, MatrixView<const float>, MatrixView<float>);
template void gemm(MatrixView<const double>, MatrixView<const double>, MatrixView<double>);
template void gemm(MatrixView<const std::complex<float>>, MatrixView<const std::complex<float>>,
                   MatrixView<std::complex<float>>);
template void gemm(MatrixView<const std::complex<double>>, MatrixView<const std::complex<double>>,
                   MatrixView<std::complex<double>>);

}  // namespace mpo::bench::openblas

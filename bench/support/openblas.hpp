// The peer: OpenBLAS through CBLAS and LAPACKE, where the build found both. Only this header's
// source includes theirs.
#pragma once

#include <string>

#include "mpo/core/tensor.hpp"

namespace mpo::bench::openblas {

/// Empty where a comparison is fair; else why not: not built in, or kernels older than the machine
/// (OpenBLAS does not know processors newer than itself and falls back to SSE3 or AVX2 ones; the
/// environment variable OPENBLAS_CORETYPE, read when it is loaded, names the right ones).
[[nodiscard]] const std::string& refusal();

/// Kernels in use, as OpenBLAS calls them.
[[nodiscard]] std::string core_name();

void set_threads(int threads);

/// Waits until the threads of OpenBLAS sleep: they spin for some 2^26 cycles after a call, on the
/// core that the other side is about to use. Then wakes our own.
void settle();

/// C = A B, each operand row-major or the transpose of a row-major matrix, C row-major.
template <Scalar T>
void gemm(MatrixView<const T> A, MatrixView<const T> B, MatrixView<T> C);

/// A (m, n), column-major, destroyed -> thin U (m, r), sigma (r), Vt (r, n), column-major,
/// r = min(m, n). Throws NumericalError where LAPACK reports a failure.
void sgesdd(Index m, Index n, float* A, float* U, float* sigma, float* Vt);

}  // namespace mpo::bench::openblas

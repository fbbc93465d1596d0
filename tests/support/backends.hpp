// What the tests of backend code run on: every backend with every scalar. A new backend joins here. The tests
// of mpo::cuda (tests/cuda) are the same sources again, with MPO_TEST_CUDA: there these are its cases.
#pragma once

#include <complex>
#include <tuple>

#ifdef MPO_TEST_CUDA
#include "mpo/cuda.hpp"
#endif
#include "mpo/linalg/eigen_backend.hpp"

namespace mpo::test {

template <class B, Scalar S>
struct On {
    using Backend = B;
    using T = S;
};

template <class B>
using WithEveryScalar = std::tuple<On<B, float>, On<B, double>, On<B, std::complex<float>>,
                                   On<B, std::complex<double>>>;
/// Both precisions, real and complex, at half the compile time.
template <class B>
using WithTwoScalars = std::tuple<On<B, float>, On<B, std::complex<double>>>;

/// For TEMPLATE_LIST_TEST_CASE; TestType::T is the scalar, TestType::Backend the backend.
#if !defined(MPO_TEST_CUDA) && defined(MPO_TEST_TWO_SCALARS)
using BackendCases = WithTwoScalars<EigenBackend>;
#elif !defined(MPO_TEST_CUDA)
using BackendCases = WithEveryScalar<EigenBackend>;
#elif defined(MPO_TEST_CUDA_EVERY_SCALAR)
using BackendCases = WithEveryScalar<CudaBackend>;
#else
using BackendCases = WithTwoScalars<CudaBackend>;
#endif

}  // namespace mpo::test

// What the tests of backend code run on: every backend with every scalar. A new backend joins here.
#pragma once

#include <complex>
#include <tuple>

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

/// For TEMPLATE_LIST_TEST_CASE; TestType::T is the scalar, TestType::Backend the backend.
using BackendCases = WithEveryScalar<EigenBackend>;

}  // namespace mpo::test

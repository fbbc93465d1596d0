// The four scalar types, for TEMPLATE_LIST_TEST_CASE; with MPO_TEST_TWO_SCALARS both precisions, real and complex.
#pragma once

#include <complex>
#include <tuple>

namespace mpo::test {

#ifdef MPO_TEST_TWO_SCALARS
using EveryScalar = std::tuple<float, std::complex<double>>;
#else
using EveryScalar = std::tuple<float, double, std::complex<float>, std::complex<double>>;
#endif

}  // namespace mpo::test

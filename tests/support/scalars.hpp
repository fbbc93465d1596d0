// The four scalar types, for TEMPLATE_LIST_TEST_CASE.
#pragma once

#include <complex>
#include <tuple>

namespace mpo::test {

using EveryScalar = std::tuple<float, double, std::complex<float>, std::complex<double>>;

}  // namespace mpo::test

// How far two results may lie apart. No test writes a tolerance of its own.
#pragma once

#include <cmath>
#include <limits>

#include "mpo/core/tensor.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo::test {

/// c eps(T) sqrt(k) norms: rounding of about k operations per entry, errors of random sign, on data
/// whose norms multiply up to `norms`. c covers the constants of the algorithm under test; 8 is one
/// sweep of Householder steps or a few products.
template <class T>
[[nodiscard]] double tolerance(Index k, double norms, double c = 8) {
    const double eps = std::numeric_limits<Real<T>>::epsilon();
    return c * eps * std::sqrt(static_cast<double>(k)) * norms;
}

/// What a sweep over this chain may round off: operations per entry times norm(W).
template <class T>
[[nodiscard]] double sweep_rounding(const Mpo<T>& mpo, double norms) {
    return tolerance<T>(mpo.num_parameters(), norms);
}

}  // namespace mpo::test

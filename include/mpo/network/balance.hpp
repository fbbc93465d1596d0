// Balancing a chain: every bond carries a scalar that may lie on either side of it. Methods that look at
// one core at a time, as Adam does, depend on where it lies; with equal norms it lies nowhere special.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/network/canonical.hpp"

namespace mpo {

/// Multiplies each core of a chain by a positive number, so that all have the same Frobenius norm, the
/// geometric mean of what they were, and returns these numbers; their product is 1.
///
/// W'       = W to N eps(T) of its entries
/// cores    of any shapes. Where one of them is 0 or all norms are equal to a few eps(T), nothing is
///          touched, and all numbers are 1
/// cost     two passes over the cores
/// throws   NumericalError where a norm or a number to multiply with is none that T holds; then nothing
///          has changed
template <Scalar T>
std::vector<double> balance_bonds(std::vector<Tensor<T>>& cores) {
    std::vector<double> factors(cores.size(), 1.0);
    double sum = 0;  // of logarithms: products of norms overflow
    for (std::size_t k = 0; k < cores.size(); ++k) {
        const double norm = detail::frobenius_norm(cores[k]);
        if (!std::isfinite(norm))
            detail::raise<NumericalError>(
                {"balance_bonds: core ", k, " of ", cores.size(), " has norm ", norm});
        if (norm == 0) return std::vector<double>(cores.size(), 1.0);
        factors[k] = norm;
        sum += std::log(norm);
    }
    const double mean = std::exp(sum / static_cast<double>(cores.size()));
    bool equal = true;
    for (double& factor : factors) {
        const double norm = factor;
        factor = static_cast<double>(static_cast<Real<T>>(mean / norm));  // what T can hold
        if (!std::isnormal(factor))
            detail::raise<NumericalError>({"balance_bonds: a core of norm ", norm,
                                           " cannot be brought to ", mean, ": a factor of ",
                                           mean / norm});
        equal = equal && std::abs(factor - 1) <= 4 * std::numeric_limits<Real<T>>::epsilon();
    }
    if (equal) return std::vector<double>(cores.size(), 1.0);
    for (std::size_t k = 0; k < cores.size(); ++k)
        for (Index n = 0; n < cores[k].size(); ++n)
            cores[k].data()[n] *= static_cast<Real<T>>(factors[k]);
    return factors;
}

}  // namespace mpo

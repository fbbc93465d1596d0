// A mean and how sure it is, without an assumption about the distribution: the sample is drawn again and
// again from itself, with replacement, and the middle of the means so found is the interval.
#pragma once

#include <cstdint>
#include <span>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// A mean, its standard error sd / sqrt(n), and a bootstrap interval around it.
struct MeanInterval {
    double mean = 0;            // of the sample
    double standard_error = 0;  // with n - 1; 0 for a sample of one
    double low = 0;             // of the interval
    double high = 0;            // of the interval
};

/// How often and how wide.
struct BootstrapOptions {
    Index resamples = 1000;    // means that are drawn
    double confidence = 0.95;  // share of them inside the interval, in (0, 1)
    std::uint64_t seed = 1;    // of the draws
};

namespace detail {

/// The q-quantile of sorted values, linear between neighbours, as numpy's default.
[[nodiscard]] double sorted_quantile(std::span<const double> sorted, double q);

}  // namespace detail

/// The interval of a sample's mean; resamples * n operations. Throws ArgumentError where the sample is
/// empty or an option outside its domain.
[[nodiscard]] MeanInterval bootstrap_mean(std::span<const double> sample,
                                          const BootstrapOptions& options = {});

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/bootstrap_inl.hpp"
#endif

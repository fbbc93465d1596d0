// A mean and how sure it is, without an assumption about the distribution: the sample is drawn again and
// again from itself, with replacement, and the middle of the means so found is the interval.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/random.hpp"
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
[[nodiscard]] inline double sorted_quantile(std::span<const double> sorted, double q) {
    const double position = q * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = (std::min)(below + 1, sorted.size() - 1);
    return std::lerp(sorted[below], sorted[above], position - std::floor(position));
}

}  // namespace detail

/// The interval of a sample's mean; resamples * n operations. Throws ArgumentError where the sample is
/// empty or an option outside its domain.
[[nodiscard]] inline MeanInterval bootstrap_mean(std::span<const double> sample,
                                                 const BootstrapOptions& options = {}) {
    if (sample.empty()) throw ArgumentError("bootstrap_mean: the sample is empty");
    if (options.resamples < 1 || !(options.confidence > 0 && options.confidence < 1))
        detail::raise<ArgumentError>({"bootstrap_mean: needs resamples >= 1 and confidence inside ",
                                      "(0, 1), got ", options.resamples, " and ",
                                      options.confidence});
    const auto n = static_cast<double>(sample.size());
    MeanInterval result;
    for (const double x : sample) result.mean += x / n;
    double squares = 0;
    for (const double x : sample) squares += (x - result.mean) * (x - result.mean);
    if (sample.size() > 1) result.standard_error = std::sqrt(squares / (n - 1) / n);
    Random random(options.seed);
    std::vector<double> means(static_cast<std::size_t>(options.resamples));
    for (double& mean : means) {
        double sum = 0;
        for (std::size_t k = 0; k < sample.size(); ++k)
            sum +=
                sample[static_cast<std::size_t>(random.below(static_cast<Index>(sample.size())))];
        mean = sum / n;
    }
    std::sort(means.begin(), means.end());
    const double tail = (1 - options.confidence) / 2;
    result.low = detail::sorted_quantile(means, tail);
    result.high = detail::sorted_quantile(means, 1 - tail);
    return result;
}

}  // namespace mpo

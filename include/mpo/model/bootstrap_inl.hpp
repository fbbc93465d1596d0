// The bodies of model/bootstrap.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/random.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/bootstrap.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE double sorted_quantile(std::span<const double> sorted, double q) {
    const double position = q * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = (std::min)(below + 1, sorted.size() - 1);
    return std::lerp(sorted[below], sorted[above], position - std::floor(position));
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE MeanInterval bootstrap_mean(std::span<const double> sample,
                                                    const BootstrapOptions& options) {
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

// The bodies of model/mcnemar.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/mcnemar.hpp"

namespace mpo {
namespace detail {

/// P(X <= k) for X binomial(n, 1/2), k <= n / 2. From the largest term down; O(k).
[[nodiscard]] inline double half_binomial_tail(Index k, Index n) {
    double log_term = -static_cast<double>(n) * std::log(2.0);
    for (Index j = 1; j <= k; ++j)
        log_term += std::log(static_cast<double>(n - j + 1) / static_cast<double>(j));
    double sum = 0, ratio = 1;  // terms relative to the k-th
    for (Index j = k; j >= 0 && ratio > 0; --j) {
        sum += ratio;
        ratio *= static_cast<double>(j) / static_cast<double>(n - j + 1);
    }
    return std::exp(log_term) * sum;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE McNemar mcnemar(Index only_first, Index only_second, Index num_items) {
    if (only_first < 0 || only_second < 0 || num_items < 1 || only_first > num_items ||
        only_second > num_items - only_first)
        detail::raise<ArgumentError>({"mcnemar: ", only_first, " and ", only_second,
                                      " items that differ do not fit into ", num_items});
    const auto b = static_cast<double>(only_first), c = static_cast<double>(only_second);
    const auto n = static_cast<double>(num_items);
    McNemar result{num_items, only_first, only_second, (b - c) / n};
    result.standard_error = std::sqrt((std::max)(0.0, b + c - (b - c) * (b - c) / n)) / n;
    if (only_first == only_second) return result;
    const Index fewer = (std::min)(only_first, only_second);
    const double tail = detail::half_binomial_tail(fewer, only_first + only_second);
    result.exact_p = (std::min)(1.0, 2 * tail);
    const double distance = std::abs(b - c) - 1;
    result.chi_square = distance * distance / (b + c);
    result.chi_square_p = std::erfc(std::sqrt(result.chi_square / 2));
    return result;
}

MPO_DETAIL_MODEL_INLINE McNemar mcnemar(const std::vector<bool>& first,
                                        const std::vector<bool>& second) {
    if (first.size() != second.size())
        detail::raise<ArgumentError>(
            {"mcnemar: ", first.size(), " and ", second.size(), " answers are not pairs"});
    Index only_first = 0, only_second = 0;
    for (std::size_t k = 0; k < first.size(); ++k) {
        only_first += first[k] && !second[k];
        only_second += second[k] && !first[k];
    }
    return mcnemar(only_first, only_second, static_cast<Index>(first.size()));
}

}  // namespace mpo

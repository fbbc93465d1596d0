// The bodies of model/sinks.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/sinks.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE StateNorms state_norms(MatrixView<const float> x, const float* update,
                                               double factor, const std::string& module) {
    StateNorms result;
    result.norms.resize(static_cast<std::size_t>(x.rows));
    parallel_for(0, x.rows, 16, [&](Index first, Index last) {
        for (Index t = first; t < last; ++t) {
            double sum = 0;
            for (Index i = t * x.cols; i < (t + 1) * x.cols; ++i) {
                const double value = update != nullptr ? x.data[i] + update[i] : x.data[i];
                sum += value * value;
            }
            result.norms[static_cast<std::size_t>(t)] = std::sqrt(sum);
        }
    });
    const auto& norms = result.norms;
    for (std::size_t t = 0; t < norms.size(); ++t)
        if (!std::isfinite(norms[t]))
            raise<NumericalError>(
                {"the state behind ", module, " has the norm ", norms[t], " at position ", t});
    if (norms.empty()) return result;
    auto sorted = norms;
    const auto middle = sorted.begin() + (static_cast<Index>(sorted.size()) - 1) / 2;
    std::nth_element(sorted.begin(), middle, sorted.end());
    result.median = *middle;
    for (std::size_t t = 0; t < norms.size(); ++t)
        if (result.median > 0 && norms[t] > factor * result.median)
            result.sinks.push_back(static_cast<Index>(t));
    return result;
}

}  // namespace mpo::detail

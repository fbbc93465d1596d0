// The bodies of model/compress_calibrated.hpp that are no templates.
#pragma once

#include <cmath>
#include <map>

#include "mpo/io/inline.hpp"
#include "mpo/model/compress_calibrated.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE double common_share(const std::vector<PlannedLinear>& linears,
                                            const CompressOptions& options) {
    if (options.budget) return *options.budget;
    double numbers = 0, pivots = 0;
    for (const auto& linear : linears) {
        const auto dense = static_cast<double>(num_elements(linear.tensor->shape));
        numbers += dense;
        pivots += 4 * std::sqrt(dense);  // bytes: a bond is no larger than the root of m n
    }
    const double bytes = static_cast<double>(*options.budget_bytes) - pivots;
    const double share =
        8 * bytes / (static_cast<double>(bits_per_element(options.dtype)) * numbers);
    if (!(share > 0))
        raise<ArgumentError>({"compress: ", *options.budget_bytes, " bytes for ", linears.size(),
                              " linears are not more than their pivots need"});
    return (std::min)(1.0, share);
}

}  // namespace mpo::detail

// The bodies of model/quantize_grid.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>

#include "mpo/core/dtype.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/quantize_grid.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE std::uint8_t Grid::nearest(double x, double last) const {
    if (!(scale > 0)) return 0;
    const double q = (x - static_cast<double>(minimum)) / static_cast<double>(scale) + 0.5;
    return static_cast<std::uint8_t>((std::min)(last, (std::max)(0.0, q)));
}

/// Not finite where half precision does not reach so far.
[[nodiscard]] inline float rounded_to_half(double x) {
    return half_to_float(float_to_half(narrow_for_half(x)));
}

MPO_DETAIL_MODEL_INLINE Grid span_grid(double low, double high, double last) {
    Grid grid;
    grid.minimum = rounded_to_half(low);
    grid.scale = rounded_to_half((std::max)(0.0, high - static_cast<double>(grid.minimum)) / last);
    return grid;
}

MPO_DETAIL_MODEL_INLINE double GroupNumbers::lost(const Grid& grid) const {
    double sum = 0;
    for (Index k = 0; k < count; ++k) {
        const double x = number(k),
                     rest = x - static_cast<double>(grid.value(grid.nearest(x, last)));
        sum += weights[k] * rest * rest;
    }
    return sum;
}

MPO_DETAIL_MODEL_INLINE Grid GroupNumbers::refitted(const Grid& grid) const {
    double w = 0, q1 = 0, q2 = 0, x1 = 0, qx = 0;  // sums of weights times 1, q, q^2, x, q x
    for (Index k = 0; k < count; ++k) {
        const double x = number(k), q = grid.nearest(x, last), weight = weights[k];
        w += weight;
        q1 += weight * q;
        q2 += weight * q * q;
        x1 += weight * x;
        qx += weight * q * x;
    }
    const double determinant = w * q2 - q1 * q1;
    if (!(determinant > 1e-9 * w * q2)) return {};
    const double scale = (w * qx - q1 * x1) / determinant;
    return {rounded_to_half(scale), rounded_to_half((x1 - scale * q1) / w)};
}

MPO_DETAIL_MODEL_INLINE Grid fitted_grid(const GroupNumbers& group, double low, double high) {
    constexpr double step = 0.06;  // of the span
    Grid best = span_grid(low, high, group.last);
    double least = group.lost(best);
    const auto try_grid = [&](const Grid& grid) {
        const double lost = group.lost(grid);  // NaN where half precision does not reach so far
        if (!(grid.scale > 0) || !(lost < least)) return false;
        least = lost;
        best = grid;
        return true;
    };
    const double span = high - low;
    for (int below = 0; below < 5; ++below)
        for (int above = 0; above < 5; ++above)
            if (below + above > 0)
                (void)try_grid(
                    span_grid(low + step * below * span, high - step * above * span, group.last));
    for (int refit = 0; refit < 2; ++refit)
        if (!try_grid(group.refitted(best))) break;
    return best;
}

}  // namespace mpo::detail

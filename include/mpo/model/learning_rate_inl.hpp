// The bodies of model/learning_rate.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/learning_rate.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE double LearningRate::at(Index step, Index total_steps) const {
    if (step < warm_up_steps)
        return peak * static_cast<double>(step + 1) / static_cast<double>(warm_up_steps);
    if (decay == LearningRateDecay::constant) return peak;
    const double floor = floor_ratio * peak;
    if (step >= total_steps) return floor;
    const double t = static_cast<double>(step - warm_up_steps) /
                     static_cast<double>(total_steps - warm_up_steps);
    const double left =
        decay == LearningRateDecay::linear ? 1 - t : (1 + std::cos(std::numbers::pi * t)) / 2;
    return floor + (peak - floor) * left;
}

MPO_DETAIL_MODEL_INLINE void LearningRate::require_valid(std::string_view who) const {
    if (!(peak > 0) || !std::isfinite(peak))
        detail::raise<ArgumentError>(
            {who, ": the learning rate must be a positive number, got ", peak});
    if (warm_up_steps < 0)
        detail::raise<ArgumentError>({who, ": warm_up_steps ", warm_up_steps, " is negative"});
    if (!(floor_ratio >= 0 && floor_ratio <= 1))
        detail::raise<ArgumentError>({who, ": floor_ratio must lie in [0, 1], got ", floor_ratio});
}

}  // namespace mpo

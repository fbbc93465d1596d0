// LearningRate: how long the step of an optimizer is, as a pure function of the step's number. A resumed
// run needs nothing but that number to go on as it would have gone.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// How a learning rate falls after the warm-up: not, along a line, or along half a cosine (Loshchilov
/// and Hutter, arXiv:1608.03983, without restarts).
enum class LearningRateDecay { constant, linear, cosine };

/// With w = warm_up_steps, n = total steps, s = 0, 1, .. the steps done before:
///   s < w:       peak (s + 1) / w
///   w <= s < n:  floor + (peak - floor) f((s - w) / (n - w)),  f(t) = 1, 1 - t, (1 + cos(pi t)) / 2
///   s >= n:      floor; peak where it does not decay
/// with floor = floor_ratio peak.
struct LearningRate {
    double peak = 1e-3;       // > 0
    Index warm_up_steps = 0;  // >= 0; where n <= w the rate is still rising at the end
    LearningRateDecay decay = LearningRateDecay::constant;  // behind the warm-up
    double floor_ratio = 0;                                 // in [0, 1]: of the peak

    /// The rate of the step before which `step` were done, of `total_steps`.
    [[nodiscard]] double at(Index step, Index total_steps) const {
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

    /// Throws ArgumentError, in the name of `who`, where a number is outside its domain.
    void require_valid(std::string_view who) const {
        if (!(peak > 0) || !std::isfinite(peak))
            detail::raise<ArgumentError>(
                {who, ": the learning rate must be a positive number, got ", peak});
        if (warm_up_steps < 0)
            detail::raise<ArgumentError>({who, ": warm_up_steps ", warm_up_steps, " is negative"});
        if (!(floor_ratio >= 0 && floor_ratio <= 1))
            detail::raise<ArgumentError>(
                {who, ": floor_ratio must lie in [0, 1], got ", floor_ratio});
    }
};

}  // namespace mpo

// LearningRate: how long the step of an optimizer is, as a pure function of the step's number. A resumed
// run needs nothing but that number to go on as it would have gone.
#pragma once

#include <string_view>

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
    [[nodiscard]] double at(Index step, Index total_steps) const;

    /// Throws ArgumentError, in the name of `who`, where a number is outside its domain.
    void require_valid(std::string_view who) const;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/learning_rate_inl.hpp"
#endif

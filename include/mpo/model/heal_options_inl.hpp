// The bodies of model/heal_options.hpp that are no templates.
#pragma once

#include <cmath>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/training_state.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE const HealPoint& HealCourse::after() const {
    for (const auto& point : curve)
        if (point.step == best_step) return point;
    return curve.back();
}

namespace detail {

MPO_DETAIL_MODEL_INLINE void require_heal_options(const HealBlocksOptions& options) {
    options.learning_rate.require_valid("heal");
    if (options.steps < 1 || options.batch_windows < 1 || options.evaluate_every < 1 ||
        options.patience < 0 || options.left_out < 0)
        raise<ArgumentError>(
            {"heal: need steps, batch_windows and evaluate_every >= 1, patience and ",
             "left_out >= 0, got ", options.steps, ", ", options.batch_windows, ", ",
             options.evaluate_every, ", ", options.patience, " and ", options.left_out});
    if (options.trial_steps < 0 || options.trial_steps > options.steps ||
        options.trial_steps % options.evaluate_every != 0)
        raise<ArgumentError>({"heal: need trial_steps up to steps, ", options.steps,
                              ", and a multiple of evaluate_every, ", options.evaluate_every,
                              ": the choice is made at a look, got ", options.trial_steps});
    if (!(options.sink_weight >= 0) || !std::isfinite(options.sink_weight) ||
        !(options.sink_factor > 1))
        raise<ArgumentError>({"heal: need sink_weight >= 0 and sink_factor > 1, got ",
                              options.sink_weight, " and ", options.sink_factor});
    require_trainable(options, "heal");
}

}  // namespace detail

}  // namespace mpo

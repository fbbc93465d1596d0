// The choice of form by healing: of every layer of two compressed checkpoints of one teacher, the form is kept that
// heals to the lower loss.
#pragma once

#include <optional>

#include "mpo/core/tensor.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo::detail {

/// What of a layer goes on.
struct LayerChoice {
    LayerForm form = LayerForm::student;
    std::optional<HealCourse> other = {};  // none where there was no choice
};

/// Throws ArgumentError where trial_steps are asked for and nothing is tried.
void require_trial(const HealBlocksOptions& options, bool has_rival);

/// The steps of either form behind which the choice is made.
[[nodiscard]] inline Index trial_steps(const HealBlocksOptions& options) {
    return options.trial_steps > 0 ? options.trial_steps : options.steps;
}

/// The least loss of the looks at the first `steps` steps, sinks' term included: what is kept of them. A course that
/// went on is judged as it was then, so that a resumed run chooses as the broken one did.
[[nodiscard]] double least_loss(const HealCourse& course, Index steps, double sink_weight);

/// Whether two checkpoints hold the same layer: tensors to the bit, layouts of its chains. Healed twice it would become
/// the same.
[[nodiscard]] bool has_same_layer(const WeightReader& a, const WeightReader& b, Index layer);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_choice_inl.hpp"
#endif

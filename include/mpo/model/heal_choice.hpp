// The choice of form by healing: of every layer of two compressed checkpoints of one teacher, the form is kept with which
// held-out windows diverge less from the teacher, or whose states have the lower loss (HealChoice).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/transformer_weights.hpp"
#include "mpo/network/layout.hpp"

namespace mpo::detail {

/// What of a layer goes on.
struct LayerChoice {
    LayerForm form = LayerForm::student;
    std::optional<double> divergence = {};  // by which it was chosen, where it was
    std::optional<HealCourse> other = {};   // none where there was no choice
};

/// Throws ArgumentError where trial_steps are asked for and nothing is tried.
void require_trial(const HealBlocksOptions& options, bool has_rival);

/// The steps of either form behind which the choice is made.
[[nodiscard]] inline Index trial_steps(const HealBlocksOptions& options) {
    return options.trial_steps > 0 ? options.trial_steps : options.steps;
}

/// Whether the rival's form has the lower divergence; where none was measured the lower loss at the look that it kept,
/// sinks' term included. More steps of the better form alone only widen its lead in that: a run that goes on chooses as
/// the broken one did. Divergences are kept on the disk for it.
[[nodiscard]] inline bool is_rival_better(const HealCourse& student, const HealCourse& rival,
                                          double sink_weight) {
    if (student.divergence && rival.divergence) return *rival.divergence < *student.divergence;
    return rival.after().total(sink_weight) < student.after().total(sink_weight);
}

/// Legs of the chains below a name.
[[nodiscard]] std::vector<Layout> layouts_below(const WeightReader& reader,
                                                const std::string& prefix);

/// Whether two checkpoints hold the same layer: tensors to the bit, layouts of its chains. Healed twice it would become
/// the same.
[[nodiscard]] bool has_same_layer(const WeightReader& a, const WeightReader& b, Index layer);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_choice_inl.hpp"
#endif

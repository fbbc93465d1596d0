// The choice of form by healing: of every layer of two compressed checkpoints of one teacher, the form is kept with which
// held-out windows diverge less from the teacher, or whose states have the lower loss (HealChoice).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/agree.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/transformer_weights.hpp"
#include "mpo/network/layout.hpp"

namespace mpo::detail {

/// What the two forms of a layer do to words, in nats.
struct FormDivergences {
    double student = 0, rival = 0;  // means over held-out windows
    double error = 0;               // standard error of their difference; 0 of one window alone

    [[nodiscard]] double of(LayerForm form) const {
        return form == LayerForm::rival ? rival : student;
    }
};

/// Of the divergences of every window, the same windows in both forms, at least one. The difference is paired: most of
/// what a window does to one form it does to both.
[[nodiscard]] FormDivergences compared(const std::vector<double>& student,
                                       const std::vector<double>& rival);

/// What of a layer goes on.
struct LayerChoice {
    LayerForm form = LayerForm::student;
    std::optional<FormDivergences> divergences = {};  // by which it was chosen, where it was
    std::optional<HealCourse> other = {};             // none where there was no choice
};

/// Throws ArgumentError where trial_steps are asked for and nothing is tried.
void require_trial(const HealBlocksOptions& options, bool has_rival);

/// The steps of either form behind which the choice is made.
[[nodiscard]] inline Index trial_steps(const HealBlocksOptions& options) {
    return options.trial_steps > 0 ? options.trial_steps : options.steps;
}

/// Whether the rival's form has the lower loss at the look that it kept, sinks' term included. More steps of the better
/// form alone only widen its lead in that: a run that goes on chooses as the broken one did. Divergences are kept on
/// the disk for it.
[[nodiscard]] inline bool is_rival_better(const HealCourse& student, const HealCourse& rival,
                                          double sink_weight) {
    return rival.after().total(sink_weight) < student.after().total(sink_weight);
}

/// Which of two forms, by what rank 0 knows: their divergences, or the losses of their courses.
template <Communicator Group>
[[nodiscard]] LayerChoice choice_of(const HealCourse& student, const HealCourse& rival,
                                    const std::optional<FormDivergences>& divergences,
                                    const HealBlocksOptions& options, Group& group) {
    LayerChoice choice;
    bool is_rivals = false;
    if (options.choose_by == HealChoice::divergence) {
        choice.divergences = divergences.value_or(FormDivergences{});
        group.broadcast(std::as_writable_bytes(std::span(&*choice.divergences, 1)), 0);
        is_rivals = choice.divergences->rival < choice.divergences->student;
    } else {
        is_rivals = answer_of_root(group, is_rival_better(student, rival, options.sink_weight));
    }
    choice.form = is_rivals ? LayerForm::rival : LayerForm::student;
    choice.other = is_rivals ? student : rival;
    if (choice.divergences)
        choice.other->divergence =
            choice.divergences->of(is_rivals ? LayerForm::student : LayerForm::rival);
    return choice;
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

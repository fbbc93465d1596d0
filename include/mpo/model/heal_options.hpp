// What healing is told, and what it says of one layer.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/learning_rate.hpp"
#include "mpo/model/trainable_linear.hpp"

namespace mpo {

/// What a layer is healed with as its inputs. Either way its outputs shall be the dense layer's of the dense state.
enum class HealInputs {
    healed,  // states of the model whose layers before it are healed: it learns to mend what these leave wrong
    dense  // states of the dense model: layers do not depend on one another, and processes heal one each
};

/// What two forms of a layer are compared by where there is a rival: least is best.
enum class HealChoice {
    divergence,  // of held-out windows from the dense model, layers behind this one being dense: HealJudge
    loss         // of the layer's states, the sinks' term included
};

/// The block stage.
struct HealBlocksOptions {
    Index steps = 300;        // of every layer
    Index batch_windows = 4;  // of one step, over all processes
    LearningRate learning_rate = {1e-2, 20, LearningRateDecay::linear, 0};  // relative, see AdamW
    double weight_decay = 0;                                                // of cores
    double clip_norm = 1;       // of all gradients of a step together; 0: any
    double sink_weight = 5;     // of the sinks' term, see heal_flow.hpp
    double sink_factor = 20;    // a sink's norm exceeds this many medians
    Index left_out = 0;         // first positions of a window that weigh nothing, sinks aside
    Index evaluate_every = 25;  // steps between two looks at the held-out windows
    Index patience = 0;     // looks in a row without gain after which a layer is done; 0: all steps
    Index trial_steps = 0;  // after which one of two forms is chosen, see HealSources::rival; a
                            // multiple of evaluate_every; 0: after all steps of both
    HealChoice choose_by = HealChoice::divergence;  // how
    std::uint64_t seed = 1;                         // of the order of the windows
    TrainedParts parts = {};                        // what is trained
    HealInputs inputs = HealInputs::healed;         // what a layer is trained on
    Index max_workspace_bytes = Index{1} << 27;     // of one MPO
};

/// A look at a layer that is being healed.
struct HealPoint {
    Index step = 0;       // steps done
    double training = 0;  // mean loss of the steps since the last look; 0 at the first
    double held_out = 0;  // loss of the held-out windows
    double sinks = 0;     // of them the sinks' mean relative error, not weighted

    /// The held-out loss with the sinks' term, by which looks are compared.
    [[nodiscard]] double total(double sink_weight) const { return held_out + sink_weight * sinks; }
};

/// The course of a layer's healing in one form.
struct HealCourse {
    std::vector<HealPoint> curve = {};  // the first point: before the first step
    Index best_step = 0;                // whose numbers were kept
    std::vector<Index> fell_back = {};  // steps after which the layer was worse than before healing
    double seconds_per_step = 0;        // mean
    std::optional<double> divergence =
        {};  // by which the form was chosen, HealChoice; none where nothing was, or by loss

    /// Before healing.
    [[nodiscard]] const HealPoint& before() const { return curve.front(); }
    /// The point that was kept.
    [[nodiscard]] const HealPoint& after() const;
};

/// Whose form of a layer: that of the checkpoint that is healed, or of another one of the same teacher.
enum class LayerForm { student, rival };

/// What became of one layer: the course of the form that was kept.
struct BlockHealing : HealCourse {
    Index layer = 0;  // of the decoder
    Index sinks = 0;  // positions that are sinks behind it, of all windows; of those held out alone
                      // behind the last layer that is healed
    LayerForm form = LayerForm::student;  // whose was kept
    std::optional<HealCourse> other =
        {};  // the form that was not kept; none where there was no choice
    std::optional<double> divergence_error =
        {};  // standard error of the two forms' difference, over windows; where divergence is
};

namespace detail {

void require_heal_options(const HealBlocksOptions& options);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_options_inl.hpp"
#endif

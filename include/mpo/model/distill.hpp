// The second stage of healing: all layers together, towards what the teacher says of the next token (Hinton et
// al., arXiv:1503.02531).
//
//   loss = alpha KL(teacher || student) + (1 - alpha) cross-entropy,   mean over positions
//
// with the divergence over the teacher's K most probable tokens and the rest in one (head_loss.hpp). The teacher's
// side comes from a cache, made once (teacher_cache.hpp).
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/stopwatch.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/agree.hpp"
#include "mpo/model/distill_options.hpp"
#include "mpo/model/head_loss.hpp"
#include "mpo/model/heal_blocks.hpp"
#include "mpo/model/heal_snapshots.hpp"
#include "mpo/model/optimizer.hpp"
#include "mpo/model/teacher_cache.hpp"
#include "mpo/model/trainable_transformer.hpp"
#include "mpo/model/training_state.hpp"
#include "mpo/model/training_windows.hpp"

namespace mpo {

namespace detail {

void require_distill_options(const DistillOptions& options, int processes);

/// What distillation is told of training; seed and memory aside.
[[nodiscard]] nlohmann::ordered_json settings_json(const DistillOptions& options);

/// Windows and what the teacher says of them.
struct TaughtWindows {
    const TrainingWindows& windows;
    const TeacherCache& teacher;
};

/// What a snapshot of distillation belongs to.
[[nodiscard]] nlohmann::ordered_json configuration(const DistillOptions& options,
                                                   const std::string& student,
                                                   const TaughtWindows& taught,
                                                   const TaughtWindows& held_out, int processes);

/// Throws ArgumentError where windows, teacher and model do not belong together, and as require_loss.
void require_taught(const TaughtWindows& taught, const TransformerConfig& config, double alpha);

/// A model in training, and the loss at its head.
class DistillTrainer {
  public:
    DistillTrainer(TransformerConfig config, ModelWeights<float> weights, Index part_windows,
                   Index length, const DistillOptions& options, const EigenBackend& backend);

    [[nodiscard]] TrainableTransformer<float>& model() { return model_; }
    [[nodiscard]] const WindowShape& shape() const { return shape_; }

    /// Losses of shape().windows windows; gradients of the loss times `scale` where that is not 0.
    HeadLossSums run(const TaughtWindows& taught, std::span<const Index> windows,
                     std::span<const float> counts, double scale);

  private:
    [[nodiscard]] static TrainingOptions training_options(const DistillOptions& options,
                                                          Index rows) {
        return {rows, options.max_workspace_bytes, options.max_tape_bytes, options.parts};
    }

    const DistillOptions& options_;
    const EigenBackend& backend_;
    WindowShape shape_;
    TrainableTransformer<float> model_;
    HeadWeight<float> head_;
    Tensor<float> gradient_;
};

/// A student in training where there was none, its chains balanced; returns what a snapshot of that belongs to.
[[nodiscard]] nlohmann::ordered_json begin_distillation(const std::filesystem::path& student,
                                                        const TaughtWindows& taught,
                                                        const TaughtWindows& held_out,
                                                        const DistillOptions& options,
                                                        int processes, const EigenBackend& backend,
                                                        std::optional<DistillTrainer>& trainer);

/// Losses of held-out windows; a part that is not full is filled with windows that count nothing.
[[nodiscard]] HeadLossSums look_at(DistillTrainer& trainer, const TaughtWindows& held_out);

/// One step: the mean loss before it.
template <Communicator Group>
double distill_step(DistillTrainer& trainer, const TaughtWindows& taught,
                    const std::vector<Index>& batch, const DistillOptions& options, Group& group,
                    AdamW<float>& optimizer) {
    const auto& parameters = optimizer.parameters();
    parameters.clear_gradients();
    double weight = 0;
    for (const Index w : batch)
        for (const float each : taught.windows.weights_of(w)) weight += each;
    const auto mine = part_of(batch, group.rank(), group.size());
    const auto size = static_cast<std::size_t>(trainer.shape().windows);
    const std::vector<float> counts(size, 1.0f);
    HeadLossSums sums;
    const auto losses = [&] {
        for (std::size_t begin = 0; begin < mine.size(); begin += size)
            sums += trainer.run(taught, std::span(mine).subspan(begin, size), counts, 1 / weight);
    };
    all_or_none(group,
                [&] { naming_place(concat("distill: step ", optimizer.num_steps() + 1), losses); });
    std::vector<double> loss{sums.loss(options.alpha) / weight};
    sum_gradients(parameters, group);
    group.all_reduce_sum(std::span<double>(loss));
    optimizer.step({1, loss.front()});
    trainer.model().refresh();
    return loss.front();
}

/// Where distillation stands.
struct DistillState : TrainingState {
    Distillation report;  // the looks so far
};

/// look_at; throws NumericalError where the loss is not finite.
[[nodiscard]] HeadLossSums finite_look_at(DistillTrainer& trainer, const TaughtWindows& held_out,
                                          double alpha);

/// Adds a look to the curve, and keeps the parameters where they are the best so far: the loss.
double record(const HeadLossSums& sums, double alpha, const Parameters<float>& parameters,
              DistillState& state);

/// balance of all layers; they are packed anew.
void balance_layers(TrainableTransformer<float>& model, AdamW<float>* optimizer);

/// One step further, and the time it took.
template <Communicator Group>
void advance(DistillTrainer& trainer, const TaughtWindows& taught, const std::vector<Index>& all,
             const DistillOptions& options, Group& group, AdamW<float>& optimizer,
             DistillState& state) {
    const double begin = seconds_now();
    const auto batch = windows_of_step(all, state.step, options.batch_windows, options.seed);
    state.training += distill_step(trainer, taught, batch, options, group, optimizer);
    ++state.step;
    if (state.step % balance_every == 0) balance_layers(trainer.model(), &optimizer);
    state.seconds += seconds_now() - begin;
}

/// What the last look says to the caller.
[[nodiscard]] HealProgress progress_of(const DistillState& state, const DistillOptions& options,
                                       double loss, Index window, Index num_layers);

[[nodiscard]] nlohmann::ordered_json to_json(const Distillation& report);

/// Snapshot of distillation: "distillation.snapshot" in the work folder.
void save_distillation(const std::filesystem::path& path,
                       const nlohmann::ordered_json& configuration, const DistillState& state,
                       const AdamW<float>& optimizer);
void load_distillation(const std::filesystem::path& path,
                       const nlohmann::ordered_json& configuration, Index steps,
                       DistillState& state, AdamW<float>& optimizer);

}  // namespace detail

/// What distillation works on; all of it outlives the call.
struct DistillSources {
    std::filesystem::path student;                   // compressed or dense checkpoint
    std::filesystem::path work;                      // folder of the snapshot
    const TrainingWindows* windows = nullptr;        // to train on
    const TeacherCache* teacher = nullptr;           // what the teacher says of them
    const TrainingWindows* held_out = nullptr;       // to look at, at least one, of the same length
    const TeacherCache* held_out_teacher = nullptr;  // what the teacher says of those
};

/// A distilled model.
struct Distilled {
    Distillation report;          // how it went
    ModelWeights<float> weights;  // of the best look
};

/// Distils. The work folder has a snapshot as of the last look: killed at any moment, a run goes on from there and
/// ends with the same bits.
///
/// group      processes that share the windows of every step, as heal_blocks with HealInputs::healed
/// cost       steps times forward and backward of batch_windows windows, layers without a tape forward once more,
///            and the head's two products
/// memory     weights, four times what is trained besides (gradients, moments, the best look); cores twice more, packed
///            for either way, and so a head that is not trained; states of all layers, tapes, and what the plans of
///            layers with a tape keep: max_workspace_bytes each at the most. A snapshot that is read holds values and
///            moments once more
/// throws     as heal_blocks
template <Communicator Group>
[[nodiscard]] Distilled distill(const DistillSources& sources, const DistillOptions& options,
                                const EigenBackend& backend, Group& group,
                                const HealCallback& progress = {}) {
    detail::require_distill_options(options, group.size());
    const detail::TaughtWindows taught{*sources.windows, *sources.teacher};
    const detail::TaughtWindows held_out{*sources.held_out, *sources.held_out_teacher};
    std::optional<detail::DistillTrainer> made;
    const auto asked = detail::all_or_none_of(group, [&] {
        return detail::begin_distillation(sources.student, taught, held_out, options, group.size(),
                                          backend, made);
    });
    auto& trainer = *made;
    auto& model = trainer.model();
    auto optimizer = detail::all_or_none_of(
        group, [&] { return AdamW<float>(model.parameters(), detail::adam_of(options)); });
    detail::DistillState state;
    const auto path = sources.work / "distillation.snapshot";
    if (detail::answer_of_root(group, std::filesystem::exists(path))) {
        detail::all_or_none(group, [&] {
            detail::load_distillation(path, asked, options.steps, state, optimizer);
            model.refresh();
        });
    }
    const auto look = [&] {
        const double loss = detail::all_or_none_of(group, [&] {
            HeadLossSums sums;
            detail::naming_place(
                detail::concat("distill: held-out windows after step ", state.step),
                [&] { sums = detail::finite_look_at(trainer, held_out, options.alpha); });
            return detail::record(sums, options.alpha, model.parameters(), state);
        });
        detail::require_same_everywhere(group, loss, "distill");
        detail::at_root(group, [&] {
            detail::save_distillation(path, asked, state, optimizer);
            detail::report_look(detail::progress_of(state, options, loss, trainer.shape().length,
                                                    model.config().num_layers),
                                progress, "distill: cancelled");
        });
    };
    if (state.report.curve.empty()) look();
    const auto all = detail::first_indices(sources.windows->count());
    while (state.step < options.steps) {
        detail::advance(trainer, taught, all, options, group, optimizer, state);
        if (state.step % options.evaluate_every == 0 || state.step == options.steps) look();
    }
    state.report.seconds_per_step = state.seconds / static_cast<double>(state.step);
    detail::paste_values(state.best, model.parameters());
    return {std::move(state.report), std::move(model).weights()};
}

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template Distilled distill<SingleProcess>(const DistillSources&, const DistillOptions&,
                                                 const EigenBackend&, SingleProcess&,
                                                 const HealCallback&);
}  // namespace mpo
#else
#include "mpo/model/distill_inl.hpp"
#endif

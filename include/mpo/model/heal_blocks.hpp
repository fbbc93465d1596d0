// The block stage of healing: layer after layer, front to back, each trained towards the outputs that the dense
// model has there, with the inputs that the healed layers before it give. One layer is in memory at a time, and
// the states of all windows.
//
// With a rival every layer is healed in two forms, and the better one is kept (heal_choice.hpp).
//
// What is done is in the work folder (heal_snapshots.hpp). Killed at any moment, a run goes on from the last look, and
// ends with the same bits.
#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/agree.hpp"
#include "mpo/model/heal_block.hpp"
#include "mpo/model/heal_choice.hpp"
#include "mpo/model/heal_flow.hpp"
#include "mpo/model/heal_judge.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/heal_snapshots.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/model/training_windows.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo {

/// What a run of healing works on.
struct HealSources {
    std::filesystem::path student;              // a compressed checkpoint
    std::filesystem::path teacher;              // the dense one that it was made of
    std::filesystem::path work;                 // folder of snapshots; made where it is not there
    const TrainingWindows* windows = nullptr;   // to train on
    const TrainingWindows* held_out = nullptr;  // to look at, of the same length; at least one
    std::filesystem::path rival = {};  // another compressed checkpoint of the same teacher, whose
                                       // layers may be better; empty: none
};

/// What a run of healing is at: layer after layer, the teacher's pass over the windows, or all layers together.
enum class HealStage { blocks, teacher, distillation };

/// Where a run is: told after every look, and after every window that the teacher has read. Members that a stage
/// does not know are 0.
struct HealProgress {
    Index layer = -1;      // that is being healed; -1: all of them, by distillation
    Index num_layers = 0;  // of the model
    Index step =
        0;  // steps done of the layer, or of distillation; windows that the teacher has read
    Index steps = 0;                      // of all
    double loss = 0;                      // mean since the last look
    double held_out = 0;                  // loss of the held-out windows
    double tokens_per_second = 0;         // mean; over all processes that share a step
    double seconds_left = 0;              // of the stage, at the rate so far
    HealStage stage = HealStage::blocks;  // which
    LayerForm form = LayerForm::student;  // whose form of the layer
};

/// Hears of progress, and may end the run: what the work folder has stays.
using HealCallback = std::function<ProgressReply(const HealProgress&)>;

namespace detail {

/// Throws ShapeError where a student, or another that `who` names, is not its teacher's size; ArgumentError where other
/// numbers make another decoder of it.
void require_same_decoder(const TransformerConfig& student, const TransformerConfig& teacher,
                          const char* who = "student");
/// Throws ArgumentError where a folder is no compressed checkpoint.
void require_compressed(const std::filesystem::path& folder);
/// Throws ArgumentError where a teacher is a compressed checkpoint: errors are measured against its matrices.
void require_dense(const std::filesystem::path& teacher);
/// Throws ArgumentError where a window is longer than a model's context.
void require_context(Index length, const TransformerConfig& config);
/// Throws ArgumentError where a step of windows of so many tokens is too large, or nothing of one is trained on.
void require_window_length(const HealBlocksOptions& options, Index length);
/// Throws FormatError where a student's tensors are not those of a decoder, or a chain stands outside its layers.
void require_student(WeightReader& reader, const TransformerConfig& config);
/// Throws as all of these where a rival is none.
void require_rival(const std::filesystem::path& rival, const TransformerConfig& teacher);

/// Whether there is something to heal in a layer: nothing was taken from one without a chain.
[[nodiscard]] bool is_healed(const WeightReader& reader, Index layer, const TrainedParts& parts);

/// One form of a layer, and how far it goes.
struct Attempt {
    LayerForm form = LayerForm::student;
    Index until = 0;   // steps after which it stops
    Index before = 0;  // steps that the layer's other form has done
    Index steps = 0;   // of the layer, in all forms
};

/// How many layers that are healed, in either of two checkpoints, are left from each one on; the second one may be null.
[[nodiscard]] std::vector<Index> layers_left(const WeightReader& student, const WeightReader* rival,
                                             Index num_layers, const TrainedParts& parts);

/// One layer of a run.
struct LayerRun {
    Index layer, num_layers;
    bool healed;    // whether it is
    Index left;     // layers that are, in either form, from this one on
    Index tokens;   // of a step, over all processes that share it
    Index at_once;  // layers that are healed at the same time
    const HealBlocksOptions& options;
    Attempt attempt;
};

/// What a look says to the caller.
[[nodiscard]] HealProgress progress_of(const BlockHealState& state, const LayerRun& run);

/// Tells of a look; throws Cancelled, which begins with `cancelled`, where the answer is to end.
void report_look(const HealProgress& now, const HealCallback& progress,
                 const std::string& cancelled);

/// A layer as an earlier run left it, finished or not, or healed from its beginning. Stopped before it is done, it has
/// the numbers of its best look, and what it goes on from is on the disk alone.
template <Communicator Group>
[[nodiscard]] BlockHealing heal_or_load(TrainableBlock<float>& layer, const HealFlow& flow,
                                        const HealSplit& split, const LayerRun& run,
                                        BlockTrainer& trainer, Group& group,
                                        const BlockSnapshots& snapshots,
                                        const HealCallback& progress) {
    Parameters<float> parameters;
    layer.list(parameters);
    BlockHealState state;
    if (answer_of_root(group, snapshots.has(run.layer))) {
        all_or_none(group, [&] { state.healing = snapshots.load(run.layer, parameters); });
        layer.refresh();
        return state.healing;
    }
    state.healing.layer = run.layer;
    state.healing.sinks = flow.num_sinks();
    if (!run.healed || parameters.num_values() == 0) {
        all_or_none(group,
                    [&] { look_at(layer, flow, split, run.options, trainer, parameters, state); });
        return state.healing;
    }
    auto optimizer = optimizer_of(parameters, run.options, state.healing);
    if (answer_of_root(group, snapshots.has_unfinished(run.layer)))
        all_or_none(group,
                    [&] { state = snapshots.load_unfinished(run.layer, run.options, optimizer); });
    else
        balance(layer, nullptr);
    layer.refresh();
    const auto observer = [&](const BlockHealState& now, const AdamW<float>& memory) {
        require_same_everywhere(group, now.healing.curve.back().held_out, "heal");
        at_root(group, [&] {
            snapshots.save(now, memory);
            report_look(progress_of(now, run), progress,
                        concat("heal: cancelled in layer ", run.layer));
        });
    };
    const bool done = heal_block(layer, flow, split, run.options, run.attempt.until, trainer, group,
                                 optimizer, state, observer);
    at_root(group, [&] {
        if (done) snapshots.save(state.healing, parameters);
    });
    if (!done) {
        paste_values(state.best, parameters);
        layer.refresh();
    }
    return state.healing;
}

/// All windows one behind the other, and which of them are which.
struct HealWindows {
    std::vector<Index> tokens;
    WindowShape shape;
    HealSplit split;

    explicit HealWindows(const HealSources& sources);
};

/// Windows of a step that one of several processes takes.
[[nodiscard]] inline Index part_windows(const HealBlocksOptions& options, int processes) {
    return options.inputs == HealInputs::dense ? options.batch_windows
                                               : options.batch_windows / processes;
}

/// The snapshots of a run; they name what it works on.
[[nodiscard]] BlockSnapshots snapshots_of(const HealSources& sources,
                                          const HealBlocksOptions& options, int processes);

/// What the layers of a run share, and its two orders.
class BlockStageRun {
  public:
    /// processes   that share the windows of a step
    BlockStageRun(const HealSources& sources, const HealBlocksOptions& options,
                  const EigenBackend& backend, int processes);

    /// Layer after layer, all processes at the same one.
    template <Communicator Group>
    [[nodiscard]] std::vector<BlockHealing> in_order(Group& group, const HealCallback& progress) {
        std::vector<BlockHealing> healed;
        for (Index k = 0; k < config_.num_layers; ++k) {
            all_or_none(group, [&] { advance_dense(k); });
            const auto choice = choose(k, 1, group, progress);
            auto layer = all_or_none_of(group, [&] { return layer_of(k, choice.form); });
            healed.push_back(heal_chosen(layer, k, choice, 1, group, progress));
            all_or_none(group, [&] { flow_.advance_healed(layer, batch_.windows); });
        }
        return healed;
    }
    /// As many layers at a time as there are processes, each from the dense states. They agree on failure, and on
    /// the end, after every such round: until then a layer is its process' own.
    template <Communicator Group>
    [[nodiscard]] std::vector<BlockHealing> apart(Group& group, const HealCallback& progress) {
        const Index size = group.size(), count = config_.num_layers;
        std::vector<BlockHealing> healed;
        for (Index first = 0; first < count; first += size) {
            const Index last = (std::min)(first + size, count), own = first + group.rank();
            BlockHealing healing;
            all_or_none(group, [&] {
                for (Index k = first; k < last; ++k) {
                    if (k == own) flow_.restart_from_dense();
                    advance_dense(k);
                    if (k != own) continue;
                    SingleProcess alone;
                    const auto heard = group.rank() == 0 ? progress : HealCallback{};
                    const auto choice = choose(k, size, alone, heard);
                    auto layer = layer_of(k, choice.form);
                    healing = heal_chosen(layer, k, choice, size, alone, heard);
                }
            });
            for (Index k = first; k < last; ++k) {
                const auto text = broadcast_text(group, k == own ? to_json(healing).dump() : "",
                                                 static_cast<int>(k - first));
                healed.push_back(block_healing(nlohmann::json::parse(text)));
            }
        }
        return healed;
    }

  private:
    [[nodiscard]] TransformerConfig fitting(const HealSources& sources, int processes);
    /// Behind the last layer that is healed nothing is trained: held-out windows are enough to look at.
    void advance_dense(Index k) {
        auto& split = windows_.split;
        if (left_[static_cast<std::size_t>(k)] == 0 && !split.training.empty()) {
            flow_.keep(split.held_out);
            split = {{}, first_indices(static_cast<Index>(split.held_out.size()))};
        }
        flow_.advance_dense(read_layer(teacher_, config_, k), options_.sink_factor);
    }
    [[nodiscard]] WeightReader& reader_of(LayerForm form) {
        return form == LayerForm::rival ? *rival_ : student_;
    }
    [[nodiscard]] TrainableBlock<float> layer_of(Index k, LayerForm form);
    template <Communicator Group>
    [[nodiscard]] BlockHealing heal_layer(TrainableBlock<float>& layer, Index k,
                                          const Attempt& attempt, Index at_once, Group& group,
                                          const HealCallback& progress) {
        const LayerRun run{k,
                           config_.num_layers,
                           is_healed(reader_of(attempt.form), k, options_.parts),
                           left_[static_cast<std::size_t>(k)],
                           batch_.rows() * group.size(),
                           at_once,
                           options_,
                           attempt};
        const auto& snapshots = attempt.form == LayerForm::rival ? *rival_snapshots_ : snapshots_;
        return heal_or_load(layer, flow_, windows_.split, run, trainer_, group, snapshots,
                            progress);
    }
    /// Tries both forms of a layer, one after the other in memory. Rank 0's numbers decide.
    template <Communicator Group>
    [[nodiscard]] LayerChoice choose(Index k, Index at_once, Group& group,
                                     const HealCallback& progress) {
        LayerChoice choice;
        if (!rival_ || all_or_none_of(group, [&] { return has_same_layer(student_, *rival_, k); }))
            return choice;
        const Index trial = trial_steps(options_), steps = options_.steps + trial;
        const bool judged = options_.choose_by == HealChoice::divergence;
        std::optional<FormDivergences> known;  // to rank 0, which judges
        at_root(group, [&] {
            if (judged) known = snapshots_.divergences(k);
        });
        std::vector<double> of_student, of_rival;  // divergences of windows, rank 0's
        const auto course_of = [&](const Attempt& attempt, std::vector<double>& windows) {
            auto layer = all_or_none_of(group, [&] { return layer_of(k, attempt.form); });
            HealCourse course = heal_layer(layer, k, attempt, at_once, group, progress);
            at_root(group, [&] {
                if (judged && !known) windows = judge(k, layer);
            });
            return course;
        };
        const HealCourse student = course_of({LayerForm::student, trial, 0, steps}, of_student),
                         rival = course_of({LayerForm::rival, trial, trial, steps}, of_rival);
        at_root(group, [&] {
            if (!judged || known) return;
            known = compared(of_student, of_rival);
            snapshots_.save(k, *known);
        });
        return choice_of(student, rival, known, options_, group);
    }
    /// Divergences of the held-out windows with a layer as it is.
    [[nodiscard]] std::vector<double> judge(Index k, const TrainableBlock<float>& layer) {
        if (!judge_) judge_.emplace(teacher_, config_, held_out_, backend_);
        return judge_->divergences(k,
                                   flow_.outputs(layer, windows_.split.held_out, batch_.windows));
    }
    /// The form that was chosen, to its end: the layer is healed afterwards.
    template <Communicator Group>
    [[nodiscard]] BlockHealing heal_chosen(TrainableBlock<float>& layer, Index k,
                                           const LayerChoice& choice, Index at_once, Group& group,
                                           const HealCallback& progress) {
        const Index before = choice.other ? trial_steps(options_) : 0;
        auto healing =
            heal_layer(layer, k, {choice.form, options_.steps, before, options_.steps + before},
                       at_once, group, progress);
        healing.form = choice.form;
        healing.other = choice.other;
        if (choice.divergences) {
            healing.divergence = choice.divergences->of(choice.form);
            healing.divergence_error = choice.divergences->error;
        }
        return healing;
    }

    const HealBlocksOptions& options_;
    const EigenBackend& backend_;
    TransformerOptions read_;  // buffered: pages of a mapped file would be memory, too
    WeightReader student_, teacher_;
    std::optional<WeightReader> rival_;
    TransformerConfig config_;
    HealWindows windows_;
    BlockSnapshots snapshots_;
    std::optional<BlockSnapshots> rival_snapshots_;
    HealFlow flow_;
    WindowShape batch_;
    BlockTrainer trainer_;
    TrainingOptions training_;
    std::vector<Index> left_;
    const TrainingWindows& held_out_;
    std::optional<HealJudge> judge_;  // made when it is asked for the first time
};

}  // namespace detail

/// Heals layer after layer, those without a chain aside. What it makes of them lies in sources.work afterwards.
///
/// With HealInputs::healed all processes are at the same layer and share the windows of every step: the same loss to
/// rounding, whatever their number. With HealInputs::dense rank r heals layers r, r + size, .. alone, each with all
/// windows of its steps: the same bits, whatever their number.
///
/// With a rival a layer that is not the same in both checkpoints is healed in both forms, from the same states with the
/// same windows. The form is kept that is lower after trial_steps, at its best look, in what choose_by names, the
/// student's where they are equal; it goes on to the end of its steps with the bits that it has alone.
///
/// group      processes; all of them call, with the same arguments, on processors of one kind. The work folder must be
///            seen by all of them; rank 0 writes it, or who heals a layer alone. What one throws in a step, at a look
///            or with a layer of its own, all throw
/// progress   called by rank 0 alone, of its own layers; may be empty. Where it cancels, all throw Cancelled: at once, or
///            when everybody is through with the layer that is its own
/// cost       per layer: the dense layer once for all windows; steps times forward and backward of batch_windows
///            of them; the healed layer once for all, where layers are healed in order. Layers of one's own: size()
///            at a time, and the dense layers once per process. With a rival steps + trial_steps instead of steps, or
///            twice of them; and for a choice by divergence of every layer what HealJudge costs, by one process
/// memory     two states of all windows, (tokens, hidden) floats each; one layer with gradients, moments and tape, and
///            while it has no gradient to make, a second tape of as many windows as a process has of a step
/// throws     ShapeError, ArgumentError where student, teacher, windows or options do not fit, or the work folder
///            is another run's; NumericalError, naming layer and step, also where ranks differ in what must be the
///            same; Cancelled; FileError
template <Communicator Group>
[[nodiscard]] std::vector<BlockHealing> heal_blocks(const HealSources& sources,
                                                    const HealBlocksOptions& options,
                                                    const EigenBackend& backend, Group& group,
                                                    const HealCallback& progress = {}) {
    detail::require_heal_options(options);
    detail::require_trial(options, !sources.rival.empty());
    const bool apart = options.inputs == HealInputs::dense;
    std::optional<detail::BlockStageRun> made;
    detail::all_or_none(group,
                        [&] { made.emplace(sources, options, backend, apart ? 1 : group.size()); });
    auto& stage = *made;
    return apart ? stage.apart(group, progress) : stage.in_order(group, progress);
}

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template std::vector<BlockHealing> heal_blocks<SingleProcess>(const HealSources&,
                                                                     const HealBlocksOptions&,
                                                                     const EigenBackend&,
                                                                     SingleProcess&,
                                                                     const HealCallback&);
}  // namespace mpo
#else
#include "mpo/model/heal_blocks_inl.hpp"
#endif

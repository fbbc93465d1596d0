// The block stage of healing: layer after layer, front to back, each trained towards the outputs that the dense
// model has there, with the inputs that the healed layers before it give. One layer is in memory at a time, and
// the states of all windows.
//
// What is done is in the work folder (heal_snapshots.hpp). Killed at any moment, a run goes on from the last look, and
// ends with the same bits.
#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/agree.hpp"
#include "mpo/model/heal_block.hpp"
#include "mpo/model/heal_flow.hpp"
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
    double tokens_per_second = 0;         // over all processes, mean
    double seconds_left = 0;              // of the stage, at the rate so far
    HealStage stage = HealStage::blocks;  // which
};

/// Hears of progress, and may end the run: what the work folder has stays.
using HealCallback = std::function<ProgressReply(const HealProgress&)>;

namespace detail {

/// Throws ShapeError where a student is not its teacher's size.
void require_same_decoder(const TransformerConfig& student, const TransformerConfig& teacher);

/// Whether there is something to heal: nothing was taken from a layer without a chain.
[[nodiscard]] bool is_healed(const TrainableBlock<float>& layer, const TrainedParts& parts);

/// One layer of a run.
struct LayerRun {
    Index layer, num_layers;
    Index tokens;   // of a step, over all processes that share it
    Index at_once;  // layers that are healed at the same time
    const HealBlocksOptions& options;
};

/// What a look says to the caller.
[[nodiscard]] HealProgress progress_of(const BlockHealState& state, const LayerRun& run);

/// Tells of a look; throws Cancelled, which begins with `cancelled`, where the answer is to end.
void report_look(const HealProgress& now, const HealCallback& progress,
                 const std::string& cancelled);

/// A layer as an earlier run left it, finished or not, or healed from its beginning.
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
    if (!is_healed(layer, run.options.parts) || parameters.num_values() == 0) {
        look_at(layer, flow, split, run.options, trainer, parameters, state);
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
        all_or_none(group, [&] {
            if (group.rank() != 0) return;
            snapshots.save(now, memory);
            report_look(progress_of(now, run), progress,
                        concat("heal: cancelled in layer ", run.layer));
        });
    };
    heal_block(layer, flow, split, run.options, trainer, group, optimizer, state, observer);
    all_or_none(group, [&] {
        if (group.rank() == 0) snapshots.save(state.healing, parameters);
    });
    return state.healing;
}

/// All windows one behind the other, and which of them are which.
struct HealWindows {
    std::vector<Index> tokens;
    WindowShape shape;
    HealSplit split;

    explicit HealWindows(const HealSources& sources);
};

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
            advance_dense(k);
            auto layer = layer_of(k);
            healed.push_back(heal_layer(layer, k, 1, group, progress));
            flow_.advance_healed(layer);
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
                    auto layer = layer_of(k);
                    healing = heal_layer(layer, k, size, alone,
                                         group.rank() == 0 ? progress : HealCallback{});
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
    [[nodiscard]] TransformerConfig fitting(const HealSources& sources, int processes) const;
    void advance_dense(Index k) {
        flow_.advance_dense(read_layer(teacher_, config_, k), options_.sink_factor);
    }
    [[nodiscard]] TrainableBlock<float> layer_of(Index k);
    template <Communicator Group>
    [[nodiscard]] BlockHealing heal_layer(TrainableBlock<float>& layer, Index k, Index at_once,
                                          Group& group, const HealCallback& progress) {
        const LayerRun run{k, config_.num_layers, batch_.rows() * group.size(), at_once, options_};
        return heal_or_load(layer, flow_, windows_.split, run, trainer_, group, snapshots_,
                            progress);
    }

    const HealBlocksOptions& options_;
    const EigenBackend& backend_;
    TransformerOptions read_;
    WeightReader student_, teacher_;
    TransformerConfig config_;
    HealWindows windows_;
    BlockSnapshots snapshots_;
    HealFlow flow_;
    WindowShape batch_;
    BlockTrainer trainer_;
    TrainingOptions training_;
};

}  // namespace detail

/// Heals layer after layer, those without a chain aside. What it makes of them lies in sources.work afterwards.
///
/// With HealInputs::healed all processes are at the same layer and share the windows of every step: the same loss to
/// rounding, whatever their number. With HealInputs::dense rank r heals layers r, r + size, .. alone, each with all
/// windows of its steps: the same bits, whatever their number.
///
/// group      processes; all of them call, with the same arguments, on processors of one kind. The work folder must be
///            seen by all of them; rank 0 writes it, or who heals a layer alone. What one throws in a step, at a look
///            or with a layer of its own, all throw
/// progress   called by rank 0 alone, of its own layers; may be empty. Where it cancels, all throw Cancelled: at once, or
///            when everybody is through with the layer that is its own
/// cost       per layer: the dense layer once for all windows; steps times forward and backward of batch_windows
///            of them; the healed layer once for all, where layers are healed in order. Layers of one's own: size()
///            at a time, and the dense layers once per process
/// memory     two states of all windows, (tokens, hidden) floats each; one layer with gradients, moments and tape
/// throws     ShapeError, ArgumentError where student, teacher, windows or options do not fit, or the work folder
///            is another run's; NumericalError, naming layer and step, also where ranks differ in what must be the
///            same; Cancelled; FileError
template <Communicator Group>
std::vector<BlockHealing> heal_blocks(const HealSources& sources, const HealBlocksOptions& options,
                                      const EigenBackend& backend, Group& group,
                                      const HealCallback& progress = {}) {
    detail::require_heal_options(options);
    const bool apart = options.inputs == HealInputs::dense;
    detail::BlockStageRun stage(sources, options, backend, apart ? 1 : group.size());
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

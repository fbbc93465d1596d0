// One layer of the block stage: steps of AdamW on what of it is trained, towards the outputs of the dense
// layer, with a look at held-out windows now and then; the numbers of the best look are kept.
//
// A layer that a look finds worse than it was before healing falls back to its best numbers, and goes on with a quarter
// of the rate, over the steps that are left: the rate that is good for most layers breaks those that make sinks. In the
// first half of a rate's steps a tenth worse is tolerated: near its peak a rate holds the loss above what follows.
//
// Several processes share the windows of every step: each takes its part, gradients and losses are summed, and
// all take the same step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/stopwatch.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/agree.hpp"
#include "mpo/model/heal_flow.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/optimizer.hpp"
#include "mpo/model/parameters.hpp"
#include "mpo/model/trainable_block.hpp"
#include "mpo/model/training_state.hpp"

namespace mpo::detail {

/// 0, 1, .., count - 1.
[[nodiscard]] std::vector<Index> first_indices(Index count);

/// Windows of step `step`: every epoch is a permutation of all, drawn from seed and epoch alone.
[[nodiscard]] std::vector<Index> windows_of_step(std::span<const Index> all, Index step,
                                                 Index batch, std::uint64_t seed);

/// f(); what it throws of numbers says where before.
template <class F>
void naming_place(const std::string& place, F&& f) {
    try {
        f();
    } catch (const NumericalError& error) {
        raise<NumericalError>({place, ": ", error.what()});
    }
}

/// The part of a batch that belongs to one process of several.
[[nodiscard]] std::vector<Index> part_of(const std::vector<Index>& batch, int rank, int size);

/// Sums all gradients over the group.
template <Communicator Group>
void sum_gradients(const Parameters<float>& parameters, Group& group) {
    if (group.size() == 1) return;
    for (const auto& parameter : parameters.all()) group.all_reduce_sum(parameter.gradient);
}

/// What training of one layer needs besides the layer; made once for all layers.
class BlockTrainer {
  public:
    BlockTrainer(const TransformerConfig& config, const WindowShape& batch);

    /// Loss of some windows; with the gradients of the layer's parameters where `trains`.
    BlockLossValue run(TrainableBlock<float>& layer, const HealFlow& flow,
                       std::span<const Index> windows, const RowWeights& weights,
                       double sink_weight, bool trains);
    [[nodiscard]] const WindowShape& batch() const { return batch_; }

  private:
    WindowShape batch_;
    Tensor<float> inputs_, targets_, outputs_, flowing_;
    BlockTape<float> tape_;
    BlockGradients<float> gradients_;
};

/// Steps after which chains are balanced again: norms drift slowly.
inline constexpr Index balance_every = 10;

/// Equal norms of the cores of every chain: Adam's steps depend on the gauge. What an optimizer remembers of cores
/// that are trained follows; null where it remembers nothing yet.
void balance(TrainableBlock<float>& layer, AdamW<float>* optimizer);

/// One step; returns the loss before it.
template <Communicator Group>
double heal_step(TrainableBlock<float>& layer, const HealFlow& flow,
                 const std::vector<Index>& batch, const HealBlocksOptions& options,
                 BlockTrainer& trainer, Group& group, AdamW<float>& optimizer) {
    const auto all = flow.weights(batch, options.left_out);
    const auto mine = part_of(batch, group.rank(), group.size());
    RowWeights weights;
    const auto length = static_cast<std::size_t>(flow.shape().length);
    for (auto k = static_cast<std::size_t>(group.rank()); k < batch.size();
         k += static_cast<std::size_t>(group.size()))
        weights.append(all, k * length, (k + 1) * length);
    const auto& parameters = optimizer.parameters();
    parameters.clear_gradients();
    BlockLossValue loss;
    all_or_none(group,
                [&] { loss = trainer.run(layer, flow, mine, weights, options.sink_weight, true); });
    std::vector<double> total{loss.total(options.sink_weight)};
    sum_gradients(parameters, group);
    group.all_reduce_sum(std::span<double>(total));
    optimizer.step({1, total.front()});
    layer.refresh();
    return total.front();
}

/// Where the healing of one layer stands.
struct BlockHealState : TrainingState {
    BlockHealing healing;  // the looks so far
};

/// Hears of every look, and may keep the state.
using HealObserver = std::function<void(const BlockHealState&, const AdamW<float>&)>;

/// Windows that are trained on, and those that are only looked at.
struct HealSplit {
    std::vector<Index> training, held_out;
};

/// Looks at a layer: at the held-out windows, and whether it was never better. Throws NumericalError for a loss that
/// is no number.
void look_at(TrainableBlock<float>& layer, const HealFlow& flow, const HealSplit& split,
             const HealBlocksOptions& options, BlockTrainer& trainer,
             const Parameters<float>& parameters, BlockHealState& state);

/// The optimizer of a layer since it last fell back.
[[nodiscard]] AdamW<float> optimizer_of(const Parameters<float>& parameters,
                                        const HealBlocksOptions& options,
                                        const BlockHealing& healing);

/// What a look after `step` may show, over the loss before healing, without a fall: 1.1 in the first half of a rate's
/// steps, then 1.
[[nodiscard]] double tolerated_loss(const HealBlocksOptions& options, const BlockHealing& healing,
                                    Index step);

/// Falls back where the last look found the layer worse than is tolerated, and steps are left.
void fall_back_if_worse(TrainableBlock<float>& layer, const HealBlocksOptions& options,
                        BlockHealState& state, AdamW<float>& optimizer);

/// Whether a step is followed by a look: the tenth of a rate, which shows one that is too high, then every so many.
[[nodiscard]] bool is_looked_at(Index step, const HealBlocksOptions& options,
                                const BlockHealing& healing);

/// Whether a layer has done all of its steps, or its patience is at an end, which looks alone decide.
[[nodiscard]] bool is_done(const BlockHealState& state, const HealBlocksOptions& options);

/// Heals one layer. Its numbers are those of the best look afterwards, where it is done; true then. Stopped at `until`
/// before, it goes on from the state of the look there as if it had not been.
///
/// until      steps after which it stops: all of them, or fewer that end with a look
/// optimizer  optimizer_of(..); with `state` what a run that was broken off at a look left, or fresh
/// group      processes; all hold the same numbers, and hold them afterwards
/// observer   hears of every look; may be empty
/// throws     NumericalError where loss or gradients are not finite: layer and step are named, and the layer
///            keeps the numbers of the step before
template <Communicator Group>
bool heal_block(TrainableBlock<float>& layer, const HealFlow& flow, const HealSplit& split,
                const HealBlocksOptions& options, Index until, BlockTrainer& trainer, Group& group,
                AdamW<float>& optimizer, BlockHealState& state, const HealObserver& observer) {
    const auto& parameters = optimizer.parameters();
    const auto look = [&] {
        all_or_none(group, [&] {
            look_at(layer, flow, split, options, trainer, parameters, state);
            fall_back_if_worse(layer, options, state, optimizer);
        });
        if (observer) observer(state, optimizer);
    };
    if (state.healing.curve.empty()) look();
    const auto seed = options.seed + static_cast<std::uint64_t>(state.healing.layer);
    while (state.step < until && !is_done(state, options)) {
        const double begin = seconds_now();
        const auto batch = windows_of_step(split.training, state.step, options.batch_windows, seed);
        naming_place(concat("heal: layer ", state.healing.layer, ", step ", state.step + 1), [&] {
            state.training += heal_step(layer, flow, batch, options, trainer, group, optimizer);
        });
        ++state.step;
        if (state.step % balance_every == 0) {
            balance(layer, &optimizer);
            layer.refresh();
        }
        state.seconds += seconds_now() - begin;
        if (is_looked_at(state.step, options, state.healing)) look();
    }
    state.healing.seconds_per_step = state.seconds / static_cast<double>(state.step);
    if (!is_done(state, options)) return false;
    paste_values(state.best, parameters);
    layer.refresh();
    return true;
}

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_block_inl.hpp"
#endif

// The bodies of model/heal_block.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "mpo/core/random.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/compressed_config.hpp"
#include "mpo/model/heal_block.hpp"
#include "mpo/network/balance.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE std::vector<Index> first_indices(Index count) {
    std::vector<Index> all(static_cast<std::size_t>(count));
    std::iota(all.begin(), all.end(), Index{0});
    return all;
}

MPO_DETAIL_MODEL_INLINE std::vector<Index> windows_of_step(std::span<const Index> all, Index step,
                                                           Index batch, std::uint64_t seed) {
    const auto count = static_cast<Index>(all.size());
    std::vector<Index> result, order;
    Index drawn = -1;
    for (Index k = step * batch; k < (step + 1) * batch; ++k) {
        if (k / count != drawn) {
            drawn = k / count;
            order.assign(all.begin(), all.end());
            Random random(seed + 0x9E3779B97F4A7C15U * static_cast<std::uint64_t>(drawn + 1));
            for (Index j = count - 1; j > 0; --j)
                std::swap(order[static_cast<std::size_t>(j)],
                          order[static_cast<std::size_t>(random.below(j + 1))]);
        }
        result.push_back(order[static_cast<std::size_t>(k % count)]);
    }
    return result;
}

MPO_DETAIL_MODEL_INLINE std::vector<Index> part_of(const std::vector<Index>& batch, int rank,
                                                   int size) {
    std::vector<Index> part;
    for (auto k = static_cast<std::size_t>(rank); k < batch.size();
         k += static_cast<std::size_t>(size))
        part.push_back(batch[k]);
    return part;
}

MPO_DETAIL_MODEL_INLINE BlockTrainer::BlockTrainer(const TransformerConfig& config,
                                                   const WindowShape& batch)
    : batch_(batch),
      inputs_({batch.rows(), config.hidden_size}),
      targets_(inputs_.shape()),
      outputs_(inputs_.shape()),
      flowing_(inputs_.shape()),
      tape_(config, batch.rows()),
      gradients_(config, batch.rows()) {}

MPO_DETAIL_MODEL_INLINE BlockLossValue BlockTrainer::run(TrainableBlock<float>& layer,
                                                         const HealFlow& flow,
                                                         std::span<const Index> windows,
                                                         const RowWeights& weights,
                                                         double sink_weight, bool trains) {
    flow.gather(windows, inputs_, targets_);
    layer.apply(batch_, flow.angles(), inputs_, outputs_, tape_);
    const auto loss =
        block_loss(outputs_, targets_, weights, sink_weight, trains ? &flowing_ : nullptr);
    if (trains) layer.gradient(batch_, flow.angles(), inputs_, tape_, gradients_, flowing_);
    return loss;
}

/// Loss of all held-out windows as of one batch, as many at a time as a batch of training has.
[[nodiscard]] inline BlockLossValue held_out_loss(TrainableBlock<float>& layer,
                                                  const HealFlow& flow,
                                                  std::span<const Index> windows,
                                                  const HealBlocksOptions& options,
                                                  BlockTrainer& trainer) {
    const auto all = flow.weights(windows, options.left_out);
    const auto size = static_cast<std::size_t>(trainer.batch().windows);
    const auto length = static_cast<std::size_t>(flow.shape().length);
    BlockLossValue sum;
    for (std::size_t begin = 0; begin < windows.size(); begin += size) {
        const std::size_t end = (std::min)(begin + size, windows.size());
        std::vector<Index> part;
        for (std::size_t k = begin; k < end; ++k) part.push_back(windows[k]);
        part.resize(size, windows[begin]);  // a short batch is filled with rows that weigh nothing
        RowWeights weights;
        weights.append(all, begin * length, end * length);
        weights.resize(size * length);
        const auto loss = trainer.run(layer, flow, part, weights, options.sink_weight, false);
        sum.ordinary += loss.ordinary;
        sum.sinks += loss.sinks;
    }
    return sum;
}

MPO_DETAIL_MODEL_INLINE void balance(TrainableBlock<float>& layer, AdamW<float>* optimizer) {
    for (auto& linear : layer.linears()) {
        if (linear.form() != WeightForm::mpo || !linear.trains_weight()) continue;
        const auto factors = balance_bonds(linear.arrays());
        for (std::size_t k = 0; optimizer != nullptr && k < factors.size(); ++k)
            if (factors[k] != 1)
                optimizer->rescale(core_name(linear.name(), static_cast<Index>(k)), factors[k]);
    }
}

MPO_DETAIL_MODEL_INLINE void look_at(TrainableBlock<float>& layer, const HealFlow& flow,
                                     const HealSplit& split, const HealBlocksOptions& options,
                                     BlockTrainer& trainer, const Parameters<float>& parameters,
                                     BlockHealState& state) {
    const auto loss = held_out_loss(layer, flow, split.held_out, options, trainer);
    const double total = loss.total(options.sink_weight);
    if (!std::isfinite(total))
        raise<NumericalError>({"heal: layer ", state.healing.layer,
                               ": the held-out loss after step ", state.step, " is ", total});
    auto& curve = state.healing.curve;
    const double training = state.take_training_loss(curve.empty() ? 0 : curve.back().step);
    curve.push_back({state.step, training, loss.ordinary, loss.sinks});
    if (state.keep_if_best(total, parameters)) state.healing.best_step = state.step;
}

MPO_DETAIL_MODEL_INLINE AdamW<float> optimizer_of(const Parameters<float>& parameters,
                                                  const HealBlocksOptions& options,
                                                  const BlockHealing& healing) {
    auto adam = adam_of(options);
    for (const Index step : healing.fell_back) {
        adam.learning_rate.peak /= 4;
        adam.total_steps = options.steps - step;
    }
    return AdamW<float>(parameters, adam);
}

/// The step after which a layer has had its present rate.
[[nodiscard]] inline Index rate_begin(const BlockHealing& healing) {
    return healing.fell_back.empty() ? 0 : healing.fell_back.back();
}

MPO_DETAIL_MODEL_INLINE double tolerated_loss(const HealBlocksOptions& options,
                                              const BlockHealing& healing, Index step) {
    const Index begin = rate_begin(healing);
    return 2 * (step - begin) < options.steps - begin ? 1.1 : 1.0;
}

MPO_DETAIL_MODEL_INLINE void fall_back_if_worse(TrainableBlock<float>& layer,
                                                const HealBlocksOptions& options,
                                                BlockHealState& state, AdamW<float>& optimizer) {
    const auto& curve = state.healing.curve;
    const double first = curve.front().total(options.sink_weight);
    if (state.step >= options.steps ||
        curve.back().total(options.sink_weight) <=
            tolerated_loss(options, state.healing, state.step) * first)
        return;
    state.healing.fell_back.push_back(state.step);
    paste_values(state.best, optimizer.parameters());
    layer.refresh();
    optimizer = optimizer_of(optimizer.parameters(), options, state.healing);
}

MPO_DETAIL_MODEL_INLINE bool is_looked_at(Index step, const HealBlocksOptions& options,
                                          const BlockHealing& healing) {
    const Index begin = rate_begin(healing);
    const bool early = options.evaluate_every > 10 && step - begin == 10;
    return early || step % options.evaluate_every == 0 || step == options.steps;
}

MPO_DETAIL_MODEL_INLINE bool is_done(const BlockHealState& state,
                                     const HealBlocksOptions& options) {
    const auto& curve = state.healing.curve;
    const auto without_gain =
        std::count_if(curve.begin(), curve.end(),
                      [&](const HealPoint& point) { return point.step > state.healing.best_step; });
    return state.step >= options.steps ||
           (options.patience > 0 && without_gain >= options.patience);
}

}  // namespace mpo::detail

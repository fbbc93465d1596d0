// The bodies of model/token_speed.hpp that are no templates.
#pragma once

#include <algorithm>
#include <string>

#include "mpo/core/error.hpp"
#include "mpo/core/stopwatch.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/token_speed.hpp"

namespace mpo {
namespace detail {

/// Per token of a call of `batch`: those of the plan that is taken then, m n of a dense weight.
[[nodiscard]] inline Index multiply_adds_at(const Linear& linear, Index batch) {
    return linear.plans() != nullptr ? linear.plans()->plan_for(batch).multiply_adds_per_token()
                                     : linear.rows() * linear.cols();
}

/// Seconds of a pass of so many tokens through the layers, an empty cache before it.
[[nodiscard]] inline double median_pass(const Transformer& model, Index batch, int rounds) {
    std::vector<Index> tokens;
    for (Index k = 0; k < batch; ++k) tokens.push_back(k * 7919 % model.config().vocab_size);
    auto cache = model.make_cache(batch);
    Tensor<float> hidden({batch, model.config().hidden_size});
    std::vector<double> seconds;
    for (int round = 0; round <= rounds; ++round) {
        cache.truncate(0);
        const double begin = seconds_now();
        model.forward(tokens, cache, rows_of(hidden));
        if (round > 0) seconds.push_back(seconds_now() - begin);
    }
    std::sort(seconds.begin(), seconds.end());
    const auto half = seconds.size() / 2;
    return seconds.size() % 2 == 1 ? seconds[half] : (seconds[half - 1] + seconds[half]) / 2;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::vector<BatchCost> measure_batches(const Transformer& model,
                                                               const TokenSpeedOptions& options) {
    if (options.batches.empty() || options.rounds < 1 ||
        *std::min_element(options.batches.begin(), options.batches.end()) < 1)
        detail::raise<ArgumentError>(
            {"token speed: need batches of at least 1 token and at least 1 round, got ",
             options.batches.size(), " batches and ", options.rounds, " rounds"});
    std::vector<Index> batches;
    for (const Index batch : options.batches)
        batches.push_back((std::min)(batch, model.config().max_positions));
    std::sort(batches.begin(), batches.end());
    batches.erase(std::unique(batches.begin(), batches.end()), batches.end());
    std::vector<BatchCost> costs;
    for (const Index batch : batches) {
        BatchCost cost{batch, 0, 0};
        for (const auto& layer : model.layers())
            for (const Linear* linear :
                 {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
                cost.multiply_adds += detail::multiply_adds_at(*linear, batch);
        cost.ms_per_token =
            1e3 * detail::median_pass(model, batch, options.rounds) / static_cast<double>(batch);
        costs.push_back(cost);
    }
    return costs;
}

MPO_DETAIL_MODEL_INLINE ModelCost measure_cost(const std::filesystem::path& path,
                                               const TokenSpeedOptions& options,
                                               const EigenBackend& backend) {
    ModelCost cost;
    if (is_compressed(path)) {
        const CompressedCheckpoint stored(path);
        cost.parameters = stored.num_parameters();
        cost.bytes = stored.checkpoint().bytes();
    } else {
        const Checkpoint stored(path);
        cost.parameters = stored.num_parameters();
        cost.bytes = stored.bytes();
    }
    TransformerOptions model_options;
    model_options.dense_cache = DenseCache::forbid;
    cost.batches = measure_batches(Transformer(path, model_options, backend), options);
    return cost;
}

}  // namespace mpo

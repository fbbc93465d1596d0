// What a token costs in a decoder: multiply-adds as its linears are applied, and measured time.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/stopwatch.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/model_cost.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

/// What is measured, and how often.
struct TokenSpeedOptions {
    std::vector<Index> batches = {1, 512};  // tokens in one call; cut to the context of the model
    int rounds = 5;                         // passes whose median counts, behind one that does not
};

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

/// Multiply-adds and time per token of the layers of a decoder, its head and its embedding left out: they are the
/// same in every form of it. Time holds attention and norms, multiply-adds are those of the linears.
///
/// options   batches >= 1, one that exceeds the context is cut to it; rounds >= 1
/// returns   one entry per batch, ascending, none twice
/// cost      rounds + 1 passes per batch
/// throws    ArgumentError (options)
[[nodiscard]] inline std::vector<BatchCost> measure_batches(const Transformer& model,
                                                            const TokenSpeedOptions& options = {}) {
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

/// The same of the decoder in a checkpoint, with what it stores. Chains are applied as such: dense weights that would
/// be faster are not kept, for a model of that size is another one.
///
/// throws   as Transformer and measure_batches
[[nodiscard]] inline ModelCost measure_cost(const std::filesystem::path& path,
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

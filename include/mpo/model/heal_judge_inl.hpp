// The bodies of model/heal_judge.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/head_loss.hpp"
#include "mpo/model/heal_judge.hpp"
#include "mpo/model/kv_cache.hpp"
#include "mpo/model/rotary.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE HealJudge::HealJudge(WeightReader& dense, const TransformerConfig& config,
                                             const TrainingWindows& windows,
                                             const EigenBackend& backend)
    : reader_(dense),
      config_(config),
      backend_(backend),
      length_(windows.length),
      dense_({windows.count() * windows.length, config.hidden_size}) {
    const Index n = config.hidden_size;
    {
        const auto embedding = dense.read("model.embed_tokens.weight", {config.vocab_size, n});
        float* to = dense_.data();
        for (const Index id : windows.tokens) to = std::copy_n(embedding.data() + id * n, n, to);
    }
    run_rest(0, dense_);
}

MPO_DETAIL_MODEL_INLINE std::vector<double> HealJudge::divergences(Index layer,
                                                                   Tensor<float> states) const {
    run_rest(layer + 1, states);
    const Index total = dense_.extent(0), n = dense_.extent(1), vocab = config_.vocab_size;
    const auto W = reader_.read(config_.tied_head ? "model.embed_tokens.weight" : "lm_head.weight",
                                {vocab, n});
    const HeadWeight<float> head(matrix(W.data(), vocab, n));
    Tensor<float> of_dense({rows_at_once, vocab}), of_model({rows_at_once, vocab});
    std::vector<double> of_positions(static_cast<std::size_t>(total));
    for (Index first = 0; first < total; first += rows_at_once) {
        const Index rows = (std::min)(rows_at_once, total - first);
        const auto predict = [&](const Tensor<float>& hidden, Tensor<float>& logits) {
            head.logits(matrix<const float>(hidden.data() + first * n, rows, n),
                        matrix(logits.data(), rows, vocab), backend_);
        };
        predict(dense_, of_dense);
        predict(states, of_model);
        parallel_for(0, rows, 1, [&](Index begin, Index end) {
            for (Index k = begin; k < end; ++k) {
                const float *p = of_dense.data() + k * vocab, *q = of_model.data() + k * vocab;
                of_positions[static_cast<std::size_t>(first + k)] =
                    detail::divergence(vocab, p, log_sum_exp(vocab, p), q, log_sum_exp(vocab, q));
            }
        });
    }
    std::vector<double> means;
    for (auto at = of_positions.begin(); at != of_positions.end(); at += length_) {
        means.push_back(std::accumulate(at, at + length_, 0.0) / static_cast<double>(length_));
        if (!std::isfinite(means.back()))
            raise<NumericalError>({"heal: behind layer ", layer,
                                   " the divergence of held-out window ", means.size() - 1, " is ",
                                   means.back()});
    }
    return means;
}

MPO_DETAIL_MODEL_INLINE void HealJudge::run_rest(Index first, Tensor<float>& states) const {
    const Index n = config_.hidden_size;
    const RotaryTable table(config_.rotary, 0, length_);
    KvCache cache(1, config_.num_kv_heads, config_.head_dim, length_);
    Activations activations(config_, length_);
    for (Index k = first; k < config_.num_layers; ++k) {
        const auto layer = read_layer(reader_, config_, k);
        for (Index row = 0; row < states.extent(0); row += length_) {
            cache.truncate(0);
            run_block(layer, config_, {table, cache, 0}, activations,
                      matrix(states.data() + row * n, length_, n), backend_, {});
        }
    }
    normalize_rows(rows_of(states), reader_.read("model.norm.weight", {n}), config_,
                   rows_of(states));
}

}  // namespace mpo::detail

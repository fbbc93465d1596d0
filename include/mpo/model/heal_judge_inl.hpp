// The bodies of model/heal_judge.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/heal_judge.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE HealJudge::HealJudge(WeightReader& dense, const TransformerConfig& config,
                                             const TrainingWindows& windows,
                                             const EigenBackend& backend)
    : reader_(dense),
      config_(config),
      backend_(backend),
      length_(windows.length),
      table_(config.rotary, 0, length_),
      cache_(1, config.num_kv_heads, config.head_dim, length_),
      activations_(config, length_),
      norm_(dense.read("model.norm.weight", {config.hidden_size})),
      head_(dense.linear(config.tied_head ? "model.embed_tokens" : "lm_head", config.vocab_size,
                         config.hidden_size, false)),
      of_dense_({rows_at_once, config.vocab_size}),
      of_model_(of_dense_) {
    const Index n = config.hidden_size;
    const auto embedding = dense.read("model.embed_tokens.weight", {config.vocab_size, n});
    Tensor<float> states({windows.count() * length_, n});
    float* to = states.data();
    for (const Index id : windows.tokens) to = std::copy_n(embedding.data() + id * n, n, to);
    dense_.push_back(std::move(states));
    run_rest(0, dense_);
}

MPO_DETAIL_MODEL_INLINE std::vector<double> HealJudge::divergences(
    Index layer, std::vector<Tensor<float>> states) {
    run_rest(layer + 1, states);
    const Index total = dense_.front().extent(0), vocab = config_.vocab_size;
    std::vector<std::vector<double>> of_rows(states.size());
    for (auto& rows : of_rows) rows.resize(static_cast<std::size_t>(total));
    std::vector<double> log_sums(rows_at_once);
    for (Index first = 0; first < total; first += rows_at_once) {
        const Index rows = (std::min)(rows_at_once, total - first);
        const auto each_row = [&](const auto& body) {
            parallel_for(0, rows, 1, [&](Index begin, Index end) {
                for (Index k = begin; k < end; ++k) body(static_cast<std::size_t>(k), k * vocab);
            });
        };
        predict(dense_.front(), first, rows, of_dense_);
        each_row([&](std::size_t k, Index at) {
            log_sums[k] = log_sum_exp(vocab, of_dense_.data() + at);
        });
        for (std::size_t m = 0; m < states.size(); ++m) {
            predict(states[m], first, rows, of_model_);
            each_row([&](std::size_t k, Index at) {
                const float* x = of_model_.data() + at;
                of_rows[m][static_cast<std::size_t>(first) + k] =
                    divergence(vocab, of_dense_.data() + at, log_sums[k], x, log_sum_exp(vocab, x));
            });
        }
    }
    std::vector<double> means;
    for (const auto& rows : of_rows) {
        means.push_back(std::accumulate(rows.begin(), rows.end(), 0.0) /
                        static_cast<double>(total));
        if (!std::isfinite(means.back()))
            raise<NumericalError>({"heal: behind layer ", layer,
                                   " the divergence of held-out windows is ", means.back()});
    }
    return means;
}

MPO_DETAIL_MODEL_INLINE void HealJudge::run_rest(Index first, std::vector<Tensor<float>>& models) {
    const Index n = config_.hidden_size;
    for (Index k = first; k < config_.num_layers; ++k) {
        const auto layer = read_layer(reader_, config_, k);
        for (auto& states : models)
            for (Index row = 0; row < states.extent(0); row += length_) {
                cache_.truncate(0);
                run_block(layer, config_, {table_, cache_, 0}, activations_,
                          matrix(states.data() + row * n, length_, n), backend_, {});
            }
    }
    for (auto& states : models) normalize_rows(rows_of(states), norm_, config_, rows_of(states));
}

MPO_DETAIL_MODEL_INLINE void HealJudge::predict(const Tensor<float>& hidden, Index first,
                                                Index rows, Tensor<float>& logits) const {
    const Index n = config_.hidden_size;
    head_.apply(matrix<const float>(hidden.data() + first * n, rows, n),
                matrix(logits.data(), rows, config_.vocab_size));
}

}  // namespace mpo::detail

// The bodies of model/profile_probe.hpp that are no templates.
#pragma once

#include <cmath>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/evaluate.hpp"
#include "mpo/model/profile_probe.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE LinearProbe::LinearProbe(const std::filesystem::path& path,
                                                 std::vector<CalibrationWindow> windows,
                                                 const TransformerOptions& options,
                                                 const EigenBackend& backend)
    : backend_(backend), options_(options), windows_(std::move(windows)) {
    WeightReader reader(path, options_, backend);
    config_ = transformer_config(reader.checkpoint());
    longest_ = require_windows(windows_, config_);
    weights_ = read_weights(reader, config_);
    table_.emplace(config_.rotary, 0, longest_);
    cache_.emplace(1, config_.num_kv_heads, config_.head_dim, longest_);
    logits_ = Tensor<float>({rows_at_once, config_.vocab_size});
    embed();
    remember_logits();
}

MPO_DETAIL_MODEL_INLINE Index LinearProbe::scored() const {
    Index count = 0;
    for (const auto& x : states_) count += x.extent(0) - 1;
    return count;
}

MPO_DETAIL_MODEL_INLINE const Linear& LinearProbe::linear(const std::string& name) const {
    const auto& layer = layer_at(layer_);
    for (const Linear* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
        if (linear->name() == name) return *linear;
    raise<ArgumentError>({"profile: ", in_quotes(name), " is no linear of layer ", layer_});
}

MPO_DETAIL_MODEL_INLINE void LinearProbe::advance() {
    for (auto& x : states_) run_layer(layer_, BlockLinears(layer_at(layer_)), rows_of(x));
    ++layer_;
}

MPO_DETAIL_MODEL_INLINE Estimate LinearProbe::kld(const Linear& replacement) {
    BlockLinears linears(layer_at(layer_));
    for (const Linear** linear : {&linears.q, &linears.k, &linears.v, &linears.o, &linears.gate,
                                  &linears.up, &linears.down})
        if ((*linear)->name() == replacement.name()) *linear = &replacement;
    std::vector<double> samples(static_cast<std::size_t>(scored()));
    std::size_t at = 0;
    for (std::size_t w = 0; w < states_.size(); ++w) {
        Tensor<float> x = states_[w];
        run_layer(layer_, linears, rows_of(x));
        run_rest(layer_ + 1, x);
        visit_logits(x, [&](Index row, const float* logits) {
            samples[at + static_cast<std::size_t>(row)] = divergence_from(w, row, logits);
        });
        at += static_cast<std::size_t>(x.extent(0)) - 1;
    }
    for (std::size_t k = 0; k < samples.size(); ++k)
        if (!std::isfinite(samples[k]))
            raise<NumericalError>({"profile: with a low rank for ", replacement.name(),
                                   " the prediction of token ", k, " is no number"});
    return estimate(samples);
}

MPO_DETAIL_MODEL_INLINE void LinearProbe::embed() {
    for (const auto& window : windows_) {
        Tensor<float> x({static_cast<Index>(window.tokens.size()), config_.hidden_size});
        for (std::size_t t = 0; t < window.tokens.size(); ++t)
            weights_.embedding.read_row(window.tokens[t],
                                        x.data() + static_cast<Index>(t) * config_.hidden_size);
        states_.push_back(std::move(x));
    }
}

MPO_DETAIL_MODEL_INLINE void LinearProbe::remember_logits() {
    for (const auto& state : states_) {
        Tensor<float> x = state;
        run_rest(0, x);
        Tensor<float> kept({x.extent(0) - 1, config_.vocab_size});
        std::vector<double> log_sums(static_cast<std::size_t>(x.extent(0) - 1));
        visit_logits(x, [&](Index row, const float* logits) {
            std::copy_n(logits, config_.vocab_size, kept.data() + row * config_.vocab_size);
            log_sums[static_cast<std::size_t>(row)] = log_sum_exp(config_.vocab_size, logits);
        });
        for (std::size_t t = 0; t < log_sums.size(); ++t)
            if (!std::isfinite(log_sums[t]))
                raise<NumericalError>({"profile: in window ", dense_.size(),
                                       " the prediction of token ", t + 1, " is no number"});
        dense_.push_back({std::move(kept), std::move(log_sums)});
    }
}

MPO_DETAIL_MODEL_INLINE void LinearProbe::run_layer(Index layer, const BlockLinears& linears,
                                                    MatrixView<float> x) {
    if (!activations_ || activations_->normed.extent(0) != x.rows) {
        activations_.reset();
        activations_.emplace(config_, x.rows);
    }
    run_block(layer_at(layer), linears, config_, {*table_, *cache_, 0}, *activations_, x, backend_);
}

MPO_DETAIL_MODEL_INLINE void LinearProbe::run_rest(Index first, Tensor<float>& x) {
    for (Index k = first; k < config_.num_layers; ++k)
        run_layer(k, BlockLinears(layer_at(k)), rows_of(x));
    normalize_rows(rows_of(x), weights_.norm, config_, rows_of(x));
}

MPO_DETAIL_MODEL_INLINE double LinearProbe::divergence_from(std::size_t window, Index row,
                                                            const float* logits) const {
    const Index vocab = config_.vocab_size;
    const auto& dense = dense_[window];
    const double kld = divergence(vocab, dense.logits.data() + row * vocab,
                                  dense.log_sums[static_cast<std::size_t>(row)], logits,
                                  log_sum_exp(vocab, logits));
    return kld < 0 ? 0 : kld;  // rounding; NaN stays
}

}  // namespace mpo::detail

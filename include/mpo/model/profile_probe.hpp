// What one linear does to the distribution of a decoder: the dense decoder over a few windows, layer by layer, and
// from the states before a layer on the rest of it with one linear replaced.
//
// In memory are the dense weights, of every token the state and its log-probabilities, (tokens, vocab) floats, and
// the activations of one window.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/evaluate.hpp"
#include "mpo/model/kv_cache.hpp"
#include "mpo/model/rotary.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo::detail {

class LinearProbe {
  public:
    /// Before the first layer. Throws as calibration windows and the constructor of Transformer do.
    LinearProbe(const std::filesystem::path& path, std::vector<CalibrationWindow> windows,
                const TransformerOptions& options, const EigenBackend& backend)
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
    LinearProbe(const LinearProbe&) = delete;
    LinearProbe& operator=(const LinearProbe&) = delete;
    ~LinearProbe() = default;

    /// Tokens that are predicted.
    [[nodiscard]] Index scored() const {
        Index count = 0;
        for (const auto& x : states_) count += x.extent(0) - 1;
        return count;
    }
    /// The layer that it stands before.
    [[nodiscard]] Index layer() const { return layer_; }
    /// A linear of that layer. Throws ArgumentError for others.
    [[nodiscard]] const Linear& linear(const std::string& name) const {
        const auto& layer = layer_at(layer_);
        for (const Linear* linear :
             {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
            if (linear->name() == name) return *linear;
        raise<ArgumentError>({"profile: ", in_quotes(name), " is no linear of layer ", layer_});
    }
    /// Behind the layer.
    void advance() {
        for (auto& x : states_) run_layer(layer_, BlockLinears(layer_at(layer_)), rows_of(x));
        ++layer_;
    }

    /// Divergence of the dense model from itself with `replacement` in the place of the linear of its name, a
    /// linear of this layer; over all scored tokens.
    [[nodiscard]] Estimate kld(const Linear& replacement) {
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

  private:
    static constexpr Index rows_at_once = 64;

    [[nodiscard]] const DecoderLayer& layer_at(Index layer) const {
        return weights_.layers.at(static_cast<std::size_t>(layer));
    }
    void embed() {
        for (const auto& window : windows_) {
            Tensor<float> x({static_cast<Index>(window.tokens.size()), config_.hidden_size});
            for (std::size_t t = 0; t < window.tokens.size(); ++t)
                weights_.embedding.read_row(window.tokens[t],
                                            x.data() + static_cast<Index>(t) * config_.hidden_size);
            states_.push_back(std::move(x));
        }
    }
    void remember_logits() {
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
    void run_layer(Index layer, const BlockLinears& linears, MatrixView<float> x) {
        if (!activations_ || activations_->normed.extent(0) != x.rows) {
            activations_.reset();
            activations_.emplace(config_, x.rows);
        }
        run_block(layer_at(layer), linears, config_, {*table_, *cache_, 0}, *activations_, x,
                  backend_);
    }
    /// The layers from `first` on and the last norm.
    void run_rest(Index first, Tensor<float>& x) {
        for (Index k = first; k < config_.num_layers; ++k)
            run_layer(k, BlockLinears(layer_at(k)), rows_of(x));
        normalize_rows(rows_of(x), weights_.norm, config_, rows_of(x));
    }
    /// visit(row, logits) of every row but the last, from several threads.
    template <class Visit>
    void visit_logits(const Tensor<float>& hidden, Visit&& visit) {
        const Index width = hidden.extent(1), count = hidden.extent(0) - 1;
        const Index vocab = config_.vocab_size;
        for (Index first = 0; first < count; first += rows_at_once) {
            const Index rows = (std::min)(rows_at_once, count - first);
            const auto X = matrix<const float>(hidden.data() + first * width, rows, width);
            const auto Y = matrix(logits_.data(), rows, vocab);
            if (weights_.head)
                weights_.head->apply(X, Y);
            else
                weights_.embedding.apply(X, Y, backend_);
            parallel_for(0, rows, 1, [&](Index begin, Index end) {
                for (Index k = begin; k < end; ++k) visit(first + k, logits_.data() + k * vocab);
            });
        }
    }
    [[nodiscard]] double divergence_from(std::size_t window, Index row, const float* logits) const {
        const Index vocab = config_.vocab_size;
        const auto& dense = dense_[window];
        const double kld = divergence(vocab, dense.logits.data() + row * vocab,
                                      dense.log_sums[static_cast<std::size_t>(row)], logits,
                                      log_sum_exp(vocab, logits));
        return kld < 0 ? 0 : kld;  // rounding; NaN stays
    }

    /// What the dense model predicts in a window.
    struct DenseLogits {
        Tensor<float> logits;          // (tokens - 1, vocab)
        std::vector<double> log_sums;  // of every row
    };

    const EigenBackend& backend_;
    TransformerOptions options_;
    std::vector<CalibrationWindow> windows_;
    TransformerConfig config_;
    TransformerWeights weights_;
    Index longest_ = 0, layer_ = 0;
    std::optional<RotaryTable> table_;
    std::optional<KvCache> cache_;
    std::optional<Activations> activations_;
    std::vector<Tensor<float>> states_;  // (tokens, hidden) of every window, before the layer
    std::vector<DenseLogits> dense_;
    Tensor<float> logits_;
};

}  // namespace mpo::detail

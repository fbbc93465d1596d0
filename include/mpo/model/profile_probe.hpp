// What one linear does to the distribution of a decoder: the dense decoder over a few windows, layer by layer, and
// from the states before a layer on the rest of it with one linear replaced.
//
// In memory are the dense weights, of every token the state and its log-probabilities, (tokens, vocab) floats, and
// the activations of one window.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/evaluate_results.hpp"
#include "mpo/model/kv_cache.hpp"
#include "mpo/model/rotary.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo::detail {

class LinearProbe {
  public:
    /// Before the first layer. Throws as calibration windows and the constructor of Transformer do.
    LinearProbe(const std::filesystem::path& path, std::vector<CalibrationWindow> windows,
                const TransformerOptions& options, const EigenBackend& backend);
    LinearProbe(const LinearProbe&) = delete;
    LinearProbe& operator=(const LinearProbe&) = delete;
    ~LinearProbe() = default;

    /// Tokens that are predicted.
    [[nodiscard]] Index scored() const;
    /// The layer that it stands before.
    [[nodiscard]] Index layer() const { return layer_; }
    /// A linear of that layer. Throws ArgumentError for others.
    [[nodiscard]] const Linear& linear(const std::string& name) const;
    /// Behind the layer.
    void advance();

    /// Divergence of the dense model from itself with `replacement` in the place of the linear of its name, a
    /// linear of this layer; over all scored tokens.
    [[nodiscard]] Estimate kld(const Linear& replacement);

  private:
    static constexpr Index rows_at_once = 64;

    [[nodiscard]] const DecoderLayer& layer_at(Index layer) const {
        return weights_.layers.at(static_cast<std::size_t>(layer));
    }
    void embed();
    void remember_logits();
    void run_layer(Index layer, const BlockLinears& linears, MatrixView<float> x);
    /// The layers from `first` on and the last norm.
    void run_rest(Index first, Tensor<float>& x);
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
    [[nodiscard]] double divergence_from(std::size_t window, Index row, const float* logits) const;

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

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/profile_probe_inl.hpp"
#endif

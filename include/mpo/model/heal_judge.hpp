// HealJudge: what healed layers do to words. From the states behind a layer held-out windows go on through the dense
// model's remaining layers, and what comes out is set beside the dense model's own predictions:
//
//   divergence = mean over positions of sum over tokens of p (log p - log q)      in nats
//
// with p of the dense model, q of the model whose layers up to this one are healed and whose others are dense. The
// loss of a layer's states weighs all directions of a state alike; words do not.
#pragma once

#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/kv_cache.hpp"
#include "mpo/model/linear.hpp"
#include "mpo/model/rotary.hpp"
#include "mpo/model/training_windows.hpp"
#include "mpo/model/transformer_config.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo::detail {

class HealJudge {
  public:
    /// Runs the dense model over the windows.
    ///
    /// dense     is asked for one layer at a time, here and later; outlives the judge, as the config does
    /// memory    states and those of the dense model, (tokens, hidden) floats each; the head; one layer
    HealJudge(WeightReader& dense, const TransformerConfig& config, const TrainingWindows& windows,
              const EigenBackend& backend);
    HealJudge(const HealJudge&) = delete;
    HealJudge& operator=(const HealJudge&) = delete;
    ~HealJudge() = default;

    /// Divergences of some models that are dense behind a layer.
    ///
    /// states   of every model, (tokens, hidden) of all windows behind the layer; none: the dense model's
    /// cost     every dense layer behind it once for all models; of each model forward from there, and the head; the
    ///          head of the dense model once
    /// throws   NumericalError where one is no number
    [[nodiscard]] std::vector<double> divergences(Index layer, std::vector<Tensor<float>> states);

  private:
    static constexpr Index rows_at_once = 64;

    /// The dense layers from `first` on and the last norm, window by window.
    void run_rest(Index first, std::vector<Tensor<float>>& models);
    /// Logits of some rows.
    void predict(const Tensor<float>& hidden, Index first, Index rows, Tensor<float>& logits) const;

    WeightReader& reader_;
    const TransformerConfig& config_;
    const EigenBackend& backend_;
    Index length_;
    RotaryTable table_;
    KvCache cache_;
    Activations activations_;
    Tensor<float> norm_;
    Linear head_;
    std::vector<Tensor<float>> dense_;  // one: before the head, normed
    Tensor<float> of_dense_, of_model_;
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_judge_inl.hpp"
#endif

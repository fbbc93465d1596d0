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
#include "mpo/model/training_windows.hpp"
#include "mpo/model/transformer_config.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo::detail {

/// Between two calls it holds nothing but the dense model's states: others train meanwhile.
class HealJudge {
  public:
    /// Runs the dense model over the windows.
    ///
    /// dense   is asked for the head and for one layer at a time, here and later; outlives the judge, as the config does
    HealJudge(WeightReader& dense, const TransformerConfig& config, const TrainingWindows& windows,
              const EigenBackend& backend);
    HealJudge(const HealJudge&) = delete;
    HealJudge& operator=(const HealJudge&) = delete;
    ~HealJudge() = default;

    /// Divergence of a model that is dense behind a layer, of every window.
    ///
    /// states   its own, (tokens, hidden) of all windows behind the layer
    /// cost     forward through the layers behind, the head twice
    /// memory   the head, one layer
    /// throws   NumericalError where one is no number
    [[nodiscard]] std::vector<double> divergences(Index layer, Tensor<float> states) const;

  private:
    static constexpr Index rows_at_once = 64;

    /// The dense layers from `first` on and the last norm, window by window.
    void run_rest(Index first, Tensor<float>& states) const;

    WeightReader& reader_;
    const TransformerConfig& config_;
    const EigenBackend& backend_;
    Index length_;
    Tensor<float> dense_;  // (tokens, hidden) before the head, normed
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_judge_inl.hpp"
#endif

// One flow of a calibration: the states of all texts before a stage, and what the stage's linears read of them.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/attention.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/kv_cache.hpp"
#include "mpo/model/rotary.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo::detail {

/// What a layer needs beside states and linears.
struct BlockContext {
    const TransformerConfig& config;
    const DecoderLayer& block;  // its norms
    const RotaryTable& table;   // of the longest text
    KvCache& cache;             // of one layer, as long
    const EigenBackend& backend;
};

class CalibrationFlow {
  public:
    std::vector<Tensor<float>>
        states;  // (tokens, hidden) of every text, before the stage's linears

    [[nodiscard]] Index tokens(std::size_t text) const { return states[text].extent(0); }

    /// Takes the states of another over.
    void copy(const CalibrationFlow& other);

    /// What the stage's linears read of a text; valid until the next call, or until they are applied.
    [[nodiscard]] const Tensor<float>& inputs(BlockStage stage, const BlockContext& at,
                                              const BlockLinears& linears, std::size_t text);

    /// The update (tokens, hidden) that o or down makes of its inputs X.
    [[nodiscard]] const Tensor<float>& update(const Linear& writer, const Tensor<float>& X,
                                              const BlockContext& at);

    /// q, k and v are applied: what o reads is kept.
    void attend(const BlockContext& at, const BlockLinears& linears);

    /// o or down is applied and added.
    void add_updates(BlockStage stage, const BlockContext& at, const BlockLinears& linears);
    void forget_attended() { attended_.clear(); }

  private:
    /// They are made again only where a text has another length.
    [[nodiscard]] Activations& activations(const TransformerConfig& config, Index tokens);

    std::vector<Tensor<float>> attended_;  // (tokens, heads head_dim); at the stage of o alone
    std::optional<Activations> activations_;
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/calibration_flow_inl.hpp"
#endif

// The bodies of model/calibration_flow.hpp that are no templates.
#pragma once

#include "mpo/io/inline.hpp"
#include "mpo/model/calibration_flow.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void CalibrationFlow::copy(const CalibrationFlow& other) {
    states = other.states;
    attended_ = other.attended_;
}

MPO_DETAIL_MODEL_INLINE const Tensor<float>& CalibrationFlow::inputs(BlockStage stage,
                                                                     const BlockContext& at,
                                                                     const BlockLinears& linears,
                                                                     std::size_t text) {
    if (stage == BlockStage::output) return attended_[text];
    auto& a = activations(at.config, tokens(text));
    if (stage == BlockStage::attention) {
        attention_inputs(at.block, at.config, rows_of(states[text]), a);
        return a.normed;
    }
    mlp_inputs(at.block, at.config, rows_of(states[text]), a);
    if (stage == BlockStage::mlp) return a.normed;
    down_inputs(linears, a);
    return a.gate;
}

MPO_DETAIL_MODEL_INLINE const Tensor<float>& CalibrationFlow::update(const Linear& writer,
                                                                     const Tensor<float>& X,
                                                                     const BlockContext& at) {
    auto& a = activations(at.config, X.extent(0));
    apply_linears({&writer}, X, {&a.update}, {});
    return a.update;
}

MPO_DETAIL_MODEL_INLINE void CalibrationFlow::attend(const BlockContext& at,
                                                     const BlockLinears& linears) {
    attended_.resize(states.size());
    for (std::size_t text = 0; text < states.size(); ++text) {
        auto& a = activations(at.config, tokens(text));
        attention_inputs(at.block, at.config, rows_of(states[text]), a);
        output_inputs(linears, at.config, {at.table, at.cache, 0}, a, at.backend);
        attended_[text] = a.attended;
    }
}

MPO_DETAIL_MODEL_INLINE void CalibrationFlow::add_updates(BlockStage stage, const BlockContext& at,
                                                          const BlockLinears& linears) {
    const Linear& writer = stage == BlockStage::output ? *linears.o : *linears.down;
    for (std::size_t text = 0; text < states.size(); ++text)
        add_rows(update(writer, inputs(stage, at, linears, text), at), rows_of(states[text]));
    forget_attended();
}

MPO_DETAIL_MODEL_INLINE Activations& CalibrationFlow::activations(const TransformerConfig& config,
                                                                  Index tokens) {
    if (!activations_ || activations_->normed.extent(0) != tokens) {
        activations_.reset();
        activations_.emplace(config, tokens);
    }
    return *activations_;
}

}  // namespace mpo::detail

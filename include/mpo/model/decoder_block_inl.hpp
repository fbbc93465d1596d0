// The bodies of model/decoder_block.hpp that are no templates.
#pragma once

#include <cmath>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/attention.hpp"
#include "mpo/model/decoder_block.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::vector<std::string> linears_of(Index layer, BlockStage stage) {
    const std::string at = detail::concat("model.layers.", layer, ".");
    switch (stage) {
        case BlockStage::attention:
            return {at + "self_attn.q_proj", at + "self_attn.k_proj", at + "self_attn.v_proj"};
        case BlockStage::output:
            return {at + "self_attn.o_proj"};
        case BlockStage::mlp:
            return {at + "mlp.gate_proj", at + "mlp.up_proj"};
        case BlockStage::down:
            return {at + "mlp.down_proj"};
    }
    return {};
}

MPO_DETAIL_MODEL_INLINE Index inputs_of(const TransformerConfig& config, BlockStage stage) {
    if (stage == BlockStage::output) return config.num_heads * config.head_dim;
    return stage == BlockStage::down ? config.intermediate_size : config.hidden_size;
}

namespace detail {

MPO_DETAIL_MODEL_INLINE Activations::Activations(const TransformerConfig& config, Index tokens)
    : normed({tokens, config.hidden_size}),
      queries({tokens, config.num_heads * config.head_dim}),
      keys({tokens, config.num_kv_heads * config.head_dim}),
      values(keys.shape()),
      attended(queries.shape()),
      gate({tokens, config.intermediate_size}),
      up(gate.shape()),
      update({tokens, config.hidden_size}) {}

MPO_DETAIL_MODEL_INLINE Index Activations::bytes_per_token(const TransformerConfig& config) {
    const Index heads = 2 * config.num_heads + 4 * config.num_kv_heads;
    return static_cast<Index>(sizeof(float)) *
           (2 * config.hidden_size + heads * config.head_dim + 2 * config.intermediate_size);
}

MPO_DETAIL_MODEL_INLINE void normalize_rows(MatrixView<const float> x, const Tensor<float>& weight,
                                            const TransformerConfig& config, MatrixView<float> y) {
    const auto epsilon = static_cast<float>(config.rms_norm_eps);
    for_rows(x.rows, x.cols, [&](Index r) {
        normalize_row(x.cols, x.data + r * x.cols, weight.data(), epsilon, y.data + r * x.cols);
    });
}

MPO_DETAIL_MODEL_INLINE void add_rows(const Tensor<float>& update, MatrixView<float> x) {
    for_rows(x.rows, x.cols,
             [&](Index r) { add_row(x.cols, update.data() + r * x.cols, x.data + r * x.cols); });
}

MPO_DETAIL_MODEL_INLINE void apply_linears(std::initializer_list<const Linear*> linears,
                                           const Tensor<float>& X,
                                           std::initializer_list<Tensor<float>*> Y,
                                           const LinearObserver& observer) {
    for (const Linear* linear : linears)
        if (observer) observer(linear->name(), as_matrix(X.view()));
    std::vector<MatrixView<float>> results;
    for (Tensor<float>* tensor : Y) results.push_back(rows_of(*tensor));
    Linear::apply_together({linears.begin(), linears.size()}, as_matrix(X.view()), results);
}

MPO_DETAIL_MODEL_INLINE BlockLinears::BlockLinears(const DecoderLayer& layer)
    : q(&layer.q),
      k(&layer.k),
      v(&layer.v),
      o(&layer.o),
      gate(&layer.gate),
      up(&layer.up),
      down(&layer.down) {}

MPO_DETAIL_MODEL_INLINE void output_inputs(const BlockLinears& layer,
                                           const TransformerConfig& config, const BlockPosition& at,
                                           Activations& a, const EigenBackend& backend,
                                           const LinearObserver& observer) {
    const Index tokens = a.normed.extent(0), width = a.queries.extent(1);
    apply_linears({layer.q, layer.k, layer.v}, a.normed, {&a.queries, &a.keys, &a.values},
                  observer);
    const float scale = 1 / std::sqrt(static_cast<float>(config.head_dim));
    for_rows(tokens, width, [&](Index r) {
        at.table.rotate(r, config.num_heads, scale, a.queries.data() + r * width);
        at.table.rotate(r, config.num_kv_heads, 1, a.keys.data() + r * a.keys.extent(1));
    });
    at.cache.store(at.layer, tokens, a.keys.data(), a.values.data());
    attend(a.queries.data(), tokens, config.num_heads, at.cache, at.layer, a.attended.data(),
           backend);
}

MPO_DETAIL_MODEL_INLINE void down_inputs(const BlockLinears& layer, Activations& a,
                                         const LinearObserver& observer) {
    apply_linears({layer.gate, layer.up}, a.normed, {&a.gate, &a.up}, observer);
    const Index n = a.gate.extent(1);
    for_rows(a.gate.extent(0), n,
             [&](Index r) { silu_multiply(n, a.gate.data() + r * n, a.up.data() + r * n); });
}

MPO_DETAIL_MODEL_INLINE void run_block(const DecoderLayer& layer, const BlockLinears& linears,
                                       const TransformerConfig& config, const BlockPosition& at,
                                       Activations& a, MatrixView<float> x,
                                       const EigenBackend& backend,
                                       const LinearObserver& observer) {
    attention_inputs(layer, config, x, a);
    output_inputs(linears, config, at, a, backend, observer);
    apply_linears({linears.o}, a.attended, {&a.update}, observer);
    add_rows(a.update, x);
    mlp_inputs(layer, config, x, a);
    down_inputs(linears, a, observer);
    apply_linears({linears.down}, a.gate, {&a.update}, observer);
    add_rows(a.update, x);
}

}  // namespace detail

}  // namespace mpo

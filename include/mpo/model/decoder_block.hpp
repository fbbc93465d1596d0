// One layer of a decoder, forward, in four stages: between them lies what the linears of the next stage read.
// A stage makes the inputs of some linears, then applies these to them:
//
//   attention   n = rmsnorm(x)                               -> q, k, v
//   output      a = attention(rotate(q), rotate(k), v)       -> o,      x += o(a)
//   mlp         n = rmsnorm(x)                               -> gate, up
//   down        h = silu(gate) up                            -> down,   x += down(h)
//
// A decoder runs through them (transformer.hpp), calibration stops at each (calibrate.hpp).
#pragma once

#include <array>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/attention.hpp"
#include "mpo/model/kv_cache.hpp"
#include "mpo/model/linear.hpp"
#include "mpo/model/rotary.hpp"
#include "mpo/model/transformer_config.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo {

/// Hears of every linear before it is applied: its name, and its inputs (tokens, in).
using LinearObserver = std::function<void(const std::string& linear, MatrixView<const float> X)>;

/// Stages of a layer, by what their linears do: q, k, v; o; gate, up; down.
enum class BlockStage { attention, output, mlp, down };

/// All stages, in order.
inline constexpr std::array block_stages{BlockStage::attention, BlockStage::output, BlockStage::mlp,
                                         BlockStage::down};

/// Whether the outputs of a stage's linears are added to the residual stream.
[[nodiscard]] constexpr bool writes_residual(BlockStage stage) {
    return stage == BlockStage::output || stage == BlockStage::down;
}

/// Modules of the linears of a stage: "model.layers.3.mlp.gate_proj" and "model.layers.3.mlp.up_proj".
[[nodiscard]] inline std::vector<std::string> linears_of(Index layer, BlockStage stage) {
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

/// Numbers that the linears of a stage read.
[[nodiscard]] inline Index inputs_of(const TransformerConfig& config, BlockStage stage) {
    if (stage == BlockStage::output) return config.num_heads * config.head_dim;
    return stage == BlockStage::down ? config.intermediate_size : config.hidden_size;
}

namespace detail {

/// Activations of one chunk of tokens.
struct Activations {
    Activations(const TransformerConfig& config, Index tokens)
        : normed({tokens, config.hidden_size}),
          queries({tokens, config.num_heads * config.head_dim}),
          keys({tokens, config.num_kv_heads * config.head_dim}),
          values(keys.shape()),
          attended(queries.shape()),
          gate({tokens, config.intermediate_size}),
          up(gate.shape()),
          update({tokens, config.hidden_size}) {}

    /// Bytes for one token, what prepared keys and values take included.
    [[nodiscard]] static Index bytes_per_token(const TransformerConfig& config) {
        const Index heads = 2 * config.num_heads + 4 * config.num_kv_heads;
        return static_cast<Index>(sizeof(float)) *
               (2 * config.hidden_size + heads * config.head_dim + 2 * config.intermediate_size);
    }

    Tensor<float> normed, queries, keys, values, attended, gate, up, update;
};

/// All of a tensor (rows, n) as a matrix.
[[nodiscard]] inline MatrixView<float> rows_of(Tensor<float>& tensor) {
    return matrix(tensor.data(), tensor.extent(0), tensor.extent(1));
}

/// body(row) for every row; several threads where there are many.
template <class F>
void for_rows(Index rows, Index width, F&& body) {
    constexpr Index grain = Index{1} << 14;  // elements worth a second thread
    parallel_for(0, rows, grain / width + 1, [&](Index first, Index last) {
        for (Index r = first; r < last; ++r) body(r);
    });
}

/// y = rmsnorm(x), row by row; y may be x.
inline void normalize_rows(MatrixView<const float> x, const Tensor<float>& weight,
                           const TransformerConfig& config, MatrixView<float> y) {
    const auto epsilon = static_cast<float>(config.rms_norm_eps);
    for_rows(x.rows, x.cols, [&](Index r) {
        normalize_row(x.cols, x.data + r * x.cols, weight.data(), epsilon, y.data + r * x.cols);
    });
}

/// x += update.
inline void add_rows(const Tensor<float>& update, MatrixView<float> x) {
    for_rows(x.rows, x.cols,
             [&](Index r) { add_row(x.cols, update.data() + r * x.cols, x.data + r * x.cols); });
}

/// Y_k = linear_k(X); the observer hears of each.
inline void apply_linears(std::initializer_list<const Linear*> linears, const Tensor<float>& X,
                          std::initializer_list<Tensor<float>*> Y, const LinearObserver& observer) {
    for (const Linear* linear : linears)
        if (observer) observer(linear->name(), as_matrix(X.view()));
    std::vector<MatrixView<float>> results;
    for (Tensor<float>* tensor : Y) results.push_back(rows_of(*tensor));
    Linear::apply_together({linears.begin(), linears.size()}, as_matrix(X.view()), results);
}

/// Where the tokens of a chunk stand: their angles, the positions before them, the layer of the cache.
struct BlockPosition {
    const RotaryTable& table;
    KvCache& cache;
    Index layer = 0;
};

/// The linears of a layer, of one DecoderLayer or chosen one by one.
struct BlockLinears {
    explicit BlockLinears(const DecoderLayer& layer)
        : q(&layer.q),
          k(&layer.k),
          v(&layer.v),
          o(&layer.o),
          gate(&layer.gate),
          up(&layer.up),
          down(&layer.down) {}

    const Linear *q, *k, *v, *o, *gate, *up, *down;
};

/// a.normed = what q, k and v read.
inline void attention_inputs(const DecoderLayer& layer, const TransformerConfig& config,
                             MatrixView<const float> x, Activations& a) {
    normalize_rows(x, layer.input_norm, config, rows_of(a.normed));
}

/// a.normed -> a.attended = what o reads. Keys and values are stored; advancing the cache is the caller's.
inline void output_inputs(const BlockLinears& layer, const TransformerConfig& config,
                          const BlockPosition& at, Activations& a, const EigenBackend& backend,
                          const LinearObserver& observer = {}) {
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

/// a.normed = what gate and up read.
inline void mlp_inputs(const DecoderLayer& layer, const TransformerConfig& config,
                       MatrixView<const float> x, Activations& a) {
    normalize_rows(x, layer.post_attention_norm, config, rows_of(a.normed));
}

/// a.normed -> a.gate = what down reads.
inline void down_inputs(const BlockLinears& layer, Activations& a,
                        const LinearObserver& observer = {}) {
    apply_linears({layer.gate, layer.up}, a.normed, {&a.gate, &a.up}, observer);
    const Index n = a.gate.extent(1);
    for_rows(a.gate.extent(0), n,
             [&](Index r) { silu_multiply(n, a.gate.data() + r * n, a.up.data() + r * n); });
}

/// x behind a whole layer: its norms, and linears that may be others.
inline void run_block(const DecoderLayer& layer, const BlockLinears& linears,
                      const TransformerConfig& config, const BlockPosition& at, Activations& a,
                      MatrixView<float> x, const EigenBackend& backend,
                      const LinearObserver& observer = {}) {
    attention_inputs(layer, config, x, a);
    output_inputs(linears, config, at, a, backend, observer);
    apply_linears({linears.o}, a.attended, {&a.update}, observer);
    add_rows(a.update, x);
    mlp_inputs(layer, config, x, a);
    down_inputs(linears, a, observer);
    apply_linears({linears.down}, a.gate, {&a.update}, observer);
    add_rows(a.update, x);
}
inline void run_block(const DecoderLayer& layer, const TransformerConfig& config,
                      const BlockPosition& at, Activations& a, MatrixView<float> x,
                      const EigenBackend& backend, const LinearObserver& observer) {
    run_block(layer, BlockLinears(layer), config, at, a, x, backend, observer);
}

}  // namespace detail
}  // namespace mpo

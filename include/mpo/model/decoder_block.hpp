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
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
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
[[nodiscard]] std::vector<std::string> linears_of(Index layer, BlockStage stage);

/// Numbers that the linears of a stage read.
[[nodiscard]] Index inputs_of(const TransformerConfig& config, BlockStage stage);

namespace detail {

/// Activations of one chunk of tokens.
struct Activations {
    Activations(const TransformerConfig& config, Index tokens);

    /// Bytes for one token, what prepared keys and values take included.
    [[nodiscard]] static Index bytes_per_token(const TransformerConfig& config);

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
void normalize_rows(MatrixView<const float> x, const Tensor<float>& weight,
                    const TransformerConfig& config, MatrixView<float> y);

/// x += update.
void add_rows(const Tensor<float>& update, MatrixView<float> x);

/// Y_k = linear_k(X); the observer hears of each.
void apply_linears(std::initializer_list<const Linear*> linears, const Tensor<float>& X,
                   std::initializer_list<Tensor<float>*> Y, const LinearObserver& observer);

/// Where the tokens of a chunk stand: their angles, the positions before them, the layer of the cache.
struct BlockPosition {
    const RotaryTable& table;
    KvCache& cache;
    Index layer = 0;
};

/// The linears of a layer, of one DecoderLayer or chosen one by one.
struct BlockLinears {
    explicit BlockLinears(const DecoderLayer& layer);

    const Linear *q, *k, *v, *o, *gate, *up, *down;
};

/// a.normed = what q, k and v read.
inline void attention_inputs(const DecoderLayer& layer, const TransformerConfig& config,
                             MatrixView<const float> x, Activations& a) {
    normalize_rows(x, layer.input_norm, config, rows_of(a.normed));
}

/// a.normed -> a.attended = what o reads. Keys and values are stored; advancing the cache is the caller's.
void output_inputs(const BlockLinears& layer, const TransformerConfig& config,
                   const BlockPosition& at, Activations& a, const EigenBackend& backend,
                   const LinearObserver& observer = {});

/// a.normed = what gate and up read.
inline void mlp_inputs(const DecoderLayer& layer, const TransformerConfig& config,
                       MatrixView<const float> x, Activations& a) {
    normalize_rows(x, layer.post_attention_norm, config, rows_of(a.normed));
}

/// a.normed -> a.gate = what down reads.
void down_inputs(const BlockLinears& layer, Activations& a, const LinearObserver& observer = {});

/// x behind a whole layer: its norms, and linears that may be others.
void run_block(const DecoderLayer& layer, const BlockLinears& linears,
               const TransformerConfig& config, const BlockPosition& at, Activations& a,
               MatrixView<float> x, const EigenBackend& backend,
               const LinearObserver& observer = {});
inline void run_block(const DecoderLayer& layer, const TransformerConfig& config,
                      const BlockPosition& at, Activations& a, MatrixView<float> x,
                      const EigenBackend& backend, const LinearObserver& observer) {
    run_block(layer, BlockLinears(layer), config, at, a, x, backend, observer);
}

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/decoder_block_inl.hpp"
#endif

// Transformer: a decoder of the LLaMA family (Touvron et al., arXiv:2302.13971), forward. For every layer
//
//   x += o(attention(rotate(q(n)), rotate(k(n)), v(n))),   n = rmsnorm(x)
//   x += down(silu(gate(n)) up(n)),                        n = rmsnorm(x)
//
// and logits = head(rmsnorm(x)). Every linear is a Linear: dense and compressed ones mix. Each piece has a
// header of its own: decoder_block, rotary, kv_cache, attention, linear, and linalg/row_functions.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/kv_cache.hpp"
#include "mpo/model/linear.hpp"
#include "mpo/model/transformer_config.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo {

/// A decoder with its weights. Movable; const calls are safe from many threads, each with a cache of its
/// own. The backend must outlive it.
class Transformer {
  public:
    /// Reads a checkpoint: a .gguf file, a folder with config.json and safetensors, or one that compress
    /// wrote.
    ///
    /// throws   FileError; FormatError, naming tensor or field, where it is no such decoder or is not
    ///          complete; NumericalError, naming the tensor, for NaN or Inf; as make_plan
    Transformer(const std::filesystem::path& path, const TransformerOptions& options,
                const EigenBackend& backend);
    /// Of weights at hand. Throws ShapeError where they do not have the shapes that the config states.
    Transformer(TransformerConfig config, TransformerWeights weights,
                const TransformerOptions& options, const EigenBackend& backend);
    /// The model keeps a pointer to its backend: a temporary one is refused at compile time.
    Transformer(const std::filesystem::path&, const TransformerOptions&,
                const EigenBackend&&) = delete;

    /// Its shapes and numbers.
    [[nodiscard]] const TransformerConfig& config() const { return config_; }
    /// Its layers.
    [[nodiscard]] const std::vector<DecoderLayer>& layers() const { return weights_.layers; }
    /// The head; null where it is the embedding.
    [[nodiscard]] const Linear* head() const { return weights_.head ? &*weights_.head : nullptr; }
    /// Bytes of all dense weights, without norms and biases; those of MPOs are their plans'.
    [[nodiscard]] Index dense_bytes() const;

    /// Room for `capacity` positions. Throws ArgumentError beyond config().max_positions.
    [[nodiscard]] KvCache make_cache(Index capacity) const;

    /// Tokens that one pass through the layers takes, so that its activations stay below
    /// max_workspace_bytes.
    [[nodiscard]] Index chunk_tokens() const;

    /// Takes tokens in behind those that the cache holds.
    ///
    /// tokens     ids, 0 <= id < vocab_size; in chunks of chunk_tokens()
    /// cache      of make_cache; grows by tokens.size(), and not where this throws
    /// hidden     (tokens, hidden_size), overwritten: what the head reads, normalised
    /// observer   hears of every linear but the head, chunk by chunk
    /// cost       2 flops per weight and token, and 4 head_dim heads per pair of positions and layer
    /// throws     ArgumentError (an id, no token, no room), ShapeError (hidden, the cache)
    void forward(std::span<const Index> tokens, KvCache& cache, MatrixView<float> hidden,
                 const LinearObserver& observer = {}) const;
    /// The same with hidden states of its own.
    [[nodiscard]] Tensor<float> forward(std::span<const Index> tokens, KvCache& cache) const;

    /// The logits of hidden states (tokens, hidden_size) into result (tokens, vocab_size), both without
    /// gaps; the observer hears of the head as "lm_head". Throws ShapeError.
    void logits(MatrixView<const float> hidden, MatrixView<float> result,
                const LinearObserver& observer = {}) const;
    /// The same with logits of its own.
    [[nodiscard]] Tensor<float> logits(const Tensor<float>& hidden) const;

  private:
    void require_fit(std::span<const Index> tokens, const KvCache& cache,
                     const MatrixView<float>& hidden) const;

    void run_chunk(std::span<const Index> tokens, KvCache& cache, MatrixView<float> x,
                   const LinearObserver& observer) const;

    TransformerOptions options_;
    const EigenBackend* backend_;
    TransformerConfig config_;
    TransformerWeights weights_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/transformer_inl.hpp"
#endif

// Transformer: a decoder of the LLaMA family (Touvron et al., arXiv:2302.13971), forward. For every layer
//
//   x += o(attention(rotate(q(n)), rotate(k(n)), v(n))),   n = rmsnorm(x)
//   x += down(silu(gate(n)) up(n)),                        n = rmsnorm(x)
//
// and logits = head(rmsnorm(x)). Every linear is a Linear: dense and compressed ones mix. Each piece has a
// header of its own: decoder_block, rotary, kv_cache, attention, linear, and linalg/row_functions.
#pragma once

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/kv_cache.hpp"
#include "mpo/model/linear.hpp"
#include "mpo/model/rotary.hpp"
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
                const EigenBackend& backend)
        : options_(options), backend_(&backend) {
        detail::WeightReader reader(path, options_, backend);
        config_ = transformer_config(reader.checkpoint());
        weights_ = detail::read_weights(reader, config_);
    }
    /// Of weights at hand. Throws ShapeError where they do not have the shapes that the config states.
    Transformer(TransformerConfig config, TransformerWeights weights,
                const TransformerOptions& options, const EigenBackend& backend)
        : options_(options),
          backend_(&backend),
          config_(std::move(config)),
          weights_(std::move(weights)) {
        detail::require_shapes(config_, weights_);
    }
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
    [[nodiscard]] Index dense_bytes() const {
        Index bytes = weights_.embedding.num_bytes();
        const auto add = [&](const Linear& linear) {
            if (linear.panels()) bytes += linear.panels()->num_bytes();
        };
        for (const auto& layer : weights_.layers)
            for (const Linear* linear :
                 {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
                add(*linear);
        if (head()) add(*head());
        return bytes;
    }

    /// Room for `capacity` positions. Throws ArgumentError beyond config().max_positions.
    [[nodiscard]] KvCache make_cache(Index capacity) const {
        if (capacity > config_.max_positions)
            detail::raise<ArgumentError>({"make_cache: ", capacity,
                                          " positions are more than the context of the model, ",
                                          config_.max_positions});
        return KvCache(config_.num_layers, config_.num_kv_heads, config_.head_dim, capacity);
    }

    /// Tokens that one pass through the layers takes, so that its activations stay below
    /// max_workspace_bytes.
    [[nodiscard]] Index chunk_tokens() const {
        const Index fits =
            options_.max_workspace_bytes / detail::Activations::bytes_per_token(config_);
        return (std::max)(Index{1}, fits);
    }

    /// Takes tokens in behind those that the cache holds.
    ///
    /// tokens     ids, 0 <= id < vocab_size; in chunks of chunk_tokens()
    /// cache      of make_cache; grows by tokens.size(), and not where this throws
    /// hidden     (tokens, hidden_size), overwritten: what the head reads, normalised
    /// observer   hears of every linear but the head, chunk by chunk
    /// cost       2 flops per weight and token, and 4 head_dim heads per pair of positions and layer
    /// throws     ArgumentError (an id, no token, no room), ShapeError (hidden, the cache)
    void forward(std::span<const Index> tokens, KvCache& cache, MatrixView<float> hidden,
                 const LinearObserver& observer = {}) const {
        require_fit(tokens, cache, hidden);
        const Index before = cache.length(), count = static_cast<Index>(tokens.size());
        try {
            for (Index first = 0; first < count; first += chunk_tokens()) {
                const Index n = (std::min)(chunk_tokens(), count - first);
                run_chunk(
                    tokens.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n)),
                    cache, block(hidden, first, 0, n, hidden.cols), observer);
            }
        } catch (...) {
            cache.truncate(before);
            throw;
        }
    }
    /// The same with hidden states of its own.
    [[nodiscard]] Tensor<float> forward(std::span<const Index> tokens, KvCache& cache) const {
        Tensor<float> hidden({static_cast<Index>(tokens.size()), config_.hidden_size});
        forward(tokens, cache, detail::rows_of(hidden));
        return hidden;
    }

    /// The logits of hidden states (tokens, hidden_size) into result (tokens, vocab_size), both without
    /// gaps; the observer hears of the head as "lm_head". Throws ShapeError.
    void logits(MatrixView<const float> hidden, MatrixView<float> result,
                const LinearObserver& observer = {}) const {
        if (observer) observer("lm_head", hidden);
        if (head())
            head()->apply(hidden, result);
        else
            weights_.embedding.apply(hidden, result, *backend_);
    }
    /// The same with logits of its own.
    [[nodiscard]] Tensor<float> logits(const Tensor<float>& hidden) const {
        Tensor<float> result({hidden.extent(0), config_.vocab_size});
        logits(as_matrix(hidden.view()), detail::rows_of(result));
        return result;
    }

  private:
    void require_fit(std::span<const Index> tokens, const KvCache& cache,
                     const MatrixView<float>& hidden) const {
        const Index count = static_cast<Index>(tokens.size());
        if (count == 0) throw ArgumentError("Transformer::forward: no tokens");
        if (cache.num_layers() != config_.num_layers || cache.kv_heads() != config_.num_kv_heads ||
            cache.head_dim() != config_.head_dim)
            throw ShapeError("Transformer::forward: the cache belongs to another model");
        if (hidden.rows != count || hidden.cols != config_.hidden_size || hidden.col_stride != 1 ||
            hidden.row_stride != hidden.cols)
            detail::raise<ShapeError>({"Transformer::forward: hidden must be ", count, " x ",
                                       config_.hidden_size, " without gaps, got ", hidden.rows,
                                       " x ", hidden.cols});
        const Index room = (std::min)(cache.capacity(), config_.max_positions) - cache.length();
        if (count > room)
            detail::raise<ArgumentError>({"Transformer::forward: ", count, " tokens behind ",
                                          cache.length(), " are more than the cache, of ",
                                          cache.capacity(), ", has room for"});
        for (Index k = 0; k < count; ++k)
            if (const Index id = tokens[static_cast<std::size_t>(k)];
                id < 0 || id >= config_.vocab_size)
                detail::raise<ArgumentError>({"Transformer::forward: token ", k, " is ", id,
                                              ", the vocabulary has ", config_.vocab_size});
    }

    void run_chunk(std::span<const Index> tokens, KvCache& cache, MatrixView<float> x,
                   const LinearObserver& observer) const {
        detail::Activations a(config_, x.rows);
        detail::for_rows(x.rows, x.cols, [&](Index r) {
            weights_.embedding.read_row(tokens[static_cast<std::size_t>(r)], x.data + r * x.cols);
        });
        const RotaryTable table(config_.rotary, cache.length(), x.rows);
        for (Index k = 0; k < config_.num_layers; ++k) {
            const auto& layer = weights_.layers[static_cast<std::size_t>(k)];
            detail::run_block(layer, config_, {table, cache, k}, a, x, *backend_, observer);
        }
        cache.advance(x.rows);
        detail::normalize_rows(x, weights_.norm, config_, x);
    }

    TransformerOptions options_;
    const EigenBackend* backend_;
    TransformerConfig config_;
    TransformerWeights weights_;
};

}  // namespace mpo

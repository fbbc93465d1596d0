// The bodies of model/transformer.hpp that are no templates.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/rotary.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE Transformer::Transformer(const std::filesystem::path& path,
                                                 const TransformerOptions& options,
                                                 const EigenBackend& backend)
    : options_(options), backend_(&backend) {
    detail::WeightReader reader(path, options_, backend);
    config_ = transformer_config(reader.checkpoint());
    weights_ = detail::read_weights(reader, config_);
}

MPO_DETAIL_MODEL_INLINE Transformer::Transformer(TransformerConfig config,
                                                 TransformerWeights weights,
                                                 const TransformerOptions& options,
                                                 const EigenBackend& backend)
    : options_(options),
      backend_(&backend),
      config_(std::move(config)),
      weights_(std::move(weights)) {
    detail::require_shapes(config_, weights_);
}

MPO_DETAIL_MODEL_INLINE Index Transformer::dense_bytes() const {
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

MPO_DETAIL_MODEL_INLINE KvCache Transformer::make_cache(Index capacity) const {
    if (capacity > config_.max_positions)
        detail::raise<ArgumentError>({"make_cache: ", capacity,
                                      " positions are more than the context of the model, ",
                                      config_.max_positions});
    return KvCache(config_.num_layers, config_.num_kv_heads, config_.head_dim, capacity);
}

MPO_DETAIL_MODEL_INLINE Index Transformer::chunk_tokens() const {
    const Index fits = options_.max_workspace_bytes / detail::Activations::bytes_per_token(config_);
    return (std::max)(Index{1}, fits);
}

MPO_DETAIL_MODEL_INLINE void Transformer::forward(std::span<const Index> tokens, KvCache& cache,
                                                  MatrixView<float> hidden,
                                                  const LinearObserver& observer) const {
    require_fit(tokens, cache, hidden);
    const Index before = cache.length(), count = static_cast<Index>(tokens.size());
    try {
        for (Index first = 0; first < count; first += chunk_tokens()) {
            const Index n = (std::min)(chunk_tokens(), count - first);
            run_chunk(tokens.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n)),
                      cache, block(hidden, first, 0, n, hidden.cols), observer);
        }
    } catch (...) {
        cache.truncate(before);
        throw;
    }
}

MPO_DETAIL_MODEL_INLINE Tensor<float> Transformer::forward(std::span<const Index> tokens,
                                                           KvCache& cache) const {
    Tensor<float> hidden({static_cast<Index>(tokens.size()), config_.hidden_size});
    forward(tokens, cache, detail::rows_of(hidden));
    return hidden;
}

MPO_DETAIL_MODEL_INLINE void Transformer::logits(MatrixView<const float> hidden,
                                                 MatrixView<float> result,
                                                 const LinearObserver& observer) const {
    if (observer) observer("lm_head", hidden);
    if (head())
        head()->apply(hidden, result);
    else
        weights_.embedding.apply(hidden, result, *backend_);
}

MPO_DETAIL_MODEL_INLINE Tensor<float> Transformer::logits(const Tensor<float>& hidden) const {
    Tensor<float> result({hidden.extent(0), config_.vocab_size});
    logits(as_matrix(hidden.view()), detail::rows_of(result));
    return result;
}

MPO_DETAIL_MODEL_INLINE void Transformer::require_fit(std::span<const Index> tokens,
                                                      const KvCache& cache,
                                                      const MatrixView<float>& hidden) const {
    const Index count = static_cast<Index>(tokens.size());
    if (count == 0) throw ArgumentError("Transformer::forward: no tokens");
    if (cache.num_layers() != config_.num_layers || cache.kv_heads() != config_.num_kv_heads ||
        cache.head_dim() != config_.head_dim)
        throw ShapeError("Transformer::forward: the cache belongs to another model");
    if (hidden.rows != count || hidden.cols != config_.hidden_size || hidden.col_stride != 1 ||
        hidden.row_stride != hidden.cols)
        detail::raise<ShapeError>({"Transformer::forward: hidden must be ", count, " x ",
                                   config_.hidden_size, " without gaps, got ", hidden.rows, " x ",
                                   hidden.cols});
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

MPO_DETAIL_MODEL_INLINE void Transformer::run_chunk(std::span<const Index> tokens, KvCache& cache,
                                                    MatrixView<float> x,
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

}  // namespace mpo

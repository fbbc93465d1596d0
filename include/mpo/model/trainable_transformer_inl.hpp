// The bodies of model/trainable_transformer.hpp that are no templates.
#pragma once

#include <string>

#include "mpo/io/inline.hpp"
#include "mpo/model/trainable_transformer.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE LayerWeights<float> read_layer_weights(WeightReader& reader,
                                                               const TransformerConfig& config,
                                                               Index layer) {
    const std::string at = concat("model.layers.", layer, ".");
    const Index hidden = config.hidden_size;
    LayerWeights<float> weights{reader.read(at + "input_layernorm.weight", {hidden}),
                                reader.read(at + "post_attention_layernorm.weight", {hidden}),
                                {}};
    for (const auto& linear : layer_linears(config))
        weights.linears.push_back(
            reader.weight(at + linear.module, linear.out, linear.in, linear.needs_bias));
    return weights;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::pair<TransformerConfig, ModelWeights<float>> read_model_weights(
    const std::filesystem::path& path, const EigenBackend& backend) {
    const TransformerOptions options;
    detail::WeightReader reader(path, options, backend);
    auto config = transformer_config(reader.checkpoint());
    ModelWeights<float> weights;
    weights.embedding =
        reader.read("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
    weights.norm = reader.read("model.norm.weight", {config.hidden_size});
    for (Index k = 0; k < config.num_layers; ++k)
        weights.layers.push_back(detail::read_layer_weights(reader, config, k));
    if (!config.tied_head)
        weights.head = reader.read("lm_head.weight", {config.vocab_size, config.hidden_size});
    reader.require_all_taken(config.tied_head);
    return {std::move(config), std::move(weights)};
}

}  // namespace mpo

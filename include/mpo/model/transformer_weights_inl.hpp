// The bodies of model/transformer_weights.hpp that are no templates.
#pragma once

#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE WeightReader::WeightReader(const std::filesystem::path& path,
                                                   const TransformerOptions& options,
                                                   const EigenBackend& backend)
    : options_(options), backend_(backend) {
    if (is_compressed(path))
        compressed_.emplace(path, options.read_mode);
    else
        dense_.emplace(path, options.read_mode);
    if (compressed_)
        for (const auto& linear : compressed_->linears()) by_name_.emplace(linear.name, &linear);
}

MPO_DETAIL_MODEL_INLINE void WeightReader::take(const std::string& name, const Shape& shape) {
    if (!contains(name)) fail(name, "is missing");
    const auto& info = checkpoint().info(name);
    if (info.shape != shape)
        fail(name, concat("must have the shape ", mpo::to_string(shape), ", got ",
                          mpo::to_string(info.shape)));
    taken_.insert(name);
}

MPO_DETAIL_MODEL_INLINE const CompressedLinear* WeightReader::take_linear(const std::string& module,
                                                                          Index out, Index in,
                                                                          bool needs_bias) {
    if (needs_bias || contains(module + ".bias")) take(module + ".bias", {out});
    const auto found = by_name_.find(module);
    if (found == by_name_.end()) {
        take(module + ".weight", {out, in});
        return nullptr;
    }
    const CompressedLinear& entry = *found->second;
    if (entry.original_shape != Shape{out, in})
        fail(module + ".cores", concat("must make a matrix ", out, " x ", in, ", got ",
                                       mpo::to_string(entry.original_shape)));
    for (auto& name : compressed_->tensors_of(entry)) taken_.insert(std::move(name));
    return &entry;
}

MPO_DETAIL_MODEL_INLINE Tensor<float> WeightReader::read(const std::string& name,
                                                         const Shape& shape) {
    take(name, shape);
    auto tensor = checkpoint().read<float>(name);
    require_finite(name, tensor);
    return tensor;
}

MPO_DETAIL_MODEL_INLINE LinearWeight<float> WeightReader::weight(const std::string& module,
                                                                 Index out, Index in,
                                                                 bool needs_bias) {
    LinearWeight<float> result{module, {}, {}};
    const auto* entry = take_linear(module, out, in, needs_bias);
    if (contains(module + ".bias")) result.bias = read(module + ".bias", {out});
    if (entry == nullptr) {
        result.weight = read(module + ".weight", {out, in});
        return result;
    }
    auto W = compressed_->read<float>(*entry);
    for (Index k = 0; k < W.num_sites(); ++k) require_finite(core_name(module, k), W.core(k));
    result.weight = std::move(W);
    return result;
}

MPO_DETAIL_MODEL_INLINE Linear WeightReader::linear(const std::string& module, Index out, Index in,
                                                    bool needs_bias) {
    auto stored = weight(module, out, in, needs_bias);
    LinearOptions options{options_.batches, options_.max_workspace_bytes, options_.dense_cache,
                          WeightStorage::f32};
    if (const auto* W = std::get_if<Mpo<float>>(&stored.weight))
        return Linear(module, *W, std::move(stored.bias), options, backend_);
    options.dense_storage = storage(module + ".weight");
    return Linear(module, matrix(std::get<0>(stored.weight).data(), out, in),
                  std::move(stored.bias), options, backend_);
}

MPO_DETAIL_MODEL_INLINE WeightStorage WeightReader::storage(const std::string& name) const {
    const bool stored = checkpoint().info(name).type == StoredType(DType::bf16);
    const bool narrow = options_.precision == WeightPrecision::bf16 ||
                        (options_.precision == WeightPrecision::as_stored && stored);
    return narrow ? WeightStorage::bf16 : WeightStorage::f32;
}

MPO_DETAIL_MODEL_INLINE void WeightReader::require_all_taken(bool tied) const {
    for (const auto& tensor : checkpoint().tensors()) {
        const auto& name = tensor.name;
        const bool harmless = name == "rope_freqs.weight" ||
                              name.ends_with("rotary_emb.inv_freq") ||
                              (tied && name == "lm_head.weight");
        if (!harmless && taken_.count(name) == 0)
            fail(name, "has no place in this decoder; does config.json belong to it?");
    }
}

MPO_DETAIL_MODEL_INLINE void WeightReader::fail(const std::string& name,
                                                const std::string& what) const {
    raise<FormatError>({checkpoint().path().string(), ": the tensor ", in_quotes(name), " ", what});
}

MPO_DETAIL_MODEL_INLINE void WeightReader::require_finite(const std::string& name,
                                                          const Tensor<float>& tensor) const {
    for (Index k = 0; k < tensor.size(); ++k)
        if (!std::isfinite(tensor.data()[k]))
            raise<NumericalError>({checkpoint().path().string(), ": the tensor ", in_quotes(name),
                                   " holds ", tensor.data()[k], " at element ", k});
}

MPO_DETAIL_MODEL_INLINE std::array<LayerLinear, 7> layer_linears(const TransformerConfig& config) {
    const Index hidden = config.hidden_size, inner = config.intermediate_size;
    const Index queries = config.num_heads * config.head_dim;
    const Index keys = config.num_kv_heads * config.head_dim;
    return {{{"self_attn.q_proj", queries, hidden, config.qkv_bias},
             {"self_attn.k_proj", keys, hidden, config.qkv_bias},
             {"self_attn.v_proj", keys, hidden, config.qkv_bias},
             {"self_attn.o_proj", hidden, queries, false},
             {"mlp.gate_proj", inner, hidden, config.mlp_bias},
             {"mlp.up_proj", inner, hidden, config.mlp_bias},
             {"mlp.down_proj", hidden, inner, config.mlp_bias}}};
}

/// Throws FormatError where not even a layer's first tensor is there.
inline void require_layer(const WeightReader& reader, const TransformerConfig& config,
                          const std::string& at) {
    if (!reader.contains(at + "input_layernorm.weight"))
        raise<FormatError>({reader.checkpoint().path().string(), ": the config promises ",
                            config.num_layers, " layers, the tensor '", at,
                            "input_layernorm.weight' is missing"});
}

MPO_DETAIL_MODEL_INLINE void require_decoder(WeightReader& reader,
                                             const TransformerConfig& config) {
    const Index hidden = config.hidden_size, vocab = config.vocab_size;
    reader.take("model.embed_tokens.weight", {vocab, hidden});
    reader.take("model.norm.weight", {hidden});
    for (Index k = 0; k < config.num_layers; ++k) {
        const std::string at = concat("model.layers.", k, ".");
        require_layer(reader, config, at);
        reader.take(at + "input_layernorm.weight", {hidden});
        reader.take(at + "post_attention_layernorm.weight", {hidden});
        for (const auto& linear : layer_linears(config))
            (void)reader.take_linear(at + linear.module, linear.out, linear.in, linear.needs_bias);
    }
    if (!config.tied_head) (void)reader.take_linear("lm_head", vocab, hidden, false);
    reader.require_all_taken(config.tied_head);
}

MPO_DETAIL_MODEL_INLINE DecoderLayer read_layer(WeightReader& reader,
                                                const TransformerConfig& config, Index layer) {
    const std::string at = concat("model.layers.", layer, ".");
    const Index hidden = config.hidden_size;
    require_layer(reader, config, at);
    auto norm = reader.read(at + "input_layernorm.weight", {hidden});
    auto post = reader.read(at + "post_attention_layernorm.weight", {hidden});
    const auto linears = layer_linears(config);
    const auto linear = [&](std::size_t k) {
        return reader.linear(at + linears[k].module, linears[k].out, linears[k].in,
                             linears[k].needs_bias);
    };
    return {std::move(norm), std::move(post), linear(0), linear(1), linear(2),
            linear(3),       linear(4),       linear(5), linear(6)};
}

MPO_DETAIL_MODEL_INLINE TransformerWeights read_weights(WeightReader& reader,
                                                        const TransformerConfig& config) {
    const Index hidden = config.hidden_size, vocab = config.vocab_size;
    TransformerWeights weights;
    {
        const std::string name = "model.embed_tokens.weight";
        const auto E = reader.read(name, {vocab, hidden});
        weights.embedding = WeightPanels(matrix(E.data(), vocab, hidden), reader.storage(name));
    }
    weights.norm = reader.read("model.norm.weight", {hidden});
    for (Index k = 0; k < config.num_layers; ++k)
        weights.layers.push_back(read_layer(reader, config, k));
    if (!config.tied_head) weights.head.emplace(reader.linear("lm_head", vocab, hidden, false));
    reader.require_all_taken(config.tied_head);
    return weights;
}

MPO_DETAIL_MODEL_INLINE void require_shapes(const TransformerConfig& config,
                                            const TransformerWeights& weights) {
    const Index hidden = config.hidden_size;
    const auto require = [](bool fits, const char* what, Index rows, Index cols) {
        if (!fits) raise<ShapeError>({"Transformer: ", what, " must be ", rows, " x ", cols});
    };
    const auto linear = [&](const Linear& given, Index rows, Index cols) {
        require(given.rows() == rows && given.cols() == cols, given.name().c_str(), rows, cols);
    };
    const auto norm = [&](const Tensor<float>& given) {
        require(given.size() == hidden, "a norm", hidden, 1);
    };
    require(weights.embedding.rows() == config.vocab_size && weights.embedding.cols() == hidden,
            "the embedding", config.vocab_size, hidden);
    require(static_cast<Index>(weights.layers.size()) == config.num_layers, "the list of layers",
            config.num_layers, 1);
    require(weights.head.has_value() != config.tied_head, "a head of its own", config.vocab_size,
            hidden);
    if (weights.head) linear(*weights.head, config.vocab_size, hidden);
    norm(weights.norm);
    const auto linears = layer_linears(config);
    for (const auto& layer : weights.layers) {
        norm(layer.input_norm);
        norm(layer.post_attention_norm);
        const Linear* const given[] = {&layer.q,    &layer.k,  &layer.v,   &layer.o,
                                       &layer.gate, &layer.up, &layer.down};
        for (std::size_t k = 0; k < linears.size(); ++k)
            linear(*given[k], linears[k].out, linears[k].in);
    }
}

}  // namespace mpo::detail

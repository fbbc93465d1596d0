// The bodies of model/describe.hpp that are no templates.
#pragma once

#include <nlohmann/json.hpp>

#include "mpo/io/inline.hpp"
#include "mpo/model/describe.hpp"
#include "mpo/model/json_lines.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json describe(const Hyperparameters& parameters) {
    const auto tied = parameters.tied_embeddings;
    nlohmann::ordered_json json{{"model_type", parameters.model_type},
                                {"hidden_size", parameters.hidden_size},
                                {"intermediate_size", parameters.intermediate_size},
                                {"num_hidden_layers", parameters.num_hidden_layers},
                                {"num_attention_heads", parameters.num_attention_heads},
                                {"num_key_value_heads", parameters.num_key_value_heads},
                                {"head_dim", parameters.head_dim},
                                {"vocab_size", parameters.vocab_size},
                                {"max_position_embeddings", parameters.max_position_embeddings},
                                {"rms_norm_eps", parameters.rms_norm_eps},
                                {"rope_theta", parameters.rope_theta},
                                {"bos_token_ids", parameters.bos_token_ids},
                                {"eos_token_ids", parameters.eos_token_ids}};
    if (tied != TiedEmbeddings::unknown) json["tied_embeddings"] = tied == TiedEmbeddings::yes;
    return json;
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json describe(const CheckpointTensor& tensor) {
    return {{"name", tensor.name},
            {"dtype", to_string(tensor.type)},
            {"shape", tensor.shape},
            {"bytes", tensor.bytes}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json describe(const CompressedLinear& linear) {
    return {{"name", linear.name},
            {"layout", {{"out", linear.layout.out}, {"in", linear.layout.in}}},
            {"bonds", linear.bonds},
            {"stored_as", to_string(linear.stored_as)},
            {"parameters", num_stored(linear.layout, linear.bonds, linear.stored_as)},
            {"dtype", to_string(linear.dtype)},
            {"original_dtype", linear.original_dtype},
            {"original_shape", linear.original_shape},
            {"relative_error", linear.relative_error},
            {"error_kind", to_string(linear.error_kind)}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json describe(const Checkpoint& checkpoint) {
    nlohmann::ordered_json json{{"schema_version", 1},
                                {"path", checkpoint.path().string()},
                                {"format", to_string(checkpoint.format())}};
    if (checkpoint.hyperparameters())
        json["hyperparameters"] = describe(*checkpoint.hyperparameters());
    auto tensors = nlohmann::ordered_json::array();
    for (const auto& tensor : checkpoint.tensors()) tensors.push_back(describe(tensor));
    json["parameters"] = checkpoint.num_parameters();
    json["bytes"] = checkpoint.bytes();
    json["tensors"] = std::move(tensors);
    return json;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::string to_json(const Checkpoint& checkpoint) {
    return detail::json_lines(detail::describe(checkpoint));
}

MPO_DETAIL_MODEL_INLINE std::string to_json(const CompressedCheckpoint& compressed) {
    auto json = detail::describe(compressed.checkpoint());
    json["parameters"] = compressed.num_parameters();
    json["compressed_linears"] = nlohmann::ordered_json::array();
    for (const auto& linear : compressed.linears())
        json["compressed_linears"].push_back(detail::describe(linear));
    return detail::json_lines(json);
}

}  // namespace mpo

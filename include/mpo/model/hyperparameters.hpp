// The numbers that make a decoder of the LLaMA family out of its weights, and their two spellings:
// Hugging Face's config.json and the keys of a GGUF file.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/gguf.hpp"
#include "mpo/model/rope_scaling.hpp"

namespace mpo {

/// Whether the output layer is the embedding matrix.
enum class TiedEmbeddings { unknown, no, yes };  // yes: lm_head is the embedding matrix

/// 0, or empty, where the source does not say.
struct Hyperparameters {
    std::string model_type = {};                               // "llama", "qwen2", ...
    Index hidden_size = 0;                                     // width of the residual stream
    Index intermediate_size = 0;                               // rows of gate and up
    Index num_hidden_layers = 0;                               // decoder layers
    Index num_attention_heads = 0;                             // of queries
    Index num_key_value_heads = 0;                             // of keys and values
    Index head_dim = 0;                                        // numbers per head
    Index vocab_size = 0;                                      // tokens, padding included
    Index max_position_embeddings = 0;                         // longest context, in tokens
    double rms_norm_eps = 0;                                   // added to the mean square
    double rope_theta = 0;                                     // base of the rotary angles
    RopeScaling rope_scaling = {};                             // see there
    TiedEmbeddings tied_embeddings = TiedEmbeddings::unknown;  // see there
    std::vector<Index> bos_token_ids = {};                     // none, one, or several
    std::vector<Index> eos_token_ids = {};                     // none, one, or several
};

namespace detail {

[[nodiscard]] nlohmann::ordered_json to_json(const RopeScaling& scaling);

}  // namespace detail

/// Reads the text of a config.json. Throws FormatError, naming `source`, where it is no JSON object or a field
/// has the wrong type.
[[nodiscard]] Hyperparameters parse_config(std::string_view text, const std::string& source);

/// The same from GGUF metadata; empty where the file names no architecture. Throws FormatError
/// where a key has the wrong type, or the architecture is no text.
[[nodiscard]] std::optional<Hyperparameters> parse_gguf_metadata(const GgufFile& file);

/// Whether q, k, v and o add a bias.
enum class AttentionBias { no, yes };

/// Text of a config.json that says the same; `stored` becomes torch_dtype.
[[nodiscard]] std::string to_config_json(const Hyperparameters& parameters, DType stored,
                                         AttentionBias bias = AttentionBias::no);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/hyperparameters_inl.hpp"
#endif

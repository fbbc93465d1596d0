// What makes a decoder of the LLaMA family out of its weights, taken from config.json or GGUF metadata, and
// the refusal of whatever would make another one. A field that changes the mathematics is never ignored:
// fields are either known to change nothing, or have values that are supported, or are refused by name.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/model/checkpoint.hpp"
#include "mpo/model/hyperparameters.hpp"

namespace mpo {

/// Shapes and numbers of a decoder, checked.
struct TransformerConfig {
    Index hidden_size = 0;                  // width of the residual stream
    Index intermediate_size = 0;            // rows of gate and up
    Index num_layers = 0;                   // decoder layers
    Index num_heads = 0;                    // of queries; a multiple of num_kv_heads
    Index num_kv_heads = 0;                 // of keys and values
    Index head_dim = 0;                     // numbers per head; even
    Index vocab_size = 0;                   // tokens
    Index max_positions = 0;                // longest context
    double rms_norm_eps = 0;                // added to the mean square
    std::vector<double> rotary = {};        // frequencies, head_dim / 2; see model/rotary.hpp
    bool tied_head = false;                 // the head is the embedding
    bool qkv_bias = false;                  // q, k and v must have a bias
    bool mlp_bias = false;                  // gate, up and down must have one
    std::vector<Index> bos_token_ids = {};  // what texts begin with, where they do
    std::vector<Index> eos_token_ids = {};  // what ends a generated text
};

namespace detail {

void require_shapes(const Hyperparameters& of, const std::string& source);

/// Frequencies, where rope_freqs.weight divides them too.
[[nodiscard]] std::vector<double> frequencies(const Checkpoint& checkpoint,
                                              const Hyperparameters& of);

}  // namespace detail

/// Reads and checks what a checkpoint says of its decoder: model_type llama, mistral or qwen2.
///
/// throws   FormatError, naming the field, where it is another decoder or lacks what one needs
[[nodiscard]] TransformerConfig transformer_config(const Checkpoint& checkpoint);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/transformer_config_inl.hpp"
#endif

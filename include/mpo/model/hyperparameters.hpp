// The numbers that make a decoder of the LLaMA family out of its weights, and their two spellings:
// Hugging Face's config.json and the keys of a GGUF file.
#pragma once

#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"

namespace mpo {

enum class TiedEmbeddings { no, yes };  // yes: lm_head is the embedding matrix

/// 0, or empty, where the source does not say.
struct Hyperparameters {
    std::string model_type;  // "llama", "qwen2", ...
    Index hidden_size = 0;
    Index intermediate_size = 0;
    Index num_hidden_layers = 0;
    Index num_attention_heads = 0;
    Index num_key_value_heads = 0;
    Index head_dim = 0;
    Index vocab_size = 0;
    Index max_position_embeddings = 0;
    double rms_norm_eps = 0;
    double rope_theta = 0;
    TiedEmbeddings tied_embeddings = TiedEmbeddings::no;
    std::vector<Index> bos_token_ids;  // none, one, or several
    std::vector<Index> eos_token_ids;
};

}  // namespace mpo

// A decoder whose moments fit in a small file.
#pragma once

#include "mpo/model/moments_file.hpp"

namespace mpo::fuzz {

[[nodiscard]] inline TransformerConfig tiny_config() {
    TransformerConfig config;
    config.hidden_size = 2;
    config.intermediate_size = 3;
    config.num_layers = config.num_heads = config.num_kv_heads = 1;
    config.head_dim = 2;
    config.vocab_size = 5;
    return config;
}

}  // namespace mpo::fuzz

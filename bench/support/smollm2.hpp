// The shape of SmolLM2-135M, on which benches of models stand.
#pragma once

#include "mpo/model/transformer_config.hpp"
#include "support/program.hpp"

namespace mpo::bench {

/// SmolLM2-135M; --quick: so many of its 30 layers, and a sixth of its vocabulary.
[[nodiscard]] inline TransformerConfig smollm2(const Options& options, Index quick_layers) {
    TransformerConfig config;
    config.hidden_size = 576;
    config.intermediate_size = 1536;
    config.num_layers = options.shape(30, quick_layers);
    config.num_heads = 9;
    config.num_kv_heads = 3;
    config.head_dim = 64;
    config.vocab_size = options.shape(49152, 8192);
    config.max_positions = 8192;
    config.rms_norm_eps = 1e-5;
    config.rotary = rotary_frequencies(64, 1e5, {});
    config.tied_head = true;
    return config;
}

}  // namespace mpo::bench

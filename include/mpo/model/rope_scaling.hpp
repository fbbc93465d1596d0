// How rotary frequencies are stretched for longer contexts, and the same as GGUF files say it.
#pragma once

#include <string>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// How rotary frequencies are stretched beyond the context that a model was first trained for; the
/// formulas are in model/rotary.hpp. 0 where the source does not say.
struct RopeScaling {
    std::string type = {};        // empty: none; "linear", "llama3", or what the source calls it
    double factor = 0;            // by how much
    double low_freq_factor = 0;   // llama3: below so many turns in that context, all of it
    double high_freq_factor = 0;  // llama3: above so many turns, nothing
    Index original_max_position_embeddings = 0;  // that context, in tokens
};

/// The type of a GGUF file whose tensor rope_freqs.weight divides the frequencies otherwise than llama3
/// with its usual numbers would.
inline constexpr const char* gguf_rope_divisors = "gguf_rope_freqs";

namespace detail {

/// Which llama3 scaling the divisors of rope_freqs.weight are, if one with the numbers that all published
/// models have: 1 and 4 turns in 8192 positions.
[[nodiscard]] RopeScaling scaling_of_divisors(const Tensor<float>& divisors, double theta);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/rope_scaling_inl.hpp"
#endif

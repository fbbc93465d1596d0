// Text behind a prompt, token by token: the most probable one, or one drawn with temperature and top-p
// (Holtzman et al., arXiv:1904.09751) from a seed.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

/// How a text is continued.
struct GenerateOptions {
    Index max_tokens = 64;                // at most so many
    double temperature = 0;               // 0: always the most probable token
    double top_p = 1;                     // of the smallest set that has this probability
    std::uint64_t seed = 1;               // of the draws
    std::vector<Index> stop_tokens = {};  // end the text and are not part of it
    std::function<ProgressReply(Index token)> on_token =
        {};  // hears of every token, and may cancel
};

/// Why a text ended.
enum class GenerateEnd { max_tokens, stop_token, context_full, cancelled };

/// A text and why it ended.
struct Generated {
    std::vector<Index> tokens;                  // behind the prompt
    GenerateEnd end = GenerateEnd::max_tokens;  // see there
};

/// Continues `prompt` as `model` would.
///
/// prompt   at least one token
/// throws   ArgumentError (options, an empty prompt, one longer than the context), as
///          Transformer::forward; NumericalError where a logit is NaN or Inf
[[nodiscard]] Generated generate(const Transformer& model, std::span<const Index> prompt,
                                 const GenerateOptions& options = {});

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/generate_inl.hpp"
#endif

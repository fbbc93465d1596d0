// What benches of decoders run: tokens that mean nothing, and the logits of many rows.
#pragma once

#include <algorithm>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo::bench {

/// Tokens all over the vocabulary, the same in every run.
[[nodiscard]] inline std::vector<Index> some_tokens(Index count, Index vocab) {
    std::vector<Index> tokens;
    for (Index k = 0; k < count; ++k) tokens.push_back(k * 7919 % vocab);
    return tokens;
}

/// Logits of all rows of `hidden`, as many at a time as `logits` has rows: no (tokens, vocabulary) matrix.
inline void run_head(const Transformer& model, const Tensor<float>& hidden, Tensor<float>& logits) {
    const Index rows = hidden.extent(0), most = logits.extent(0);
    for (Index k = 0; k < rows; k += most) {
        const Index part = (std::min)(most, rows - k);
        model.logits(block(as_matrix(hidden.view()), k, 0, part, hidden.extent(1)),
                     block(as_matrix(logits.view()), 0, 0, part, logits.extent(1)));
    }
}

}  // namespace mpo::bench

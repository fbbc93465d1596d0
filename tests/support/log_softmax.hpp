// What a decoder says of every token, by definition.
#pragma once

#include <cmath>
#include <span>

#include "mpo/core/tensor.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo::test {

/// Log-probabilities of all ids at every position of a window.
[[nodiscard]] inline Tensor<double> log_softmax_of(const Transformer& model,
                                                   std::span<const Index> tokens) {
    auto cache = model.make_cache(static_cast<Index>(tokens.size()));
    const auto logits = model.logits(model.forward(tokens, cache));
    Tensor<double> result(logits.shape());
    const Index vocab = logits.extent(1);
    for (Index t = 0; t < logits.extent(0); ++t) {
        double sum = 0;
        for (Index j = 0; j < vocab; ++j) sum += std::exp(static_cast<double>(logits(t, j)));
        for (Index j = 0; j < vocab; ++j)
            result(t, j) = static_cast<double>(logits(t, j)) - std::log(sum);
    }
    return result;
}

}  // namespace mpo::test

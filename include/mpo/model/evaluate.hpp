// What a model makes of a text, on its own and beside a reference model: perplexity, and the divergence of
// its predictions from the reference's. Tokens in, numbers with their standard errors out; memory is
// that of the models, one window, and 24 bytes per scored token.
//
// Standard errors take tokens for independent draws; they are not quite, neighbours share their context.
// Differences of two models on the same tokens are paired: most of what a text does to one it does to both,
// so that their error is smaller by far.
#pragma once

#include <span>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/evaluate_results.hpp"
#include "mpo/model/evaluate_windows.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

namespace detail {

[[nodiscard]] Estimate estimate(const std::vector<double>& samples);

/// Value below which a share of the samples lies, between its neighbours; the order is lost.
[[nodiscard]] double quantile(std::vector<double>& samples, double share);

/// -log of the probability of `target`; NumericalError where that is no number.
[[nodiscard]] double negative_log_likelihood(const float* logits, double log_sum, Index target,
                                             Index at);

}  // namespace detail

/// Perplexity of a text under `model`.
///
/// tokens   at least 2
/// throws   ArgumentError (options, tokens outside the vocabulary), NumericalError (NaN), Cancelled
[[nodiscard]] Perplexity perplexity(const Transformer& model, std::span<const Index> tokens,
                                    const EvaluateOptions& options = {});

/// A model beside its reference on the same tokens, window by window.
///
/// throws   as perplexity; ArgumentError where the vocabularies differ in size
[[nodiscard]] Comparison compare(const Transformer& model, const Transformer& reference,
                                 std::span<const Index> tokens,
                                 const EvaluateOptions& options = {});

/// What a model thinks of one continuation.
struct ContinuationScore {
    double log_probability = 0;  // sum over its tokens of log p, in nats
    bool greedy = true;          // whether each of them is the most probable one
};

/// Scores `continuation` behind `context`, both of at least one token. Throws ArgumentError, also where
/// both together are longer than the model's context.
[[nodiscard]] ContinuationScore score_continuation(const Transformer& model,
                                                   std::span<const Index> context,
                                                   std::span<const Index> continuation);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/evaluate_inl.hpp"
#endif

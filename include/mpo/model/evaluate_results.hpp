// What evaluation finds: numbers with their standard errors, and their JSON. Nothing here needs a model.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// A mean and its standard error.
struct Estimate {
    double mean = 0;            // over the scored tokens
    double standard_error = 0;  // deviation / sqrt(count); 0 for one token
};

/// How well a model predicts a text.
struct Perplexity {
    Index tokens = 0;          // of the text
    Index scored = 0;          // predicted
    Index window = 0;          // as asked
    Index stride = 0;          // as asked
    Estimate nll = {};         // -log of the probability of a token, in nats
    Estimate perplexity = {};  // exp(nll.mean); error by linearisation
    double bits_per_byte = 0;  // sum of nll / (ln 2 bytes); 0 where the bytes are not known
};

/// How far a model is from its reference on a text.
struct Comparison {
    Perplexity model = {};        // of the model
    Perplexity reference = {};    // of its reference
    Estimate kld = {};            // of the reference from the model, nats per token
    double kld_median = 0;        // half of the tokens have less
    double kld_99 = 0;            // 99 % have less
    double kld_max = 0;           // the worst
    Estimate same_top = {};       // share of tokens for which both have the same first choice
    Estimate log_ppl_ratio = {};  // ln(model / reference perplexity), paired
};

namespace detail {

[[nodiscard]] nlohmann::ordered_json to_json(const Perplexity& result);

/// The model's numbers and what lies between it and its reference; not the reference's own.
[[nodiscard]] nlohmann::ordered_json to_json(const Comparison& result);

}  // namespace detail

/// One JSON object: tokens, scored, window, stride, nll, perplexity and their errors, bits_per_byte.
[[nodiscard]] std::string to_json(const Perplexity& result);

/// The same of the model, what lies between it and its reference, and "reference" as another such object.
[[nodiscard]] std::string to_json(const Comparison& result);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/evaluate_results_inl.hpp"
#endif

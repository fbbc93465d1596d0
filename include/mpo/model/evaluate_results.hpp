// What evaluation finds: numbers with their standard errors, and their JSON. Nothing here needs a model.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "mpo/core/tensor.hpp"
#include "mpo/model/json_lines.hpp"

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

[[nodiscard]] inline nlohmann::ordered_json to_json(const Perplexity& result) {
    nlohmann::ordered_json json{{"tokens", result.tokens},
                                {"scored", result.scored},
                                {"window", result.window},
                                {"stride", result.stride},
                                {"nll", result.nll.mean},
                                {"nll_error", result.nll.standard_error},
                                {"perplexity", result.perplexity.mean},
                                {"perplexity_error", result.perplexity.standard_error}};
    if (result.bits_per_byte > 0) json["bits_per_byte"] = result.bits_per_byte;
    return json;
}

/// The model's numbers and what lies between it and its reference; not the reference's own.
[[nodiscard]] inline nlohmann::ordered_json to_json(const Comparison& result) {
    auto json = detail::to_json(result.model);
    json["kld_mean"] = result.kld.mean;
    json["kld_error"] = result.kld.standard_error;
    json["kld_median"] = result.kld_median;
    json["kld_p99"] = result.kld_99;
    json["kld_max"] = result.kld_max;
    json["top1_agreement"] = result.same_top.mean;
    json["top1_agreement_error"] = result.same_top.standard_error;
    json["log_perplexity_ratio"] = result.log_ppl_ratio.mean;
    json["log_perplexity_ratio_error"] = result.log_ppl_ratio.standard_error;
    return json;
}

}  // namespace detail

/// One JSON object: tokens, scored, window, stride, nll, perplexity and their errors, bits_per_byte.
[[nodiscard]] inline std::string to_json(const Perplexity& result) {
    return detail::json_lines(detail::to_json(result));
}

/// The same of the model, what lies between it and its reference, and "reference" as another such object.
[[nodiscard]] inline std::string to_json(const Comparison& result) {
    auto json = detail::to_json(result);
    json["reference"] = detail::to_json(result.reference);
    return detail::json_lines(json);
}

}  // namespace mpo

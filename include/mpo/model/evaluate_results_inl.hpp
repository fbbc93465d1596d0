// The bodies of model/evaluate_results.hpp that are no templates.
#pragma once

#include <nlohmann/json.hpp>

#include "mpo/io/inline.hpp"
#include "mpo/model/evaluate_results.hpp"
#include "mpo/model/json_lines.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const Perplexity& result) {
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

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const Comparison& result) {
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

MPO_DETAIL_MODEL_INLINE std::string to_json(const Perplexity& result) {
    return detail::json_lines(detail::to_json(result));
}

MPO_DETAIL_MODEL_INLINE std::string to_json(const Comparison& result) {
    auto json = detail::to_json(result);
    json["reference"] = detail::to_json(result.reference);
    return detail::json_lines(json);
}

}  // namespace mpo

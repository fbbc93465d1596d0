// The bodies of model/model_cost.hpp that are no templates.
#pragma once

#include <nlohmann/json.hpp>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/model_cost.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const ModelCost& cost) {
    auto batches = nlohmann::ordered_json::array();
    for (const auto& one : cost.batches)
        batches.push_back({{"batch", one.batch},
                           {"multiply_adds", one.multiply_adds},
                           {"ms_per_token", one.ms_per_token}});
    return {
        {"parameters", cost.parameters}, {"bytes", cost.bytes}, {"batches", std::move(batches)}};
}

}  // namespace mpo::detail

// What a model in some form costs to keep and to apply. Measured by token_speed.hpp; nothing here needs a model.
#pragma once

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// One pass of so many tokens through the layers of a decoder; the head is the same in every form.
struct BatchCost {
    Index batch = 0;          // tokens in one call
    Index multiply_adds = 0;  // per token, of the linears of all layers, as planned for this batch
    double ms_per_token = 0;  // median of a few passes
};

/// What a model costs.
struct ModelCost {
    Index parameters = 0;                 // numbers stored, of all tensors
    Index bytes = 0;                      // of all tensors
    std::vector<BatchCost> batches = {};  // in ascending order
};

namespace detail {

[[nodiscard]] inline nlohmann::ordered_json to_json(const ModelCost& cost) {
    auto batches = nlohmann::ordered_json::array();
    for (const auto& one : cost.batches)
        batches.push_back({{"batch", one.batch},
                           {"multiply_adds", one.multiply_adds},
                           {"ms_per_token", one.ms_per_token}});
    return {
        {"parameters", cost.parameters}, {"bytes", cost.bytes}, {"batches", std::move(batches)}};
}

}  // namespace detail
}  // namespace mpo

// What a model in some form costs to keep and to apply. Measured by token_speed.hpp; nothing here needs a model.
#pragma once

#include <nlohmann/json_fwd.hpp>
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

[[nodiscard]] nlohmann::ordered_json to_json(const ModelCost& cost);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/model_cost_inl.hpp"
#endif

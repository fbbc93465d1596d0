// The bodies of model/heal_choice.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/evaluate.hpp"
#include "mpo/model/heal_choice.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void require_trial(const HealBlocksOptions& options, bool has_rival) {
    if (options.trial_steps > 0 && !has_rival)
        raise<ArgumentError>({"heal: trial_steps is ", options.trial_steps,
                              ", and there is no rival to try the student against"});
}

MPO_DETAIL_MODEL_INLINE FormDivergences compared(const std::vector<double>& student,
                                                 const std::vector<double>& rival) {
    std::vector<double> differences;
    for (std::size_t k = 0; k < student.size(); ++k) differences.push_back(rival[k] - student[k]);
    return {estimate(student).mean, estimate(rival).mean, estimate(differences).standard_error};
}

MPO_DETAIL_MODEL_INLINE std::vector<Layout> layouts_below(const WeightReader& reader,
                                                          const std::string& prefix) {
    std::vector<Layout> layouts;
    if (const auto* compressed = reader.compressed())
        for (const auto& linear : compressed->linears())
            if (linear.name.starts_with(prefix)) layouts.push_back(linear.layout);
    return layouts;
}

/// Tensors below a name.
[[nodiscard]] inline std::vector<const CheckpointTensor*> tensors_below(
    const Checkpoint& checkpoint, const std::string& prefix) {
    std::vector<const CheckpointTensor*> tensors;
    for (const auto& tensor : checkpoint.tensors())
        if (tensor.name.starts_with(prefix)) tensors.push_back(&tensor);
    return tensors;
}

MPO_DETAIL_MODEL_INLINE bool has_same_layer(const WeightReader& a, const WeightReader& b,
                                            Index layer) {
    const std::string prefix = concat("model.layers.", layer, ".");
    const auto first = tensors_below(a.checkpoint(), prefix),
               second = tensors_below(b.checkpoint(), prefix);
    const auto same = [&](const CheckpointTensor* x, const CheckpointTensor* y) {
        if (x->name != y->name || x->type != y->type || x->shape != y->shape) return false;
        const auto left = a.checkpoint().raw(x->name), right = b.checkpoint().raw(y->name);
        return std::equal(left.data(), left.data() + left.size(), right.data(),
                          right.data() + right.size());
    };
    return std::equal(first.begin(), first.end(), second.begin(), second.end(), same) &&
           layouts_below(a, prefix) == layouts_below(b, prefix);
}

}  // namespace mpo::detail

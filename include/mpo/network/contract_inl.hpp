// What of network/contract.hpp is no template.
#pragma once

#include <algorithm>

#include "mpo/core/inline.hpp"
#include "mpo/network/contract.hpp"

namespace mpo::detail {

MPO_DETAIL_INLINE PlanQuestion question_of(const PlanOptions& options, Index element_size) {
    if (options.batch < 1)
        raise<ArgumentError>({"make_plan: batch must be at least 1, got ", options.batch});
    const bool free = options.direction == SweepDirection::automatic && !options.with_gradient;
    return {.batch = options.batch,
            .element_size = element_size,
            .max_workspace_bytes = options.max_workspace_bytes,
            .dense_cache = options.dense_cache == DenseCache::allow,
            .merge = free,
            .gradient = options.with_gradient,
            .direction = options.direction};
}

MPO_DETAIL_INLINE std::vector<PlanCandidate> admissible_candidates(const Layout& layout,
                                                                   const Shape& bonds,
                                                                   const PlanQuestion& question,
                                                                   const MachineTable& table) {
    auto candidates = plan_candidates(layout, bonds, question, table);
    if (candidates.front().admissible) return candidates;
    Index least = 0;
    for (const auto& candidate : candidates)
        if (candidate.form != PlanForm::dense && (least == 0 || candidate.workspace_bytes < least))
            least = candidate.workspace_bytes;
    raise<ArgumentError>({"make_plan: max_workspace_bytes = ", question.max_workspace_bytes,
                          " is too small, one slice of one token needs ", least});
}

MPO_DETAIL_INLINE MachineTable table_of(const PlanOptions& options, int threads) {
    auto table = options.machine != nullptr ? *options.machine : default_machine_table();
    table.threads = std::max<int>(1, threads);
    return table;
}

}  // namespace mpo::detail

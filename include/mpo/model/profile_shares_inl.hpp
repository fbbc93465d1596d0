// The bodies of model/profile_shares.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/allocate.hpp"
#include "mpo/model/compress.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/profile_shares.hpp"

namespace mpo {
namespace detail {

/// Bytes of the pivots of a linear at most: 4 for each of a bond, which is no larger than the root of m n.
[[nodiscard]] inline Index pivot_bytes(Index m, Index n) {
    return static_cast<Index>(
        4 * std::ceil(std::sqrt(static_cast<double>(m) * static_cast<double>(n))));
}

/// The profiled linears that are to be compressed, in the order of the source. Throws ArgumentError for one that was not
/// profiled, or has another shape.
[[nodiscard]] inline std::vector<AllocationItem> items_to_allocate(
    const Profile& profile, const std::vector<PlannedLinear>& linears) {
    auto items = allocation_items(profile);
    std::unordered_map<std::string, AllocationItem*> item_of;
    for (auto& item : items) item_of.emplace(item.name, &item);
    std::vector<AllocationItem> result;
    for (const auto& linear : linears) {
        const auto found = item_of.find(linear.name);
        if (found == item_of.end())
            raise<ArgumentError>({"compress: the profile says nothing of ", linear.name,
                                  "; leave it out of the compression or profile it"});
        const auto& shape = linear.tensor->shape;
        if (found->second->rows != shape[0] || found->second->cols != shape[1])
            raise<ArgumentError>({"compress: ", linear.name, " is ", shape[0], " x ", shape[1],
                                  ", in the profile ", found->second->rows, " x ",
                                  found->second->cols});
        result.push_back(std::move(*found->second));
    }
    return result;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::map<std::string, double> profile_shares(const Profile& profile,
                                                                     const Checkpoint& source,
                                                                     const CompressOptions& options,
                                                                     double floor,
                                                                     double max_flops_ratio) {
    if (!options.budget && !options.budget_bytes)
        throw ArgumentError("compress: a profile needs a budget or budget_bytes to be spread");
    const auto linears = detail::plan_linears(source, options);
    if (const auto own = detail::fingerprint(source); own != profile.fingerprint)
        detail::raise<ArgumentError>({"compress: the profile is of another model, ", profile.model,
                                      " with fingerprint ", profile.fingerprint, ", not of ",
                                      source.path().string(), " with ", own});
    const auto items = detail::items_to_allocate(profile, linears);
    AllocateOptions allocation;
    allocation.floor = floor;
    allocation.max_flops_ratio = max_flops_ratio;
    allocation.dense_bits = allocation.factor_bits = bits_per_element(options.dtype);
    double numbers = 0;
    Index pivots = 0;
    for (const auto& item : items) {
        numbers += static_cast<double>(item.rows) * static_cast<double>(item.cols);
        pivots += detail::pivot_bytes(item.rows, item.cols);
    }
    auto budget = static_cast<Index>(options.budget.value_or(1) * numbers);
    if (options.budget_bytes) {
        allocation.unit = BudgetUnit::bytes;
        budget = (std::max)(Index{0}, *options.budget_bytes - pivots);
    }
    std::map<std::string, double> shares;
    for (const auto& linear : allocate(items, budget, allocation).linears) {
        const auto& item = items[shares.size()];
        const double dense = static_cast<double>(item.rows) * static_cast<double>(item.cols);
        // half a number more, so that rounding takes none away
        shares[linear.name] = linear.dense ? 1 : (std::min)(1.0, linear.share + 0.5 / dense);
    }
    return shares;
}

}  // namespace mpo

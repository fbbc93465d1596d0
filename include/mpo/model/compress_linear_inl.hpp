// The bodies of model/compress_linear.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>

#include "mpo/core/dtype.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/compress_linear.hpp"
#include "mpo/model/compressed_config.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE std::vector<Layout> competing_layouts(LinearKind kind, Index m, Index n,
                                                              const CompressOptions& options) {
    if (const auto given = options.layouts.find(kind); given != options.layouts.end())
        return {given->second};
    std::vector<Layout> layouts;
    if (options.form != CompressForm::mpo) layouts.push_back(low_rank_layout(m, n));
    if (options.form == CompressForm::low_rank) return layouts;
    layouts.push_back(balanced_layout(m, n, options.sites));
    for (const Index f : {2, 4, 8, 16})
        if (const auto opposed = opposed_layout(m, n, f); opposed && options.sites == 2)
            layouts.push_back(*opposed);
    return layouts;
}

MPO_DETAIL_MODEL_INLINE bool fits(const Layout& layout, Index cap, const StoredLimit& limit,
                                  const CompressOptions& options) {
    const Shape bonds = uniform_bonds(layout, cap);
    return num_stored(layout, bonds, options.stored_as) <= limit.parameters &&
           stored_bytes(layout, bonds, options.dtype, options.stored_as) <= limit.bytes;
}

/// A share of m n numbers, or what is a little smaller than all of them. A share of bytes is one of
/// parameters that pivots count in.
[[nodiscard]] inline StoredLimit stored_limit(Index dense, std::optional<double> share,
                                              const CompressOptions& options) {
    const Index width = bits_per_element(options.dtype) / 8, most = checked_multiply(dense, width);
    if (!share) return {dense - 1, most - 1};
    const auto part = [&](Index n) { return static_cast<Index>(*share * static_cast<double>(n)); };
    return {part(dense), options.budget_bytes ? part(most) : most - 1};
}

MPO_DETAIL_MODEL_INLINE std::vector<Candidate> candidates(LinearKind kind, Index m, Index n,
                                                          std::optional<double> share,
                                                          const CompressOptions& options) {
    const Index dense = checked_multiply(m, n);
    std::vector<Candidate> result;
    if (share && *share >= 1) return result;
    const StoredLimit limit = stored_limit(dense, share, options);
    const StoredLimit below_dense = stored_limit(dense, std::nullopt, options);
    Index smallest = dense;
    for (const Layout& layout : competing_layouts(kind, m, n, options)) {
        validate(layout, m, n, "compress");
        if (fits(layout, 1, below_dense, options))
            smallest = (std::min)(smallest,
                                  num_stored(layout, uniform_bonds(layout, 1), options.stored_as));
        Candidate candidate{layout, {}};
        const auto keeps = [&](Index cap) { return fits(layout, cap, limit, options); };
        if (options.tolerance)
            candidate.truncation.max_relative_error = *options.tolerance;
        else
            candidate.truncation.max_bond_dim =
                options.max_bond_dim ? *options.max_bond_dim : largest_uniform_bond(layout, keeps);
        const Index cap = candidate.truncation.max_bond_dim;
        if (options.tolerance || (cap >= 1 && keeps(cap))) result.push_back(std::move(candidate));
    }
    if (result.empty() && share && smallest < dense)
        raise<ArgumentError>({"the budget leaves ", limit.parameters, " of ", dense, " parameters",
                              options.budget_bytes ? " with pivots" : "",
                              ", and the smallest form takes ", smallest});
    return result;
}

MPO_DETAIL_MODEL_INLINE std::vector<Candidate> close_to_best(const std::vector<Candidate>& all,
                                                             const std::vector<double>& estimates,
                                                             double factor) {
    constexpr double noise = 1e-3;  // sqrt of the rounding of 1 - kept / total
    const double limit = factor * *std::min_element(estimates.begin(), estimates.end()) + noise;
    std::vector<Candidate> close;
    for (std::size_t k = 0; k < all.size(); ++k)
        if (estimates[k] <= limit) close.push_back(all[k]);
    return close;
}

MPO_DETAIL_MODEL_INLINE double least_error(const DecomposeReport& report, Index cap) {
    double worst = 0;
    for (const auto& bond : report.bonds) {
        double dropped = bond.discarded_weight;
        for (Index k = cap; k < bond.bond_dim; ++k) {
            const double relative =
                bond.singular_values[static_cast<std::size_t>(k)] / (std::max)(report.norm, 1e-300);
            dropped += relative * relative;
        }
        worst = (std::max)(worst, dropped);
    }
    return std::sqrt(worst);
}

}  // namespace mpo::detail

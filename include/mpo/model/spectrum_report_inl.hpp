// The bodies of model/spectrum_report.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "mpo/io/inline.hpp"
#include "mpo/model/spectrum_report.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::vector<Index> sampled_ranks(Index count, Index chosen) {
    constexpr Index most = max_spectrum_points - 1;
    std::vector<Index> ranks;
    for (Index j = 0; j < (std::min)(count, most); ++j) {
        const double share = static_cast<double>(j) / static_cast<double>(most - 1);
        ranks.push_back(count <= most ? j + 1
                                      : 1 + static_cast<Index>(std::llround(
                                                static_cast<double>(count - 1) * share * share)));
    }
    if (chosen >= 1 && chosen <= count) ranks.push_back(chosen);
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
    return ranks;
}

MPO_DETAIL_MODEL_INLINE SpectrumReport spectrum_report(const BondSpectrum& bond, double norm) {
    const auto& sigma = bond.singular_values;
    SpectrumReport report{bond.bond_dim, bond.useful_bond_dim,  static_cast<Index>(sigma.size()),
                          bond.limit,    bond.discarded_weight, {}};
    // weight[r]: lost of norm(W)^2 by keeping r values; added up from the small end
    const double total = norm > 0 ? norm * norm : 1;
    std::vector<double> weight(sigma.size() + 1);
    const bool all_known = report.num_computed >= bond.useful_bond_dim;
    double beyond = all_known ? 0 : bond.discarded_weight;  // what no computed value accounts for
    for (auto r = static_cast<std::size_t>((std::max)(Index{0}, bond.bond_dim)); r < sigma.size();
         ++r)
        beyond = all_known ? 0 : (std::max)(0.0, beyond - sigma[r] * sigma[r] / total);
    weight.back() = beyond;
    for (std::size_t r = sigma.size(); r > 0; --r)
        weight[r - 1] = weight[r] + sigma[r - 1] * sigma[r - 1] / total;
    for (const Index rank : sampled_ranks(report.num_computed, bond.bond_dim)) {
        const auto r = static_cast<std::size_t>(rank);
        report.points.push_back({rank, sigma[r - 1], std::sqrt(weight[r])});
    }
    return report;
}

}  // namespace mpo

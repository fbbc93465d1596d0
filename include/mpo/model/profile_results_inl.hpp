// The bodies of model/profile_results.hpp that are no templates.
#pragma once

#include <algorithm>

#include "mpo/io/inline.hpp"
#include "mpo/model/damage.hpp"
#include "mpo/model/profile_results.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE Index rank_of_share(Index m, Index n, double share) {
    const double most = share * static_cast<double>(m) * static_cast<double>(n);
    Index rank = 1;
    while (rank < (std::min)(m, n) &&
           static_cast<double>(rank + 1) * static_cast<double>(m + n - rank - 1) <= most)
        ++rank;
    return rank;
}

MPO_DETAIL_MODEL_INLINE std::vector<AllocationItem> allocation_items(const Profile& profile) {
    std::vector<AllocationItem> items;
    for (const auto& linear : profile.linears) {
        std::vector<DamagePoint> points;
        for (auto probe = linear.probes.rbegin(); probe != linear.probes.rend(); ++probe) {
            const double loss = probe->activation_error * probe->activation_error;
            if (loss > (points.empty() ? 0 : points.back().loss) && probe->kld.mean > 0)
                points.push_back({loss, probe->kld.mean});
        }
        items.push_back({linear.name, linear.rows, linear.cols, linear.losses,
                         points.empty() ? DamageCurve(0.0) : DamageCurve(points)});
    }
    return items;
}

}  // namespace mpo

// The bodies of model/uniform_low_rank.hpp that are no templates.
#pragma once

#include <algorithm>

#include "mpo/io/inline.hpp"
#include "mpo/model/uniform_low_rank.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::map<std::string, double> uniform_shares(const CompressReport& report) {
    const auto size = report.size();
    const double share = static_cast<double>(size.parameters) /
                         static_cast<double>((std::max)(size.parameters_before, Index{1}));
    std::map<std::string, double> shares;
    for (const auto& linear : report.linears) {
        const auto m = static_cast<double>(linear.shape.at(0)),
                   n = static_cast<double>(linear.shape.at(1));
        shares[linear.name] = (std::min)(1.0, (std::max)(share, (m + n + 0.5) / (m * n)));
    }
    return shares;
}

}  // namespace mpo

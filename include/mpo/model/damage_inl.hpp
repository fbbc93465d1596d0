// The bodies of model/damage.hpp that are no templates.
#pragma once

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/damage.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE DamageCurve::DamageCurve(const std::vector<DamagePoint>& points,
                                                 double weight)
    : weight_(weight) {
    require_weight();
    if (points.empty()) throw ArgumentError("DamageCurve: there is no point");
    for (std::size_t k = 0; k < points.size(); ++k) {
        const auto& point = points[k];
        if (!(point.loss > 0 && point.kld > 0) || !std::isfinite(point.loss) ||
            !std::isfinite(point.kld))
            detail::raise<ArgumentError>({"DamageCurve: loss and KLD of point ", k,
                                          " must be above 0 and finite, got ", point.loss, " and ",
                                          point.kld});
        if (k > 0 && !(points[k - 1].loss < point.loss))
            detail::raise<ArgumentError>({"DamageCurve: points must ascend in their loss, got ",
                                          points[k - 1].loss, " before ", point.loss});
        log_loss_.push_back(std::log(point.loss));
        log_kld_.push_back(std::log(point.kld));
    }
    pool();
}

MPO_DETAIL_MODEL_INLINE void DamageCurve::require_weight() const {
    if (!(weight_ >= 0) || !std::isfinite(weight_))
        detail::raise<ArgumentError>(
            {"DamageCurve: the weight must be finite and >= 0, got ", weight_});
}

MPO_DETAIL_MODEL_INLINE void DamageCurve::pool() {
    struct Run {
        double sum;
        std::size_t count;
        [[nodiscard]] double mean() const { return sum / static_cast<double>(count); }
    };
    std::vector<Run> runs;
    for (const double y : log_kld_) {
        runs.push_back({y, 1});
        while (runs.size() > 1 && runs[runs.size() - 2].mean() > runs.back().mean()) {
            const Run top = runs.back();
            runs.pop_back();
            runs.back().sum += top.sum;
            runs.back().count += top.count;
        }
    }
    log_kld_.clear();
    for (const auto& run : runs) log_kld_.insert(log_kld_.end(), run.count, run.mean());
}

MPO_DETAIL_MODEL_INLINE double DamageCurve::exponent(std::size_t k) const {
    if (log_loss_.size() == 1) return 1;
    return (log_kld_[k + 1] - log_kld_[k]) / (log_loss_[k + 1] - log_loss_[k]);
}

}  // namespace mpo

// What the loss of one linear does to the model: a curve through few measurements.
//
// The closed form of linalg/weighted_low_rank.hpp has the loss of a linear at every rank; what the model's
// distribution suffers from it is measured at a few (model/profile.hpp). In between, and beyond,
// log(damage) is taken to be piecewise linear in log(loss): a power law between two measurements. Outside of
// them the exponent of the outer pair goes on, within 1/2 to 2: for small errors of the outputs the KLD is
// quadratic in them, linear in their squared norm, which is the loss; saturation lowers the exponent.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace mpo {

/// A measurement: one linear alone was replaced.
struct DamagePoint {
    double loss = 0;  // relative: tr(E S E^T) / tr(W S W^T), E the error of W
    double kld = 0;   // nats per token between the model without and with it
};

/// Damage as a function of the relative loss of one linear; 0 at 0, never falling.
class DamageCurve {
  public:
    /// weight times loss. Throws ArgumentError for a weight that is negative or not finite.
    explicit DamageCurve(double weight = 1) : weight_(weight) { require_weight(); }
    /// weight times the KLD of the power law through the points. Where the KLD falls while the loss grows,
    /// both points have their geometric mean: less is noise.
    ///
    /// points   ascending in their loss, both numbers above 0; of one alone: its exponent is 1
    /// throws   ArgumentError (no points, their order, their numbers, weight)
    explicit DamageCurve(const std::vector<DamagePoint>& points, double weight = 1);

    /// The damage of a relative loss >= 0.
    [[nodiscard]] double operator()(double loss) const {
        if (!(loss > 0)) return 0;
        if (log_loss_.empty()) return weight_ * loss;
        const double x = std::log(loss);
        const std::size_t last = log_loss_.size() - 1;
        if (x <= log_loss_.front()) return weight_ * std::exp(on_line(x, 0, bounded(0)));
        if (x >= log_loss_.back())
            return weight_ * std::exp(on_line(x, last, bounded(last > 0 ? last - 1 : 0)));
        std::size_t k = 0;
        while (log_loss_[k + 1] < x) ++k;
        return weight_ * std::exp(on_line(x, k, exponent(k)));
    }

  private:
    void require_weight() const;
    /// Pools adjacent violators: the closest curve that never falls.
    void pool();
    [[nodiscard]] double exponent(std::size_t k) const;
    [[nodiscard]] double bounded(std::size_t k) const { return std::clamp(exponent(k), 0.5, 2.0); }
    [[nodiscard]] double on_line(double x, std::size_t k, double slope) const {
        return log_kld_[k] + slope * (x - log_loss_[k]);
    }

    double weight_;
    std::vector<double> log_loss_, log_kld_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/damage_inl.hpp"
#endif

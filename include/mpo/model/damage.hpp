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

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

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
    explicit DamageCurve(const std::vector<DamagePoint>& points, double weight = 1)
        : weight_(weight) {
        require_weight();
        if (points.empty()) throw ArgumentError("DamageCurve: there is no point");
        for (std::size_t k = 0; k < points.size(); ++k) {
            const auto& point = points[k];
            if (!(point.loss > 0 && point.kld > 0) || !std::isfinite(point.loss) ||
                !std::isfinite(point.kld))
                detail::raise<ArgumentError>({"DamageCurve: loss and KLD of point ", k,
                                              " must be above 0 and finite, got ", point.loss,
                                              " and ", point.kld});
            if (k > 0 && !(points[k - 1].loss < point.loss))
                detail::raise<ArgumentError>({"DamageCurve: points must ascend in their loss, got ",
                                              points[k - 1].loss, " before ", point.loss});
            log_loss_.push_back(std::log(point.loss));
            log_kld_.push_back(std::log(point.kld));
        }
        pool();
    }

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
    void require_weight() const {
        if (!(weight_ >= 0) || !std::isfinite(weight_))
            detail::raise<ArgumentError>(
                {"DamageCurve: the weight must be finite and >= 0, got ", weight_});
    }
    /// Pools adjacent violators: the closest curve that never falls.
    void pool() {
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
    [[nodiscard]] double exponent(std::size_t k) const {
        if (log_loss_.size() == 1) return 1;
        return (log_kld_[k + 1] - log_kld_[k]) / (log_loss_[k + 1] - log_loss_[k]);
    }
    [[nodiscard]] double bounded(std::size_t k) const { return std::clamp(exponent(k), 0.5, 2.0); }
    [[nodiscard]] double on_line(double x, std::size_t k, double slope) const {
        return log_kld_[k] + slope * (x - log_loss_[k]);
    }

    double weight_;
    std::vector<double> log_loss_, log_kld_;
};

}  // namespace mpo

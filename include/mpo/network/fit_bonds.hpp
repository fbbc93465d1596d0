// fit_bonds: which bonds serve a chain best that may have so many numbers, and the chain. Pairs of neighbouring
// cores are fitted as one and split again, which shows what every direction of a bond is worth (fit_pair.hpp);
// numbers move from bonds where a direction is worth little to bonds where it is worth more; and so on.
#pragma once

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "mpo/network/fit.hpp"
#include "mpo/network/layout_search.hpp"

namespace mpo {

/// Limits, and how long to go on.
struct FitBondsOptions {
    LayoutLimits limits = {};  // of the chain that comes out, and of the one it starts from
    Index max_rounds = 4;      // each moves numbers between bonds once; at least 1
    FitOptions fit = {};       // layout and bonds are not read
};

namespace detail {

/// Bonds D[0] .. D[N] within the limits, filled from half of the present ones upwards, always the bond whose
/// next direction is worth most per number that it costs. None grows beyond twice what it is: what a direction
/// is worth depends on the other bonds.
///
/// layout    the legs
/// bonds     the present ones, within the limits
/// weights   of bonds 1 .. N-1, every direction, descending
[[nodiscard]] inline Shape allot_bonds(const Layout& layout, const Shape& bonds,
                                       const std::vector<std::vector<double>>& weights,
                                       const LayoutLimits& limits) {
    const Shape useful = useful_bond_dims(layout);
    const auto cost = [&](const Shape& D) { return num_stored(layout, D, limits.stored_as); };
    const auto fits = [&](const Shape& D) {
        return cost(D) <= limits.max_parameters &&
               multiply_adds_of_best_sweep(layout, D) <= limits.max_multiply_adds;
    };
    Shape most(bonds.size(), 1), next(bonds.size(), 1);
    for (std::size_t k = 1; k + 1 < bonds.size(); ++k) {
        most[k] = (std::min)({useful[k], 2 * bonds[k], static_cast<Index>(weights[k - 1].size())});
        next[k] = (std::max)(Index{1}, (std::min)(bonds[k] / 2, most[k]));
    }
    if (!fits(next)) return bonds;  // storage that shrinks as bonds grow
    for (;;) {
        std::size_t best = 0;
        double best_worth = -1;
        for (std::size_t k = 1; k + 1 < bonds.size(); ++k) {
            if (next[k] >= most[k]) continue;
            Shape grown = next;
            ++grown[k];
            if (!fits(grown)) continue;
            const auto price = (std::max)(Index{1}, cost(grown) - cost(next));
            const double worth =
                weights[k - 1][static_cast<std::size_t>(next[k])] / static_cast<double>(price);
            if (worth > best_worth) best = k, best_worth = worth;
        }
        if (best == 0) return next;
        ++next[best];
    }
}

/// The rounds of fit_bonds on the scale of the metric.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Fitted<T> adapt_bonds(Mpo<T> start, const FitMetric<T, B>& metric,
                                    const FitBondsOptions& options, const B& backend) {
    const Layout layout = start.layout();
    auto best = improve(std::move(start), metric, options.fit, backend);
    for (Index round = 0; round < options.max_rounds && best.report.loss > 0; ++round) {
        FitReport steps;
        ChainFit<T, B> chain(best.mpo, metric, options.fit, backend);
        const Shape bonds = best.mpo.bond_dims();
        const auto weights = chain.sweep_pairs(bonds, best.report.loss, steps);
        const Shape target = allot_bonds(layout, bonds, weights, options.limits);
        if (target == bonds && round > 0) break;
        (void)chain.sweep_pairs(target, best.report.loss, steps);
        auto next = improve(chain.chain(), metric, options.fit, backend);
        next.report.iterations += best.report.iterations + steps.iterations;
        if (!(next.report.loss < best.report.loss)) break;
        const bool little =
            best.report.loss - next.report.loss < options.fit.min_gain * best.report.loss;
        auto losses = std::move(best.report.losses);
        losses.push_back(next.report.loss);
        next.report.losses = std::move(losses);
        best = std::move(next);
        if (little) break;
    }
    return best;
}

}  // namespace detail

/// The chain within the limits that loses least of the outputs of W, bonds of its own for every place.
///
/// W         (out, in), finite
/// S         (in, in), as fit takes it
/// start     any chain of these legs within the limits
/// returns   a chain within the limits, right-canonical; in report.losses the start, its sweeps, and every round
///           that lowered the loss
/// error     never above fit's from this start; else as fit's
/// cost      of a round: two sweeps over pairs (max_iterations products with S and an SVD of every pair), and a fit
/// throws    as fit; ArgumentError where the start is beyond a limit, or max_rounds < 1
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Fitted<T> fit_bonds(const Tensor<T>& W, const Tensor<GramScalar<B, T>>& S,
                                  Mpo<T> start, const FitBondsOptions& options, const B& backend) {
    detail::validate(options.fit);
    detail::require_moments(W, S);
    detail::require_start(W, start);
    if (options.max_rounds < 1)
        detail::raise<ArgumentError>(
            {"fit_bonds: max_rounds must be at least 1, got ", options.max_rounds});
    const Index numbers = num_stored(start.layout(), start.bond_dims(), options.limits.stored_as);
    const Index adds = multiply_adds_of_best_sweep(start.layout(), start.bond_dims());
    if (numbers > options.limits.max_parameters || adds > options.limits.max_multiply_adds)
        detail::raise<ArgumentError>({"fit_bonds: the start has ", numbers, " numbers and ", adds,
                                      " multiply-adds, allowed are ", options.limits.max_parameters,
                                      " and ", options.limits.max_multiply_adds});
    const detail::FitMetric<T, B> metric(W, S, options.fit.ridge, backend);
    return detail::on_scale(std::move(start), metric, [&](Mpo<T> scaled) {
        return detail::adapt_bonds(std::move(scaled), metric, options, backend);
    });
}

}  // namespace mpo

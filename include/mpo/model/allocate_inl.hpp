// The bodies of model/allocate.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/allocate.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::string_view to_string(BudgetUnit unit) {
    constexpr std::string_view names[] = {"parameters", "bytes", "multiply_adds"};
    return names[static_cast<int>(unit)];
}

namespace detail {

/// a b, both >= 0. Throws ArgumentError, naming the linear, where it overflows.
[[nodiscard]] inline Index allocation_product(Index a, Index b, const AllocationItem& item) {
    if (a > 0 && b > (std::numeric_limits<Index>::max)() / a)
        raise<ArgumentError>({"allocate: the cost of ", item.name, ", ", item.rows, " x ",
                              item.cols, ", is beyond ", (std::numeric_limits<Index>::max)()});
    return a * b;
}

[[nodiscard]] inline Index stored_parameters(const AllocationItem& item, Index rank) {
    return rank * (item.rows + item.cols - rank);
}

inline void validate_allocation(const AllocationItem& item, const AllocateOptions& options) {
    if (item.rows < 1 || item.cols < 1)
        raise<ShapeError>({"allocate: ", item.name, " is empty, ", item.rows, " x ", item.cols});
    // no cost is more than 2 m n numbers of at most 64 bits
    (void)allocation_product(allocation_product(item.rows, item.cols, item),
                             options.unit == BudgetUnit::bytes ? 128 : 2, item);
    const auto ranks = static_cast<std::size_t>((std::min)(item.rows, item.cols)) + 1;
    if (item.losses.size() != ranks)
        raise<ArgumentError>({"allocate: ", item.name, ", ", item.rows, " x ", item.cols,
                              ", needs losses of rank 0 to ", ranks - 1, ", got ",
                              item.losses.size(), " of them"});
    for (std::size_t r = 0; r < ranks; ++r) {
        if (!(item.losses[r] >= 0) || !std::isfinite(item.losses[r]))
            raise<NumericalError>({"allocate: the loss of ", item.name, " at rank ", r, " is ",
                                   item.losses[r], "; it must be finite and >= 0"});
        if (r > 0 && item.losses[r] > item.losses[r - 1])
            raise<NumericalError>({"allocate: the loss of ", item.name, " grows from ",
                                   item.losses[r - 1], " at rank ", r - 1, " to ", item.losses[r],
                                   " at rank ", r});
    }
}

/// One form of a linear.
struct AllocationChoice {
    Index rank = 0;
    bool dense = false;
    Index cost = 0;
    double loss = 0, damage = 0;
};

/// The forms of one linear that are worth their cost, ascending in it, and the convex hull of those at or above
/// its floor.
class AllocationCurve {
  public:
    std::vector<AllocationChoice> choices;
    std::size_t chosen = 0;  // the floor at first

    AllocationCurve(const AllocationItem& item, const AllocateOptions& options) {
        const Index full = (std::min)(item.rows, item.cols);
        dense_cost_ = cost(item.rows * item.cols, options.dense_bits, options);
        const double most = options.cap * static_cast<double>(dense_cost_);
        const double most_flops =
            options.max_flops_ratio * static_cast<double>(item.rows * item.cols);
        const double scale = item.losses.front() > 0 ? item.losses.front() : 1;
        for (Index r = 1; r < full; ++r) {
            const Index multiply_adds = r * (item.rows + item.cols);
            const Index numbers = options.unit == BudgetUnit::multiply_adds
                                      ? multiply_adds
                                      : stored_parameters(item, r);
            const Index price = cost(numbers, options.factor_bits, options);
            if (price >= dense_cost_ || static_cast<double>(price) > most ||
                static_cast<double>(multiply_adds) > most_flops)
                break;
            const double loss = item.losses[static_cast<std::size_t>(r)] / scale;
            if (!choices.empty() && choices.back().cost == price) choices.pop_back();  // few bits
            choices.push_back({r, false, price, loss, item.damage(loss)});
        }
        if (options.cap == 1 && options.max_flops_ratio >= 1)
            choices.push_back({full, true, dense_cost_, 0, 0});
        if (choices.empty())
            raise<ArgumentError>({"allocate: no rank of ", item.name, ", ", item.rows, " x ",
                                  item.cols, ", costs at most ", limits(options)});
    }

    [[nodiscard]] Index dense_cost() const { return dense_cost_; }
    [[nodiscard]] const AllocationChoice& choice() const { return choices[chosen]; }

    /// The last choice that costs no more than this share of the dense weight; the smallest where none does.
    void choose_floor(double share) {
        chosen = 0;
        const double most = share * static_cast<double>(dense_cost_);
        while (chosen + 1 < choices.size() && static_cast<double>(choices[chosen + 1].cost) <= most)
            ++chosen;
    }
    /// Damage saved per cost on the way from one choice to a later one.
    [[nodiscard]] double gain(std::size_t from, std::size_t to) const {
        return (choices[from].damage - choices[to].damage) /
               static_cast<double>(choices[to].cost - choices[from].cost);
    }
    /// Corners of the hull, the floor first; gains fall from edge to edge and are above 0.
    [[nodiscard]] std::vector<std::size_t> hull() const {
        std::vector<std::size_t> corners{chosen};
        for (std::size_t k = chosen + 1; k < choices.size(); ++k) {
            if (!(choices[k].damage < choices[corners.back()].damage)) continue;
            while (corners.size() > 1 &&
                   gain(corners[corners.size() - 2], corners.back()) <= gain(corners.back(), k))
                corners.pop_back();
            corners.push_back(k);
        }
        return corners;
    }

  private:
    /// Those below the dense weight, for a message.
    [[nodiscard]] std::string limits(const AllocateOptions& options) const {
        std::string text;
        if (options.cap < 1)
            text =
                concat("the cap, ", options.cap, " of ", dense_cost_, " ", to_string(options.unit));
        if (options.max_flops_ratio < 1)
            text += concat(text.empty() ? "" : ", and ", options.max_flops_ratio,
                           " of its multiply-adds");
        return text;
    }
    [[nodiscard]] static Index cost(Index numbers, Index bits, const AllocateOptions& options) {
        return options.unit == BudgetUnit::bytes ? (numbers * bits + 7) / 8 : numbers;
    }

    Index dense_cost_ = 0;
};

/// An edge of a linear's hull.
struct AllocationEdge {
    std::size_t linear = 0, to = 0;
    double gain = 0;
};

[[nodiscard]] inline std::vector<AllocationEdge> allocation_edges(
    const std::vector<AllocationCurve>& curves) {
    std::vector<AllocationEdge> edges;
    for (std::size_t l = 0; l < curves.size(); ++l) {
        const auto corners = curves[l].hull();
        for (std::size_t k = 1; k < corners.size(); ++k)
            edges.push_back({l, corners[k], curves[l].gain(corners[k - 1], corners[k])});
    }
    std::stable_sort(edges.begin(), edges.end(),
                     [](const auto& a, const auto& b) { return a.gain > b.gain; });
    return edges;
}

/// Spends what is left on the choices that gain most per cost and fit, from wherever each linear stands.
inline void spend_rest(std::vector<AllocationCurve>& curves, Index rest) {
    for (;;) {
        AllocationEdge best;
        for (std::size_t l = 0; l < curves.size(); ++l) {
            const auto& curve = curves[l];
            for (std::size_t k = curve.chosen + 1; k < curve.choices.size(); ++k) {
                if (curve.choices[k].cost - curve.choice().cost > rest) break;
                if (const double gain = curve.gain(curve.chosen, k); gain > best.gain)
                    best = {l, k, gain};
            }
        }
        if (!(best.gain > 0)) return;
        auto& curve = curves[best.linear];
        rest -= curve.choices[best.to].cost - curve.choice().cost;
        curve.chosen = best.to;
    }
}

/// Chooses the floors. Returns what they leave of the budget.
[[nodiscard]] inline Index spend_floors(std::vector<AllocationCurve>& curves, Index dense,
                                        Index budget, const AllocateOptions& options) {
    const double share = static_cast<double>(budget) / static_cast<double>(dense);
    Index rest = budget;
    for (auto& curve : curves) {
        curve.choose_floor(options.floor * share);
        rest -= curve.choice().cost;  // all dense ones together do not overflow
    }
    if (rest < 0)
        raise<ArgumentError>({"allocate: the budget is ", budget, " ", to_string(options.unit),
                              ", and the floor of all ", curves.size(), " linears costs ",
                              budget - rest});
    return rest;
}

[[nodiscard]] inline AllocatedLinear allocated_linear(const AllocationItem& item,
                                                      const AllocationChoice& choice) {
    const double share = static_cast<double>(stored_parameters(item, choice.rank)) /
                         static_cast<double>(item.rows * item.cols);
    return {item.name,   choice.dense, choice.rank,  choice.dense ? 1 : share,
            choice.cost, choice.loss,  choice.damage};
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE void validate(const AllocateOptions& options) {
    if (!(options.floor >= 0 && options.floor <= 1))
        detail::raise<ArgumentError>({"allocate: the floor must be 0 to 1, got ", options.floor});
    if (!(options.cap > 0 && options.cap <= 1))
        detail::raise<ArgumentError>(
            {"allocate: the cap must be above 0 and at most 1, got ", options.cap});
    if (!(options.max_flops_ratio > 0))
        detail::raise<ArgumentError>(
            {"allocate: max_flops_ratio must be above 0, got ", options.max_flops_ratio});
    for (const Index bits : {options.dense_bits, options.factor_bits})
        if (bits < 1 || bits > 64)
            detail::raise<ArgumentError>({"allocate: a number must have 1 to 64 bits, got ", bits});
}

MPO_DETAIL_MODEL_INLINE Allocation allocate(const std::vector<AllocationItem>& items, Index budget,
                                            const AllocateOptions& options) {
    validate(options);
    if (items.empty()) throw ArgumentError("allocate: there are no linears");
    std::vector<detail::AllocationCurve> curves;
    Index dense = 0;
    for (const auto& item : items) {
        detail::validate_allocation(item, options);
        const Index cost = curves.emplace_back(item, options).dense_cost();
        if (cost > (std::numeric_limits<Index>::max)() - dense)
            throw ArgumentError("allocate: the cost of all linears together overflows");
        dense += cost;
    }
    Allocation result;
    result.budget = budget;
    Index most = 0;
    for (const auto& curve : curves) most += curve.choices.back().cost;
    if (budget >= most) {
        for (auto& curve : curves) curve.chosen = curve.choices.size() - 1;
    } else {
        Index rest = detail::spend_floors(curves, dense, budget, options);
        for (const auto& edge : detail::allocation_edges(curves)) {
            auto& curve = curves[edge.linear];
            const Index cost = curve.choices[edge.to].cost - curve.choice().cost;
            if (cost > rest) {
                result.price = edge.gain;
                break;
            }
            rest -= cost;
            curve.chosen = edge.to;
        }
        for (const auto& curve : curves) result.bound += curve.choice().damage;
        result.bound -= result.price * static_cast<double>(rest);
        detail::spend_rest(curves, rest);
    }
    for (std::size_t l = 0; l < items.size(); ++l) {
        result.linears.push_back(detail::allocated_linear(items[l], curves[l].choice()));
        result.cost += result.linears.back().cost;
        result.damage += result.linears.back().damage;
    }
    if (budget >= most) result.bound = result.damage;
    return result;
}

}  // namespace mpo

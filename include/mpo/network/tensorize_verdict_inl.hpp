// Bodies of network/tensorize_verdict.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/network/tensorize_verdict.hpp"

namespace mpo {

MPO_DETAIL_INLINE std::string_view to_string(Advice advice) {
    return advice == Advice::compress ? "compress" : "keep_dense";
}

MPO_DETAIL_INLINE std::string_view to_string(Standing standing) {
    constexpr std::string_view names[] = {"won",
                                          "larger_error",
                                          "more_parameters",
                                          "more_multiply_adds",
                                          "misses_tolerance",
                                          "over_parameters",
                                          "over_flops_ratio",
                                          "not_promising",
                                          "not_tried"};
    return names[static_cast<int>(standing)];
}

namespace detail {

MPO_DETAIL_INLINE void validate(const TensorizeGoal& goal) {
    const int given = (goal.budget ? 1 : 0) + (goal.tolerance ? 1 : 0);
    if (given != 1)
        raise<ArgumentError>({"tensorize: need exactly one of budget and tolerance, got ", given});
    if (goal.budget && !(*goal.budget > 0 && *goal.budget <= 1))
        raise<ArgumentError>(
            {"tensorize: budget must be above 0 and at most 1, got ", *goal.budget});
    if (goal.tolerance && !(*goal.tolerance >= 0 && std::isfinite(*goal.tolerance)))
        raise<ArgumentError>(
            {"tensorize: tolerance must be finite and >= 0, got ", *goal.tolerance});
    if (!(goal.max_flops_ratio > 0))
        raise<ArgumentError>(
            {"tensorize: max_flops_ratio must be above 0, got ", goal.max_flops_ratio});
    if (!(goal.slack >= 0 && std::isfinite(goal.slack)))
        raise<ArgumentError>({"tensorize: slack must be finite and >= 0, got ", goal.slack});
}

/// share * n rounded down, and never more than an index holds.
[[nodiscard]] MPO_DETAIL_INLINE Index share_of(double share, Index n) {
    const double product = share * static_cast<double>(n);
    constexpr Index most = (std::numeric_limits<Index>::max)();
    return product < 0x1p62 ? static_cast<Index>(product) : most;
}

MPO_DETAIL_INLINE LayoutLimits limits_of(const TensorizeGoal& goal) {
    const Index allowed = goal.budget ? share_of(*goal.budget, goal.dense) : goal.dense;
    return {(std::min)(allowed, goal.dense - 1), share_of(goal.max_flops_ratio, goal.dense)};
}

MPO_DETAIL_INLINE TensorizeCandidate priced_candidate(const PricedLayout& priced,
                                                      const LayoutLimits& limits, Index dense) {
    TensorizeCandidate candidate{priced.layout, priced.bonds, priced.parameters,
                                 priced.multiply_adds};
    candidate.flops_ratio = static_cast<double>(priced.multiply_adds) / static_cast<double>(dense);
    if (priced.max_bond_dim > 0) return candidate;
    const bool parameters = priced.parameters > limits.max_parameters;
    candidate.standing = parameters ? Standing::over_parameters : Standing::over_flops_ratio;
    candidate.why =
        parameters ? concat("bonds of 1 take ", priced.parameters, " parameters, allowed are ",
                            limits.max_parameters)
                   : concat("bonds of 1 cost ", priced.multiply_adds,
                            " multiply-adds per token, allowed are ", limits.max_multiply_adds);
    return candidate;
}

MPO_DETAIL_INLINE double judged_error(const TensorizeCandidate& candidate) {
    return candidate.weighted_error ? *candidate.weighted_error : *candidate.relative_error;
}

MPO_DETAIL_INLINE bool keeps_goal(const TensorizeCandidate& candidate, const TensorizeGoal& goal) {
    constexpr double last_bits = 1 + 1e-12;  // of a square root of a sum of squares
    return candidate.relative_error.has_value() &&
           (!goal.tolerance || *candidate.relative_error <= *goal.tolerance * last_bits);
}

/// What the goal makes small, and what still counts as equal to the smallest.
[[nodiscard]] MPO_DETAIL_INLINE double judged_amount(const TensorizeCandidate& candidate,
                                                     const TensorizeGoal& goal) {
    return goal.tolerance ? static_cast<double>(candidate.parameters) : judged_error(candidate);
}
[[nodiscard]] MPO_DETAIL_INLINE double still_equal(double smallest, const TensorizeGoal& goal) {
    return (std::max)(smallest * (1 + goal.slack), goal.tolerance ? 0.0 : goal.rounding);
}

/// Of those that keep the goal; infinite where none does.
[[nodiscard]] MPO_DETAIL_INLINE double smallest_amount(
    const std::vector<TensorizeCandidate>& candidates, const TensorizeGoal& goal) {
    double smallest = std::numeric_limits<double>::infinity();
    for (const auto& candidate : candidates)
        if (keeps_goal(candidate, goal))
            smallest = (std::min)(smallest, judged_amount(candidate, goal));
    return smallest;
}

MPO_DETAIL_INLINE Index winner_of(const std::vector<TensorizeCandidate>& candidates,
                                  const TensorizeGoal& goal) {
    const double smallest = smallest_amount(candidates, goal);
    const auto better = [](const TensorizeCandidate& a, const TensorizeCandidate& b) {
        if (a.multiply_adds != b.multiply_adds) return a.multiply_adds < b.multiply_adds;
        if (a.parameters != b.parameters) return a.parameters < b.parameters;
        return judged_error(a) < judged_error(b);
    };
    const TensorizeCandidate* best = nullptr;
    for (const auto& candidate : candidates)
        if (keeps_goal(candidate, goal) &&
            judged_amount(candidate, goal) <= still_equal(smallest, goal) &&
            (best == nullptr || better(candidate, *best)))
            best = &candidate;
    return best == nullptr ? -1 : best - candidates.data();
}

MPO_DETAIL_INLINE double sufficient_error(const TensorizeGoal& goal) {
    return (std::max)(goal.tolerance.value_or(0.0), goal.blind);
}

/// Whether the estimate of `a` promises more than that of `b`.
[[nodiscard]] MPO_DETAIL_INLINE bool promises_more(const TensorizeCandidate& a,
                                                   const TensorizeCandidate& b,
                                                   const TensorizeGoal& goal) {
    const double enough = sufficient_error(goal);
    const double x = (std::max)(*a.estimated_error, enough);
    const double y = (std::max)(*b.estimated_error, enough);
    if (x != y) return x < y;
    if (goal.tolerance && a.parameters != b.parameters) return a.parameters < b.parameters;
    return a.multiply_adds < b.multiply_adds;
}

MPO_DETAIL_INLINE std::vector<Index> promising(std::vector<TensorizeCandidate>& candidates,
                                               const TensorizeGoal& goal, Index best) {
    const auto at = [&](Index k) -> TensorizeCandidate& {
        return candidates[static_cast<std::size_t>(k)];
    };
    std::vector<Index> order, chosen;
    double smallest = std::numeric_limits<double>::infinity();
    for (Index k = 0; k < static_cast<Index>(candidates.size()); ++k) {
        if (!at(k).estimated_error) continue;
        smallest = (std::min)(smallest, *at(k).estimated_error);
        if (!at(k).relative_error) order.push_back(k);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](Index a, Index b) { return promises_more(at(a), at(b), goal); });
    const double enough = sufficient_error(goal);
    const double limit = goal.tolerance ? 4 * enough : 1.25 * (std::max)(smallest, enough);
    for (const Index k : order) {
        auto& candidate = at(k);
        if (*candidate.estimated_error > limit) {
            candidate.standing = Standing::not_promising;
            candidate.why = concat("estimated error ", *candidate.estimated_error,
                                   goal.tolerance ? ", the tolerance is " : ", the smallest is ",
                                   goal.tolerance ? *goal.tolerance : smallest);
        } else if (static_cast<Index>(chosen.size()) < best) {
            chosen.push_back(k);
        } else {
            candidate.why = concat("estimated error ", *candidate.estimated_error, "; only ",
                                   chosen.size() + 1, " layouts were decomposed");
        }
    }
    return chosen;
}

/// Why a decomposed candidate lost; winner: null where W itself is kept.
MPO_DETAIL_INLINE void explain(TensorizeCandidate& loser, const TensorizeCandidate* winner,
                               double smallest, const TensorizeGoal& goal) {
    if (!keeps_goal(loser, goal)) {
        loser.standing = Standing::misses_tolerance;
        loser.why = concat("error ", *loser.relative_error, " at ", loser.parameters,
                           " parameters, the tolerance is ", *goal.tolerance);
    } else if (winner == nullptr) {
        loser.standing = Standing::larger_error;
        loser.why = concat("error ", judged_error(loser), ", and W itself is within the budget");
    } else if (judged_amount(loser, goal) <= still_equal(smallest, goal)) {
        loser.standing = Standing::more_multiply_adds;
        loser.why = concat("no better, at ", loser.multiply_adds, " multiply-adds per token; ",
                           "the winner takes ", winner->multiply_adds);
    } else if (goal.tolerance) {
        loser.standing = Standing::more_parameters;
        loser.why = concat(loser.parameters, " parameters, the fewest are ", smallest);
    } else {
        loser.standing = Standing::larger_error;
        loser.why = concat("error ", judged_error(loser), ", the smallest is ", smallest);
    }
}

/// W itself: a chain of one site.
[[nodiscard]] MPO_DETAIL_INLINE TensorizeCandidate dense_candidate(Index rows, Index cols) {
    TensorizeCandidate dense{{{rows}, {cols}}, {1, 1}, rows * cols, rows * cols};
    dense.flops_ratio = 1;
    dense.relative_error = 0;
    dense.standing = Standing::won;
    return dense;
}

/// Why no candidate is worth more than W itself.
[[nodiscard]] MPO_DETAIL_INLINE std::string reason_to_keep(
    const std::vector<TensorizeCandidate>& candidates, const TensorizeGoal& goal) {
    const TensorizeCandidate *nearest = nullptr, *cheapest = nullptr, *smallest = nullptr;
    for (const auto& candidate : candidates) {
        if (candidate.relative_error &&
            (nearest == nullptr || *candidate.relative_error < *nearest->relative_error))
            nearest = &candidate;
        if (cheapest == nullptr || candidate.multiply_adds < cheapest->multiply_adds)
            cheapest = &candidate;
        if (smallest == nullptr || candidate.parameters < smallest->parameters)
            smallest = &candidate;
    }
    const auto limits = limits_of(goal);
    if (candidates.empty()) return "it has no legs to split";
    if (nearest != nullptr && goal.tolerance)
        return concat("no layout with fewer than its ", goal.dense,
                      " parameters keeps the tolerance ", *goal.tolerance, "; the nearest, ",
                      to_string(nearest->layout), ", has error ", *nearest->relative_error);
    if (nearest != nullptr)
        return concat("W itself is within the budget; the best layout, ",
                      to_string(nearest->layout), ", has error ", *nearest->relative_error);
    if (smallest->parameters > limits.max_parameters)
        return concat("no layout fits into ", limits.max_parameters, " parameters, the smallest, ",
                      to_string(smallest->layout), ", takes ", smallest->parameters);
    return concat("no layout keeps max_flops_ratio = ", goal.max_flops_ratio, ", the cheapest, ",
                  to_string(cheapest->layout), ", takes ", cheapest->flops_ratio,
                  " of the multiply-adds of W");
}

/// Whether W itself, without any error, keeps the goal, and this candidate has an error.
[[nodiscard]] MPO_DETAIL_INLINE bool dense_is_better(const TensorizeCandidate& winner,
                                                     const TensorizeGoal& goal) {
    return goal.budget && share_of(*goal.budget, goal.dense) >= goal.dense &&
           goal.max_flops_ratio >= 1 && judged_error(winner) > goal.rounding;
}

/// Decomposed ones first, by what the goal makes small; estimated ones by estimate; then the rest.
MPO_DETAIL_INLINE void sort_runners_up(std::vector<TensorizeCandidate>& candidates,
                                       const TensorizeGoal& goal) {
    const auto rank = [&](const TensorizeCandidate& candidate) {
        if (candidate.relative_error && keeps_goal(candidate, goal)) return 0;
        return candidate.relative_error ? 1 : (candidate.estimated_error ? 2 : 3);
    };
    const auto amount = [&](const TensorizeCandidate& candidate) {
        switch (rank(candidate)) {
            case 0:
                return judged_amount(candidate, goal);
            case 1:
                return judged_error(candidate);
            case 2:
                return *candidate.estimated_error;
            default:
                return 0.0;
        }
    };
    std::stable_sort(candidates.begin(), candidates.end(), [&](const auto& a, const auto& b) {
        return rank(a) != rank(b) ? rank(a) < rank(b) : amount(a) < amount(b);
    });
}

MPO_DETAIL_INLINE TensorizeVerdict judge(std::vector<TensorizeCandidate> candidates,
                                         const TensorizeGoal& goal, Index rows, Index cols) {
    TensorizeVerdict verdict;
    verdict.dense_parameters = goal.dense;
    Index at = winner_of(candidates, goal);
    if (at >= 0 && dense_is_better(candidates[static_cast<std::size_t>(at)], goal)) at = -1;
    const TensorizeCandidate* winner = at < 0 ? nullptr : &candidates[static_cast<std::size_t>(at)];
    const double smallest = smallest_amount(candidates, goal);
    for (auto& candidate : candidates) {
        verdict.num_decompositions += candidate.relative_error ? 1 : 0;
        if (candidate.relative_error && &candidate != winner)
            explain(candidate, winner, smallest, goal);
    }
    if (winner == nullptr) {
        verdict.winner = dense_candidate(rows, cols);
        verdict.why = "do not compress this layer: " + reason_to_keep(candidates, goal);
    } else {
        verdict.advice = Advice::compress;
        verdict.winner = *winner;
        verdict.winner.standing = Standing::won;
        candidates.erase(candidates.begin() + at);
        verdict.why =
            concat(to_string(verdict.winner.layout), " keeps ", verdict.winner.parameters, " of ",
                   goal.dense, " parameters at error ", judged_error(verdict.winner), " and ",
                   verdict.winner.flops_ratio, " of the multiply-adds");
        verdict.winner.why = verdict.why;
    }
    sort_runners_up(candidates, goal);
    verdict.runners_up = std::move(candidates);
    return verdict;
}

/// One line of the table.
[[nodiscard]] MPO_DETAIL_INLINE std::string table_line(const TensorizeCandidate& candidate) {
    const std::string error = candidate.relative_error    ? concat(*candidate.relative_error)
                              : candidate.estimated_error ? concat('~', *candidate.estimated_error)
                                                          : "-";
    const auto padded = [](std::string text, std::size_t width) {
        text.resize((std::max)(width, text.size() + 1), ' ');
        return text;
    };
    return padded(to_string(candidate.layout), 28) + padded(joined(candidate.bonds, " "), 16) +
           padded(concat(candidate.parameters), 12) + padded(error, 14) +
           padded(concat(candidate.flops_ratio), 12) + std::string(to_string(candidate.standing)) +
           (candidate.standing == Standing::won ? "" : ": " + candidate.why) + '\n';
}

}  // namespace detail

MPO_DETAIL_INLINE std::string to_string(const TensorizeVerdict& verdict, Index max_runners_up) {
    std::string text = std::string(to_string(verdict.advice)) + ": " + verdict.why + '\n';
    text += "layout (out : in)           bonds           parameters  error         flops/dense\n";
    text += detail::table_line(verdict.winner);
    const auto count = static_cast<Index>(verdict.runners_up.size());
    const Index shown = (std::clamp)(max_runners_up, Index{0}, count);
    for (Index k = 0; k < shown; ++k)
        text += detail::table_line(verdict.runners_up[static_cast<std::size_t>(k)]);
    if (shown < count) text += detail::concat("and ", count - shown, " more layouts\n");
    return text;
}

}  // namespace mpo

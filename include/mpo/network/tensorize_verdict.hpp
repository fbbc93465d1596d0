// What `tensorize` says of a layer: compress it or not, in which layout, and why every other one lost.
// Numbers and words only, no matrices.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/network/layout_search.hpp"

namespace mpo {

/// What to do with the layer.
enum class Advice {
    compress,    // the winner is smaller than W and keeps every limit
    keep_dense,  // nothing does: the layer that is returned is W itself, a chain of one site
};

/// "keep_dense" for Advice::keep_dense.
[[nodiscard]] std::string_view to_string(Advice advice);

/// How a layout came off.
enum class Standing {
    won,
    larger_error,        // under a budget: its error is larger
    more_parameters,     // under a tolerance: it needs more parameters
    more_multiply_adds,  // as good, within the slack, and dearer to apply
    misses_tolerance,    // its error exceeds the tolerance at the bonds that the limits allow
    over_parameters,     // bonds of 1 take more parameters than allowed
    over_flops_ratio,    // bonds of 1 cost more multiply-adds than allowed
    not_promising,       // its estimated error is far from the best one
    not_tried,           // max_estimates or max_decompositions ended the search before it
};

/// "larger_error" for Standing::larger_error.
[[nodiscard]] std::string_view to_string(Standing standing);

/// One layout of a search.
struct TensorizeCandidate {
    Layout layout;                               // its legs
    Shape bonds;                                 // D[0] .. D[N], as decomposed; else as estimated
    Index parameters = 0;                        // of all cores
    Index multiply_adds = 0;                     // per token, cheaper direction
    double flops_ratio = 0;                      // the same relative to out * in
    std::optional<double> relative_error = {};   // norm(W - W') / norm(W), where it was decomposed
    std::optional<double> weighted_error = {};   // the same under second_moments, where given
    std::optional<double> estimated_error = {};  // from a sketch; rather too large than too small
    Standing standing = Standing::not_tried;     // how it came off
    std::string why = {};                        // the same as half a sentence, with numbers
};

/// The answer to "should this layer be an MPO, and which one?"
struct TensorizeVerdict {
    Advice advice = Advice::keep_dense;          // what to do
    std::string why = {};                        // in a sentence, with numbers
    TensorizeCandidate winner = {};              // what the returned layer is; W itself: one site
    std::vector<TensorizeCandidate> runners_up;  // decomposed ones first, best first
    Index dense_parameters = 0;                  // out * in, and multiply-adds per token of W
    Index num_estimates = 0;                     // unfoldings of W that were sketched
    Index num_decompositions = 0;                // layouts that were decomposed
};

/// A table for people: the advice, the winner and the first runners-up, a line each.
///
/// verdict          of tensorize
/// max_runners_up   lines at most; what is left out is counted
[[nodiscard]] std::string to_string(const TensorizeVerdict& verdict, Index max_runners_up = 8);

namespace detail {

/// What is asked of a search; budget or tolerance, exactly one.
struct TensorizeGoal {
    std::optional<double> budget, tolerance;
    double max_flops_ratio = std::numeric_limits<double>::infinity();
    double slack = 0;     // relative: a difference below it counts as none
    double rounding = 0;  // an error below it counts as none
    double blind =
        0;  // what sketches cannot tell from none: sqrt of the rounding of 1 - kept / total
    Index dense = 0;  // out * in
};

/// Throws ArgumentError where a member is outside its domain.
void validate(const TensorizeGoal& goal);

/// Parameters and multiply-adds that the goal allows; below a tolerance fewer parameters than W.
[[nodiscard]] LayoutLimits limits_of(const TensorizeGoal& goal);

/// A candidate that was not decomposed yet; its standing says whether it fits the limits at all.
[[nodiscard]] TensorizeCandidate priced_candidate(const PricedLayout& priced,
                                                  const LayoutLimits& limits, Index dense);

/// The error by which a decomposed candidate is judged: weighted where it was measured.
[[nodiscard]] double judged_error(const TensorizeCandidate& candidate);

/// Whether a decomposed candidate keeps every promise: the tolerance, where one is asked for.
[[nodiscard]] bool keeps_goal(const TensorizeCandidate& candidate, const TensorizeGoal& goal);

/// The position of the winner, -1 where no candidate was decomposed and keeps the goal. Under a
/// budget the smallest error, under a tolerance the fewest parameters; of those that equal it within
/// the slack the fewest multiply-adds, then parameters, then error, then the first.
[[nodiscard]] Index winner_of(const std::vector<TensorizeCandidate>& candidates,
                              const TensorizeGoal& goal);

/// The error that an estimate has to reach: more bond would buy nothing that a sketch can see.
[[nodiscard]] double sufficient_error(const TensorizeGoal& goal);

/// Positions of those worth decomposing, most promising first. Budget: by estimated error, equal ones
/// by multiply-adds. Tolerance: by estimated parameters, then those that do not reach it by error.
/// `best` of them at most, none whose estimate is so much larger than the smallest, or than the
/// tolerance, that no sketch errs so far.
[[nodiscard]] std::vector<Index> promising(std::vector<TensorizeCandidate>& candidates,
                                           const TensorizeGoal& goal, Index best);

/// Judges all candidates: winner, standings, reasons, order.
[[nodiscard]] TensorizeVerdict judge(std::vector<TensorizeCandidate> candidates,
                                     const TensorizeGoal& goal, Index rows, Index cols);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/tensorize_verdict_inl.hpp"
#endif

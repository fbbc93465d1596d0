// The bodies of model/head_loss.hpp that are no templates.
#pragma once

#include <limits>

#include "mpo/io/inline.hpp"
#include "mpo/model/head_loss.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE HeadLossSums& HeadLossSums::operator+=(const HeadLossSums& other) {
    divergence += other.divergence;
    cross_entropy += other.cross_entropy;
    weight += other.weight;
    positions += other.positions;
    agreements += other.agreements;
    hits += other.hits;
    return *this;
}

namespace detail {

MPO_DETAIL_MODEL_INLINE void require_mix(const HeadTargets& targets,
                                         const HeadLossOptions& options) {
    if (!(options.alpha >= 0 && options.alpha <= 1))
        raise<ArgumentError>({"head_loss: alpha must be 0 to 1, got ", options.alpha});
    if (!std::isfinite(options.scale))
        raise<ArgumentError>({"head_loss: scale must be finite, got ", options.scale});
    if (options.alpha > 0 && targets.teacher.positions == 0)
        raise<ArgumentError>({"head_loss: alpha = ", options.alpha, " needs a teacher's targets"});
    if (options.alpha < 1 && targets.next.empty())
        raise<ArgumentError>({"head_loss: alpha = ", options.alpha, " needs next tokens"});
}

MPO_DETAIL_MODEL_INLINE void require_lists(const HeadTargets& targets, Index positions,
                                           Index vocab) {
    const auto require = [&](const char* what, std::size_t got, Index need) {
        if (static_cast<Index>(got) != need)
            raise<ShapeError>(
                {"head_loss: ", positions, " positions need ", need, ' ', what, ", got ", got});
    };
    if (!targets.next.empty()) require("next tokens", targets.next.size(), positions);
    if (!targets.weights.empty()) require("weights", targets.weights.size(), positions);
    const auto& teacher = targets.teacher;
    if (teacher.positions == 0) return;
    require("positions of the teacher", static_cast<std::size_t>(teacher.positions), positions);
    if (teacher.top < 1 || teacher.top > vocab)
        raise<ShapeError>({"head_loss: the teacher must have 1 to ", vocab,
                           " ids a position, the vocabulary, got ", teacher.top});
    require("ids of the teacher", teacher.ids.size(), positions * teacher.top);
    require("log-probabilities of the teacher", teacher.log_probabilities.size(),
            positions * teacher.top);
    require("log-masses of the teacher's rest", teacher.log_rest.size(), positions);
}

MPO_DETAIL_MODEL_INLINE void require_position(const RowTargets& targets, Index at, Index vocab,
                                              double alpha) {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    if (alpha < 1 && (targets.next < 0 || targets.next >= vocab))
        raise<ArgumentError>({"head_loss: the next token of position ", at, " is ", targets.next,
                              ", the vocabulary has ", vocab});
    for (Index k = 0; k < targets.top; ++k) {
        const Index id = targets.ids[k];
        if (id < 0 || id >= vocab)
            raise<ArgumentError>({"head_loss: id ", k, " of the teacher at position ", at, " is ",
                                  id, ", the vocabulary has ", vocab});
        if (!(targets.log_probabilities[k] < infinite))
            raise<NumericalError>({"head_loss: the teacher's log-probability of id ", id,
                                   " at position ", at, " is ", targets.log_probabilities[k]});
    }
    if (targets.top == 0) return;
    if (!(targets.log_rest < infinite))
        raise<NumericalError>({"head_loss: the log-mass of the teacher's rest at position ", at,
                               " is ", targets.log_rest});
    if (targets.top == vocab && targets.log_rest > -infinite)
        raise<ArgumentError>({"head_loss: the teacher's rest at position ", at, " has the mass ",
                              std::exp(targets.log_rest), ", and all ", vocab,
                              " ids of the vocabulary are named"});
}

MPO_DETAIL_MODEL_INLINE RowTargets row_targets(const HeadTargets& targets, Index at) {
    const auto k = static_cast<std::size_t>(at);
    RowTargets row;
    if (!targets.weights.empty()) row.weight = static_cast<double>(targets.weights[k]);
    if (!(row.weight >= 0) || !std::isfinite(row.weight))
        raise<ArgumentError>(
            {"head_loss: the weight of position ", at, " must be >= 0, got ", row.weight});
    if (!targets.next.empty()) row.next = targets.next[k];
    const auto& teacher = targets.teacher;
    if (teacher.positions == 0) return row;
    row.top = teacher.top;
    row.ids = teacher.ids.data() + at * teacher.top;
    row.log_probabilities = teacher.log_probabilities.data() + at * teacher.top;
    row.log_rest = static_cast<double>(teacher.log_rest[k]);
    return row;
}

}  // namespace detail

}  // namespace mpo

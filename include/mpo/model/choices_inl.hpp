// The bodies of model/choices.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/choices.hpp"
#include "mpo/model/utf8.hpp"

namespace mpo {
namespace detail {

[[nodiscard]] inline Index num_characters(std::string_view text) {
    Index count = 0;
    for (std::size_t at = 0; at < text.size(); ++count) at += character_at(text, at).size;
    return count;
}

/// The first index of the largest score(k), k < count.
template <class Score>
[[nodiscard]] Index first_best(std::size_t count, Score&& score) {
    std::size_t best = 0;
    for (std::size_t k = 1; k < count; ++k)
        if (score(k) > score(best)) best = k;
    return static_cast<Index>(best);
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE ChoiceOutcome choose(const ChoiceItem& item,
                                             std::span<const double> log_likelihoods) {
    const std::size_t count = item.choices.size();
    if (log_likelihoods.size() != count || item.answer < 0 ||
        static_cast<std::size_t>(item.answer) >= count)
        detail::raise<ArgumentError>({"choose: ", log_likelihoods.size(), " log-likelihoods for ",
                                      count, " choices, the right one ", item.answer});
    for (std::size_t k = 0; k < count; ++k)
        if (std::isnan(log_likelihoods[k]))
            detail::raise<NumericalError>(
                {"choose: the log-likelihood of choice ", k, " is not a number"});
    const auto per = [&](auto length) {
        return detail::first_best(count, [&](std::size_t k) {
            const auto size = static_cast<double>(length(item.choices[k]));
            return log_likelihoods[k] / (std::max)(size, 1.0);
        });
    };
    ChoiceOutcome outcome;
    outcome.chosen = detail::first_best(count, [&](std::size_t k) { return log_likelihoods[k]; });
    outcome.chosen_per_character = per(detail::num_characters);
    outcome.chosen_per_byte = per([](const std::string& text) { return text.size(); });
    outcome.right = outcome.chosen == item.answer;
    outcome.right_per_character = outcome.chosen_per_character == item.answer;
    outcome.right_per_byte = outcome.chosen_per_byte == item.answer;
    return outcome;
}

MPO_DETAIL_MODEL_INLINE Accuracy accuracy(const std::vector<bool>& right) {
    if (right.empty()) throw ArgumentError("accuracy: there are no answers");
    const auto n = static_cast<double>(right.size());
    double hits = 0;
    for (const bool hit : right) hits += hit;
    const double p = hits / n;
    return {p, right.size() > 1 ? std::sqrt(p * (1 - p) / (n - 1)) : 0.0};
}

MPO_DETAIL_MODEL_INLINE ChoiceSummary summarize(std::span<const ChoiceOutcome> outcomes) {
    const auto of = [&](bool ChoiceOutcome::*member) {
        std::vector<bool> right;
        for (const auto& outcome : outcomes) right.push_back(outcome.*member);
        return accuracy(right);
    };
    return {static_cast<Index>(outcomes.size()), of(&ChoiceOutcome::right),
            of(&ChoiceOutcome::right_per_character), of(&ChoiceOutcome::right_per_byte)};
}

}  // namespace mpo

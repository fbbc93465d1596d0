// Multiple choice by log-likelihood, as in EleutherAI's lm-evaluation-harness: the choice that the model
// finds most probable behind the context, as it is (acc), per character (acc_norm) and per byte.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/utf8.hpp"

namespace mpo {

/// A context and how it may go on. What is scored is log p(continuation | context).
struct ChoiceItem {
    std::string context;                     // what comes before every choice
    std::vector<std::string> continuations;  // with the blank that joins them to the context
    std::vector<std::string> choices;        // the same without it: their lengths normalise
    Index answer = 0;                        // index of the right one
};

/// What a model chose for one item.
struct ChoiceOutcome {
    Index chosen = 0;                  // highest log-likelihood
    Index chosen_per_character = 0;    // highest per character of the choice
    Index chosen_per_byte = 0;         // highest per byte of the choice
    bool right = false;                // chosen is the answer: acc
    bool right_per_character = false;  // acc_norm
    bool right_per_byte = false;       // acc_bytes
};

/// A share of right answers and its standard error sqrt(p (1 - p) / (n - 1)).
struct Accuracy {
    double value = 0;           // p
    double standard_error = 0;  // 0 for a single item
};

/// Of all items together.
struct ChoiceSummary {
    Index num_items = 0;  // n
    Accuracy acc;         // as it is
    Accuracy acc_norm;    // per character
    Accuracy acc_bytes;   // per byte
};

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

/// Chooses from log p(continuation k | context), natural logarithms; of equals the first. Throws
/// ArgumentError where there are not as many as choices or the answer is none of them, NumericalError
/// where one is not a number.
[[nodiscard]] inline ChoiceOutcome choose(const ChoiceItem& item,
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

/// The share of right answers. Throws ArgumentError where there are none.
[[nodiscard]] inline Accuracy accuracy(const std::vector<bool>& right) {
    if (right.empty()) throw ArgumentError("accuracy: there are no answers");
    const auto n = static_cast<double>(right.size());
    double hits = 0;
    for (const bool hit : right) hits += hit;
    const double p = hits / n;
    return {p, right.size() > 1 ? std::sqrt(p * (1 - p) / (n - 1)) : 0.0};
}

/// The three accuracies of many items. Throws ArgumentError where there are none.
[[nodiscard]] inline ChoiceSummary summarize(std::span<const ChoiceOutcome> outcomes) {
    const auto of = [&](bool ChoiceOutcome::*member) {
        std::vector<bool> right;
        for (const auto& outcome : outcomes) right.push_back(outcome.*member);
        return accuracy(right);
    };
    return {static_cast<Index>(outcomes.size()), of(&ChoiceOutcome::right),
            of(&ChoiceOutcome::right_per_character), of(&ChoiceOutcome::right_per_byte)};
}

}  // namespace mpo

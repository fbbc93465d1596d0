// Multiple choice by log-likelihood, as in EleutherAI's lm-evaluation-harness: the choice that the model
// finds most probable behind the context, as it is (acc), per character (acc_norm) and per byte.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/tensor.hpp"

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

/// Chooses from log p(continuation k | context), natural logarithms; of equals the first. Throws
/// ArgumentError where there are not as many as choices or the answer is none of them, NumericalError
/// where one is not a number.
[[nodiscard]] ChoiceOutcome choose(const ChoiceItem& item, std::span<const double> log_likelihoods);

/// The share of right answers. Throws ArgumentError where there are none.
[[nodiscard]] Accuracy accuracy(const std::vector<bool>& right);

/// The three accuracies of many items. Throws ArgumentError where there are none.
[[nodiscard]] ChoiceSummary summarize(std::span<const ChoiceOutcome> outcomes);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/choices_inl.hpp"
#endif

// Items of public sets under a model: multiple choice by log-likelihood, answers by exact match, summaries by
// ROUGE. With the rules of EleutherAI's lm-evaluation-harness, so that numbers can be compared with published ones:
//
//   1. Blanks at the end of a context belong to the continuation.
//   2. The tokens of a continuation are those of context + continuation behind as many as the context has.
//   3. Nothing is put before a context; an empty one is the token that begins texts, or else ends them.
//   4. Where the longest choice, or the longest answer, does not fit behind it, a context loses its beginning.
//   5. Answers are greedy, and end before the first stop string or with the token that ends texts.
//
// All items become tokens before the first is run; a context is run once for all its choices.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/bootstrap.hpp"
#include "mpo/model/choices.hpp"
#include "mpo/model/generate.hpp"
#include "mpo/model/items.hpp"
#include "mpo/model/mcnemar.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/model/rouge.hpp"
#include "mpo/model/tokenizer.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

/// Hears of every item that is done, and may cancel.
using ItemProgress = std::function<ProgressReply(Index done, Index count)>;

/// What a model chose.
struct ChoiceResults {
    ChoiceSummary summary;                // acc, acc_norm, acc_bytes
    std::vector<ChoiceOutcome> outcomes;  // item by item
    Index num_cut = 0;                    // items whose context was longer than the model's
};

namespace detail {

/// An item as tokens.
struct ChoiceTokens {
    std::vector<Index> context;
    std::vector<std::vector<Index>> continuations;
    bool cut = false;
};

/// Rules 1 to 3. Throws ArgumentError where a continuation adds no token.
[[nodiscard]] ChoiceTokens choice_tokens(const Tokenizer& tokenizer, const ChoiceItem& item);

/// Rule 4. Throws ArgumentError where the longest choice alone is too long.
void fit_context(ChoiceTokens& item, Index max_positions);

/// Adds up log p of one continuation, a few rows of logits at a time.
class LogitRows {
  public:
    explicit LogitRows(const Transformer& model)
        : model_(model), logits_({rows_at_once, model.config().vocab_size}) {}

    /// The log-probability of targets, each predicted by one row of `hidden` without gaps.
    [[nodiscard]] double log_probability(const float* hidden, std::span<const Index> targets);

  private:
    static constexpr Index rows_at_once = 32;
    const Transformer& model_;
    Tensor<float> logits_;
};

/// log p of every continuation of an item behind its context.
[[nodiscard]] std::vector<double> score_choices(const Transformer& model, const ChoiceTokens& item,
                                                LogitRows& rows);

}  // namespace detail

/// Multiple choice under a model. All items become tokens before the first is scored.
///
/// throws   ArgumentError, with the item's number, where there are none, where a choice has no token or is
///          longer than the model's context, and for bytes that no token spells; NumericalError; Cancelled
[[nodiscard]] ChoiceResults evaluate_choices(const Transformer& model, const Tokenizer& tokenizer,
                                             std::span<const ChoiceItem> items,
                                             const ItemProgress& progress = {});

/// The `first` and the `second` model on the same items, by what `right` says of an outcome: &ChoiceOutcome::right
/// for acc.
[[nodiscard]] McNemar mcnemar(const ChoiceResults& first, const ChoiceResults& second,
                              bool ChoiceOutcome::*right);

/// The bytes of what `model` generates, control tokens left out; the token that ends texts ends it, and so do
/// stops.
///
/// prompt   at least one token
/// stops    the text ends before the first of them
/// options  its stop_tokens hold besides, its on_token hears of every token first
/// throws   as generate
[[nodiscard]] std::string generate_text(const Transformer& model, const Tokenizer& tokenizer,
                                        std::span<const Index> prompt, GenerateOptions options = {},
                                        std::span<const std::string> stops = {});

/// How answers are generated.
struct AnswerOptions {
    static constexpr Index summary_tokens = 100;  // GPT-2's limit for a summary

    Index max_tokens = 256;      // of one answer
    ItemProgress progress = {};  // after every item
};

/// Answers and whether they match.
struct AnswerResults {
    Accuracy exact_match;            // share of right ones
    std::vector<bool> right;         // item by item
    std::vector<std::string> texts;  // what was generated, item by item
    Index num_cut = 0;               // items whose prompt was longer than the model's context
};

/// Means of F1 with their intervals.
struct RougeMeans {
    MeanInterval rouge_1;     // single words
    MeanInterval rouge_2;     // pairs of neighbours
    MeanInterval rouge_l;     // longest common subsequence
    MeanInterval rouge_lsum;  // the same, line by line
};

/// Summaries and how near they are.
struct SummaryResults {
    RougeMeans plain;                // words as they are
    RougeMeans stemmed;              // without their suffixes
    std::vector<std::string> texts;  // what was generated, item by item
    Index num_cut = 0;               // items whose prompt was longer than the model's context
};

/// Answers the questions, `items`, by `model` and counts exact matches.
///
/// throws   ArgumentError, with the item's number, where there are none, for an empty prompt, and for bytes
///          that no token spells; ArgumentError (max_tokens); NumericalError; Cancelled
[[nodiscard]] AnswerResults evaluate_answers(const Transformer& model, const Tokenizer& tokenizer,
                                             std::span<const QuestionItem> items,
                                             const AnswerOptions& options = {});

/// Sums the texts of `items` up by `model`, each in one line of at most max_tokens, and compares with the
/// summaries given.
///
/// throws   as evaluate_answers
[[nodiscard]] SummaryResults evaluate_summaries(
    const Transformer& model, const Tokenizer& tokenizer, std::span<const SummaryItem> items,
    const AnswerOptions& options = {AnswerOptions::summary_tokens, {}});

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/evaluate_items_inl.hpp"
#endif

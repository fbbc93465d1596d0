// The bodies of model/evaluate_items.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/answers.hpp"
#include "mpo/model/evaluate.hpp"
#include "mpo/model/evaluate_items.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE ChoiceTokens choice_tokens(const Tokenizer& tokenizer,
                                                   const ChoiceItem& item) {
    const auto end =
        item.context.find_last_not_of(" \t\n\r\f\v") + 1;  // 0 where there are only blanks
    const auto context = item.context.substr(0, end);
    ChoiceTokens result{tokenizer.encode(context), {}, false};
    const auto skipped = static_cast<std::ptrdiff_t>(result.context.size());
    if (result.context.empty()) {
        const auto& vocabulary = tokenizer.vocabulary();
        const auto first = vocabulary.bos ? vocabulary.bos : vocabulary.eos;
        if (!first) throw ArgumentError("the context is empty, and no token begins or ends a text");
        result.context.push_back(*first);
    }
    for (const auto& continuation : item.continuations) {
        const auto whole = tokenizer.encode(std::string(item.context).append(continuation));
        if (static_cast<std::ptrdiff_t>(whole.size()) <= skipped)
            raise<ArgumentError>(
                {"the choice ", in_quotes(continuation), " has no token behind ", "the context"});
        result.continuations.emplace_back(whole.begin() + skipped, whole.end());
    }
    return result;
}

MPO_DETAIL_MODEL_INLINE void fit_context(ChoiceTokens& item, Index max_positions) {
    std::size_t longest = 0;
    for (const auto& tokens : item.continuations) longest = (std::max)(longest, tokens.size());
    const auto room =
        static_cast<std::size_t>(max_positions) + 1;  // the last token is only predicted
    if (longest >= room)
        raise<ArgumentError>({"a choice of ", longest, " tokens is longer than the context of the ",
                              "model, ", max_positions});
    auto& context = item.context;
    if (context.size() <= room - longest) return;
    item.cut = true;
    context.erase(context.begin(), context.end() - static_cast<std::ptrdiff_t>(room - longest));
}

MPO_DETAIL_MODEL_INLINE double LogitRows::log_probability(const float* hidden,
                                                          std::span<const Index> targets) {
    const Index vocab = logits_.extent(1), width = model_.config().hidden_size;
    const auto count = static_cast<Index>(targets.size());
    double sum = 0;
    for (Index first = 0; first < count; first += rows_at_once) {
        const Index n = (std::min)(rows_at_once, count - first);
        model_.logits(matrix<const float>(hidden + first * width, n, width),
                      matrix(logits_.data(), n, vocab));
        for (Index k = 0; k < n; ++k) {
            const float* x = logits_.data() + k * vocab;
            sum -= negative_log_likelihood(x, log_sum_exp(vocab, x),
                                           targets[static_cast<std::size_t>(first + k)], first + k);
        }
    }
    return sum;
}

MPO_DETAIL_MODEL_INLINE std::vector<double> score_choices(const Transformer& model,
                                                          const ChoiceTokens& item,
                                                          LogitRows& rows) {
    std::size_t longest = 0;
    for (const auto& tokens : item.continuations) longest = (std::max)(longest, tokens.size());
    const auto length = static_cast<Index>(item.context.size());
    auto cache = model.make_cache(length + static_cast<Index>(longest) - 1);
    const auto context = model.forward(item.context, cache);
    const float* last = context.data() + (length - 1) * context.extent(1);
    std::vector<double> scores;
    for (const auto& tokens : item.continuations) {
        const std::span<const Index> all(tokens);
        double score = rows.log_probability(last, all.first(1));
        if (tokens.size() > 1) {
            const auto hidden = model.forward(all.first(tokens.size() - 1), cache);
            score += rows.log_probability(hidden.data(), all.subspan(1));
            cache.truncate(length);
        }
        scores.push_back(score);
    }
    return scores;
}

/// body(k) for every item; what it throws about a text is told with the item's number.
template <class F>
void for_each_item(std::size_t count, F&& body) {
    for (std::size_t k = 0; k < count; ++k) try {
            body(k);
        } catch (const ArgumentError& error) {
            raise<ArgumentError>({"item ", k + 1, " of ", count, ": ", error.what()});
        }
}

inline void report_item(const ItemProgress& progress, std::size_t done, std::size_t count) {
    if (progress &&
        progress(static_cast<Index>(done), static_cast<Index>(count)) == ProgressReply::cancel)
        raise<Cancelled>({"evaluate: cancelled after ", done, " of ", count, " items"});
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE ChoiceResults evaluate_choices(const Transformer& model,
                                                       const Tokenizer& tokenizer,
                                                       std::span<const ChoiceItem> items,
                                                       const ItemProgress& progress) {
    if (items.empty()) throw ArgumentError("evaluate_choices: there are no items");
    std::vector<detail::ChoiceTokens> tokens(items.size());
    ChoiceResults results;
    detail::for_each_item(items.size(), [&](std::size_t k) {
        tokens[k] = detail::choice_tokens(tokenizer, items[k]);
        detail::fit_context(tokens[k], model.config().max_positions);
        results.num_cut += tokens[k].cut;
    });
    detail::LogitRows rows(model);
    for (std::size_t k = 0; k < items.size(); ++k) {
        results.outcomes.push_back(choose(items[k], detail::score_choices(model, tokens[k], rows)));
        detail::report_item(progress, k + 1, items.size());
    }
    results.summary = summarize(results.outcomes);
    return results;
}

MPO_DETAIL_MODEL_INLINE McNemar mcnemar(const ChoiceResults& first, const ChoiceResults& second,
                                        bool ChoiceOutcome::*right) {
    const auto of = [right](const ChoiceResults& results) {
        std::vector<bool> all;
        for (const auto& outcome : results.outcomes) all.push_back(outcome.*right);
        return all;
    };
    return mcnemar(of(first), of(second));
}

MPO_DETAIL_MODEL_INLINE std::string generate_text(const Transformer& model,
                                                  const Tokenizer& tokenizer,
                                                  std::span<const Index> prompt,
                                                  GenerateOptions options,
                                                  std::span<const std::string> stops) {
    const auto& vocabulary = tokenizer.vocabulary();
    if (vocabulary.eos) options.stop_tokens.push_back(*vocabulary.eos);
    std::string text;
    const auto heard = std::move(options.on_token);
    options.on_token = [&](Index token) {
        if (heard && heard(token) == ProgressReply::cancel) return ProgressReply::cancel;
        const bool spelled = token < tokenizer.size() &&
                             detail::is_ordinary(vocabulary.types[static_cast<std::size_t>(token)]);
        if (spelled) text += tokenizer.piece(token);
        return before_stop(text, stops).size() < text.size() ? ProgressReply::cancel
                                                             : ProgressReply::go_on;
    };
    (void)generate(model, prompt, options);
    return std::string(before_stop(text, stops));
}

namespace detail {

/// Prompts as tokens, all of them before anything is generated. Of one that leaves no room for max_tokens in
/// the model's context, the beginning is left out.
struct PromptTokens {
    std::vector<std::vector<Index>> prompts;
    Index num_cut = 0;
};

template <class Item>
[[nodiscard]] PromptTokens prompt_tokens(const Transformer& model, const Tokenizer& tokenizer,
                                         std::span<const Item> items, Index max_tokens) {
    const Index context = model.config().max_positions;
    if (items.empty()) throw ArgumentError("evaluate: there are no items");
    if (max_tokens < 1 || max_tokens >= context)
        raise<ArgumentError>({"evaluate: answers must have 1 to ", context - 1,
                              " tokens, the context of the model less one, got ", max_tokens});
    PromptTokens result;
    for_each_item(items.size(), [&](std::size_t k) {
        auto tokens = tokenizer.encode(items[k].prompt);
        if (tokens.empty()) throw ArgumentError("the prompt is empty");
        const auto room = static_cast<std::ptrdiff_t>(context - max_tokens);
        if (static_cast<std::ptrdiff_t>(tokens.size()) > room) {
            tokens.erase(tokens.begin(), tokens.end() - room);
            ++result.num_cut;
        }
        result.prompts.push_back(std::move(tokens));
    });
    return result;
}

/// What the model generates behind the prompt of every item; stops(item): what ends it.
template <class Results, class Item, class Stops>
void generate_answers(const Transformer& model, const Tokenizer& tokenizer,
                      std::span<const Item> items, const AnswerOptions& options, Stops&& stops,
                      Results& results) {
    const auto tokens = prompt_tokens(model, tokenizer, items, options.max_tokens);
    results.num_cut = tokens.num_cut;
    GenerateOptions generate_options;
    generate_options.max_tokens = options.max_tokens;
    for (std::size_t k = 0; k < items.size(); ++k) {
        results.texts.push_back(
            generate_text(model, tokenizer, tokens.prompts[k], generate_options, stops(items[k])));
        report_item(options.progress, k + 1, items.size());
    }
}

[[nodiscard]] inline RougeMeans rouge_means(std::span<const SummaryItem> items,
                                            const std::vector<std::string>& texts,
                                            Stemming stemming) {
    std::vector<double> samples[4];
    for (std::size_t k = 0; k < items.size(); ++k) {
        const auto scores = rouge(items[k].target, texts[k], stemming);
        const RougeScore all[] = {scores.rouge_1, scores.rouge_2, scores.rouge_l,
                                  scores.rouge_lsum};
        for (std::size_t j = 0; j < 4; ++j) samples[j].push_back(all[j].f1);
    }
    return {bootstrap_mean(samples[0]), bootstrap_mean(samples[1]), bootstrap_mean(samples[2]),
            bootstrap_mean(samples[3])};
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE AnswerResults evaluate_answers(const Transformer& model,
                                                       const Tokenizer& tokenizer,
                                                       std::span<const QuestionItem> items,
                                                       const AnswerOptions& options) {
    AnswerResults results;
    const auto stops = [](const QuestionItem& item) { return std::span(item.stops); };
    detail::generate_answers(model, tokenizer, items, options, stops, results);
    for (std::size_t k = 0; k < items.size(); ++k)
        results.right.push_back(
            is_exact_match(results.texts[k], items[k].references, items[k].rule));
    results.exact_match = accuracy(results.right);
    return results;
}

MPO_DETAIL_MODEL_INLINE SummaryResults evaluate_summaries(const Transformer& model,
                                                          const Tokenizer& tokenizer,
                                                          std::span<const SummaryItem> items,
                                                          const AnswerOptions& options) {
    SummaryResults results;
    const auto stops = [](const SummaryItem&) { return std::span<const std::string>(); };
    detail::generate_answers(model, tokenizer, items, options, stops, results);
    for (auto& text : results.texts) {
        const auto line = detail::stripped(text);  // blank lines before it do not count
        text = std::string(line.substr(0, line.find('\n')));
    }
    results.plain = detail::rouge_means(items, results.texts, Stemming::none);
    results.stemmed = detail::rouge_means(items, results.texts, Stemming::porter);
    return results;
}

}  // namespace mpo

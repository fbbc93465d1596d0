// Items of public evaluation sets as they lie in JSONL files: one JSON object per line, with the fields that
// the sets are published with. A file is read whole before anything is made of it: a bad line is refused
// with its number, and nothing is evaluated half. Lines of blanks are passed over.
//
//   layout         fields                                                        prompt
//   mmlu           question, choices (4 texts), answer (0-3 or "A"-"D")          question, A. .. D., "Answer:"
//   hellaswag      activity_label, ctx_a, ctx_b, endings, label                  label: context, brackets removed
//   boolq          question, passage, answer (boolean) or label (0, 1)           passage, "Question: ..?", "Answer:"
//   continuation   context, choices, answer (index)                              the context as it is
//   trivia_qa      question, answer (object with aliases)                        "Question: ..?", "Answer:"
//   gsm8k          question, answer (text that ends with #### and a number)      "Question: ..", "Answer:"
//   xsum gigaword  document, summary                                             document, "TL;DR:"
//
// Prompts are those of EleutherAI's lm-evaluation-harness without examples; that of summaries is GPT-2's.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/model/answers.hpp"
#include "mpo/model/choices.hpp"

namespace mpo {

/// Layouts of multiple choice.
enum class ChoiceLayout { mmlu, hellaswag, boolq, continuation };
/// Layouts of questions with a free answer.
enum class QuestionLayout { trivia_qa, gsm8k };

/// A question that the model answers by going on.
struct QuestionItem {
    std::string prompt;                       // ends where the answer begins
    std::vector<std::string> references;      // any of them is right
    std::vector<std::string> stops;           // where the answer ends
    AnswerRule rule = AnswerRule::free_text;  // how it is compared
};

/// A text to be summed up.
struct SummaryItem {
    std::string prompt;  // ends where the summary begins
    std::string target;  // the summary it is compared with
};

namespace detail {

/// Without blanks of Unicode at both ends.
[[nodiscard]] std::string_view stripped(std::string_view text);

}  // namespace detail

/// Reads multiple choice. Throws FileError where the file cannot be read, FormatError, with file and line,
/// where a line is not JSON, lacks a field or has one of the wrong kind, or where there is no item.
///
/// layout   none: the one whose fields the first line has
[[nodiscard]] std::vector<ChoiceItem> read_choice_items(
    const std::filesystem::path& path, std::optional<ChoiceLayout> layout = std::nullopt);

/// Reads questions. Throws as read_choice_items.
///
/// layout   none: GSM8K where the first line's answer is text, else TriviaQA
[[nodiscard]] std::vector<QuestionItem> read_question_items(
    const std::filesystem::path& path, std::optional<QuestionLayout> layout = std::nullopt);

/// Reads texts and their summaries: XSum, Gigaword. Throws as read_choice_items.
[[nodiscard]] std::vector<SummaryItem> read_summary_items(const std::filesystem::path& path);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/items_inl.hpp"
#endif

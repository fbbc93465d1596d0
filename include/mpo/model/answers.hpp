// Whether a generated answer is the right one, by the rules of EleutherAI's lm-evaluation-harness, tasks
// triviaqa (2.0) and gsm8k (3.0), so that numbers can be compared with published ones:
//
//   1. A text ends before the first of its stop strings.
//   2. A free answer loses one blank before it. It is right where it equals one of the references after
//      lower-casing and without the punctuation of ASCII.
//   3. A number is what follows "#### " (strict), or the last run of digits, $ , and . of at least two,
//      or of digits (flexible). It is right where it equals the reference, of which all up to "#### " is
//      cut, without "," and "$", without a "." at the end, after lower-casing.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

namespace mpo {

/// How a generated answer is compared.
enum class AnswerRule {
    free_text,      // rule 2: TriviaQA
    strict_number,  // rule 3: GSM8K's strict-match
    last_number     // rule 3: GSM8K's flexible-extract
};

namespace detail {

/// Lower case, character by character; bytes that are no UTF-8 stay.
[[nodiscard]] std::string lowered(std::string_view text);

/// Without the characters that `drop` is true for.
template <class Drop>
[[nodiscard]] std::string without(std::string text, Drop&& drop) {
    text.erase(std::remove_if(text.begin(), text.end(), drop), text.end());
    return text;
}

[[nodiscard]] inline bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// What follows the first "#### " that a number follows: an optional minus, then digits, . and ,
[[nodiscard]] std::string_view strict_number(std::string_view text);

/// The last match of (-?[$0-9.,]{2,})|(-?[0-9]+), found from the left as a regex finds it.
[[nodiscard]] std::string_view last_number(std::string_view text);

/// Rule 3: without all up to the last "#### ", without "," and "$", without a "." at the end.
[[nodiscard]] std::string normalized_number(std::string_view text);

}  // namespace detail

/// The text before the first of `stops`; empty ones do not count.
[[nodiscard]] std::string_view before_stop(std::string_view text,
                                           std::span<const std::string> stops);

/// A free answer as it is compared: lower case, without ASCII's punctuation.
[[nodiscard]] std::string normalized_answer(std::string_view text);

/// The part of a generated text that is the answer: "[invalid]" where a number is asked for and there is none.
[[nodiscard]] std::string_view extract_answer(std::string_view generated, AnswerRule rule);

/// Whether a generated text, cut at its stop strings, answers with one of the references. Throws
/// ArgumentError where there is no reference.
[[nodiscard]] bool is_exact_match(std::string_view generated,
                                  std::span<const std::string> references, AnswerRule rule);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/answers_inl.hpp"
#endif

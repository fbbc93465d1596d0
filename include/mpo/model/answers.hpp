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
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/model/unicode_lower.hpp"
#include "mpo/model/utf8.hpp"

namespace mpo {

/// How a generated answer is compared.
enum class AnswerRule {
    free_text,      // rule 2: TriviaQA
    strict_number,  // rule 3: GSM8K's strict-match
    last_number     // rule 3: GSM8K's flexible-extract
};

namespace detail {

[[nodiscard]] inline bool is_ascii_punctuation(std::uint32_t code) {
    return (code > 32 && code < 48) || (code > 57 && code < 65) || (code > 90 && code < 97) ||
           (code > 122 && code < 127);
}

/// Lower case, character by character; bytes that are no UTF-8 stay.
[[nodiscard]] inline std::string lowered(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const auto next = character_at(text, at);
        const auto lower = lower_case(next.code);
        if (lower == next.code)
            result += text.substr(at, next.size);
        else
            append_utf8(result, lower);
        at += next.size;
    }
    return result;
}

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
[[nodiscard]] inline std::string_view strict_number(std::string_view text) {
    constexpr std::string_view mark = "#### ";
    for (std::size_t at = text.find(mark); at != std::string_view::npos;
         at = text.find(mark, at + 1)) {
        const std::size_t begin = at + mark.size();
        std::size_t end = begin + (text.substr(begin).starts_with('-') ? 1 : 0);
        const std::size_t digits = end;
        while (end < text.size() && (is_digit(text[end]) || text[end] == '.' || text[end] == ','))
            ++end;
        if (end > digits) return text.substr(begin, end - begin);
    }
    return "[invalid]";
}

/// The last match of (-?[$0-9.,]{2,})|(-?[0-9]+), found from the left as a regex finds it.
[[nodiscard]] inline std::string_view last_number(std::string_view text) {
    std::string_view last = "[invalid]";
    const auto is_part = [](char c) { return is_digit(c) || c == '$' || c == '.' || c == ','; };
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at + (text[at] == '-' ? 1 : 0);
        std::size_t end = begin;
        while (end < text.size() && is_part(text[end])) ++end;
        if (end >= begin + 2 || (end == begin + 1 && is_digit(text[begin]))) {
            last = text.substr(at, end - at);
            at = end;
        } else {
            ++at;
        }
    }
    return last;
}

/// Rule 3: without all up to the last "#### ", without "," and "$", without a "." at the end.
[[nodiscard]] inline std::string normalized_number(std::string_view text) {
    const auto bare = without(std::string(text), [](char c) { return c == ',' || c == '$'; });
    std::string_view rest = bare;
    constexpr std::string_view mark = "#### ";
    if (const auto at = rest.rfind(mark); at != std::string_view::npos)
        rest.remove_prefix(at + mark.size());
    if (rest.ends_with(".\n"))  // $ also matches before a newline that ends the text
        return lowered(rest.substr(0, rest.size() - 2)) + "\n";
    if (rest.ends_with('.')) rest.remove_suffix(1);
    return lowered(rest);
}

}  // namespace detail

/// The text before the first of `stops`; empty ones do not count.
[[nodiscard]] inline std::string_view before_stop(std::string_view text,
                                                  std::span<const std::string> stops) {
    std::size_t end = text.size();
    for (const auto& stop : stops)
        if (!stop.empty()) end = (std::min)(end, text.find(stop));
    return text.substr(0, end);
}

/// A free answer as it is compared: lower case, without ASCII's punctuation.
[[nodiscard]] inline std::string normalized_answer(std::string_view text) {
    return detail::without(detail::lowered(text), [](char c) {
        return detail::is_ascii_punctuation(static_cast<unsigned char>(c));
    });
}

/// The part of a generated text that is the answer: "[invalid]" where a number is asked for and there is none.
[[nodiscard]] inline std::string_view extract_answer(std::string_view generated, AnswerRule rule) {
    if (rule == AnswerRule::strict_number) return detail::strict_number(generated);
    if (rule == AnswerRule::last_number) return detail::last_number(generated);
    if (generated.starts_with(' ')) generated.remove_prefix(1);
    return generated;
}

/// Whether a generated text, cut at its stop strings, answers with one of the references. Throws
/// ArgumentError where there is no reference.
[[nodiscard]] inline bool is_exact_match(std::string_view generated,
                                         std::span<const std::string> references, AnswerRule rule) {
    if (references.empty()) throw ArgumentError("is_exact_match: there is no reference answer");
    const auto normalized = [rule](std::string_view text) {
        return rule == AnswerRule::free_text ? normalized_answer(text)
                                             : detail::normalized_number(text);
    };
    const auto answer = normalized(extract_answer(generated, rule));
    return std::any_of(references.begin(), references.end(), [&](const std::string& reference) {
        return normalized(reference) == answer;
    });
}

}  // namespace mpo

// The bodies of model/answers.hpp that are no templates.
#pragma once

#include <cstddef>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/answers.hpp"
#include "mpo/model/unicode_lower.hpp"
#include "mpo/model/utf8.hpp"

namespace mpo {
namespace detail {

[[nodiscard]] inline bool is_ascii_punctuation(std::uint32_t code) {
    return (code > 32 && code < 48) || (code > 57 && code < 65) || (code > 90 && code < 97) ||
           (code > 122 && code < 127);
}

MPO_DETAIL_MODEL_INLINE std::string lowered(std::string_view text) {
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

MPO_DETAIL_MODEL_INLINE std::string_view strict_number(std::string_view text) {
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

MPO_DETAIL_MODEL_INLINE std::string_view last_number(std::string_view text) {
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

MPO_DETAIL_MODEL_INLINE std::string normalized_number(std::string_view text) {
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

MPO_DETAIL_MODEL_INLINE std::string_view before_stop(std::string_view text,
                                                     std::span<const std::string> stops) {
    std::size_t end = text.size();
    for (const auto& stop : stops)
        if (!stop.empty()) end = (std::min)(end, text.find(stop));
    return text.substr(0, end);
}

MPO_DETAIL_MODEL_INLINE std::string normalized_answer(std::string_view text) {
    return detail::without(detail::lowered(text), [](char c) {
        return detail::is_ascii_punctuation(static_cast<unsigned char>(c));
    });
}

MPO_DETAIL_MODEL_INLINE std::string_view extract_answer(std::string_view generated,
                                                        AnswerRule rule) {
    if (rule == AnswerRule::strict_number) return detail::strict_number(generated);
    if (rule == AnswerRule::last_number) return detail::last_number(generated);
    if (generated.starts_with(' ')) generated.remove_prefix(1);
    return generated;
}

MPO_DETAIL_MODEL_INLINE bool is_exact_match(std::string_view generated,
                                            std::span<const std::string> references,
                                            AnswerRule rule) {
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

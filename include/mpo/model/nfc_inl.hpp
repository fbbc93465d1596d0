// The bodies of model/nfc.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/nfc.hpp"
#include "mpo/model/unicode_compositions.hpp"
#include "mpo/model/unicode_marks.hpp"
#include "mpo/model/utf8.hpp"

namespace mpo {
namespace detail {

inline constexpr std::uint32_t raw_byte = 0x110000;  // what is no UTF-8: this plus the byte

[[nodiscard]] inline std::uint32_t combining_class(std::uint32_t code) {
    if (code < 0x300) return 0;
    const auto* next =
        std::upper_bound(std::begin(combining_runs), std::end(combining_runs), code,
                         [](std::uint32_t x, std::uint32_t run) { return x < (run & 0xffffffu); });
    return *(next - 1) >> 24;
}

/// Appends what a character is made of, all the way down.
inline void decompose_character(std::uint32_t code, std::vector<std::uint32_t>& parts) {
    if (code >= Hangul::syllables && code < Hangul::syllables + Hangul::num_syllables) {
        const std::uint32_t index = code - Hangul::syllables;
        const std::uint32_t trail = index % Hangul::num_trails, pair = index / Hangul::num_trails;
        parts.push_back(Hangul::leads + pair / Hangul::num_vowels);
        parts.push_back(Hangul::vowels + pair % Hangul::num_vowels);
        if (trail > 0) parts.push_back(Hangul::trails + trail);
        return;
    }
    const auto* one = std::lower_bound(std::begin(unicode_singletons), std::end(unicode_singletons),
                                       std::uint64_t{code} << 24);
    if (one != std::end(unicode_singletons) && *one >> 24 == code)
        return decompose_character(static_cast<std::uint32_t>(*one & 0xffffffu), parts);
    const auto code_of = [](std::uint64_t pair) { return pair >> 42 & 0x1fffffu; };
    const auto* two =
        std::lower_bound(std::begin(unicode_pairs), std::end(unicode_pairs), std::uint64_t{code},
                         [&](std::uint64_t pair, std::uint64_t x) { return code_of(pair) < x; });
    if (two == std::end(unicode_pairs) || code_of(*two) != code) return parts.push_back(code);
    decompose_character(static_cast<std::uint32_t>(*two >> 21 & 0x1fffffu), parts);
    parts.push_back(static_cast<std::uint32_t>(*two & 0x1fffffu));
}

MPO_DETAIL_MODEL_INLINE std::uint32_t composed(std::uint32_t first, std::uint32_t second) {
    const std::uint32_t lead = first - Hangul::leads, vowel = second - Hangul::vowels;
    if (lead < Hangul::num_leads && vowel < Hangul::num_vowels)
        return Hangul::syllables + (lead * Hangul::num_vowels + vowel) * Hangul::num_trails;
    const std::uint32_t syllable = first - Hangul::syllables, trail = second - Hangul::trails;
    if (syllable < Hangul::num_syllables && syllable % Hangul::num_trails == 0 && trail > 0 &&
        trail < Hangul::num_trails)
        return first + trail;
    using Composite =
        std::pair<std::uint64_t, std::uint32_t>;  // first << 21 | second, and they make
    static const auto composites = [] {
        std::vector<Composite> list;
        for (const auto pair : unicode_pairs)
            if (pair >> 63 != 0)
                list.emplace_back(pair & 0x3ffffffffffu,
                                  static_cast<std::uint32_t>(pair >> 42 & 0x1fffffu));
        std::sort(list.begin(), list.end());
        return list;
    }();
    const Composite wanted{std::uint64_t{first} << 21 | second, 0};
    const auto found = std::lower_bound(composites.begin(), composites.end(), wanted);
    return found != composites.end() && found->first == wanted.first ? found->second : 0;
}

/// Marks behind a character that is none, by their class; equal ones stay in order.
inline void order_marks(std::vector<std::uint32_t>& parts) {
    const auto is_mark = [](std::uint32_t code) { return combining_class(code) != 0; };
    for (auto begin = parts.begin(); begin != parts.end();) {
        begin = std::find_if(begin, parts.end(), is_mark);
        const auto end = std::find_if_not(begin, parts.end(), is_mark);
        std::stable_sort(begin, end, [](std::uint32_t a, std::uint32_t b) {
            return combining_class(a) < combining_class(b);
        });
        begin = end;
    }
}

/// Puts together what is not kept apart by a mark of the same or a higher class.
inline void compose_parts(std::vector<std::uint32_t>& parts) {
    std::size_t kept = 0, starter = parts.size();  // the last one that is no mark; none yet
    std::uint32_t before = 0;                      // class of the last one kept behind it
    for (const std::uint32_t code : parts) {
        const auto mark = combining_class(code);
        const bool adjacent = starter < kept && (starter + 1 == kept || before < mark);
        const std::uint32_t whole = adjacent ? composed(parts[starter], code) : 0;
        if (whole != 0) {
            parts[starter] = whole;
            continue;
        }
        if (mark == 0) starter = kept;
        before = mark;
        parts[kept++] = code;
    }
    parts.resize(kept);
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::string to_nfc(std::string_view text) {
    const auto plain = [](char c) { return static_cast<unsigned char>(c) < 0xcc; };  // below U+0300
    if (std::all_of(text.begin(), text.end(), plain)) return std::string(text);
    std::vector<std::uint32_t> parts;
    parts.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const auto next = detail::character_at(text, at);
        if (detail::utf8_length(text, at) > 0)
            detail::decompose_character(next.code, parts);
        else
            parts.push_back(detail::raw_byte + static_cast<unsigned char>(text[at]));
        at += next.size;
    }
    detail::order_marks(parts);
    detail::compose_parts(parts);
    std::string result;
    result.reserve(text.size());
    for (const auto code : parts)
        if (code >= detail::raw_byte)
            result += static_cast<char>(code - detail::raw_byte);
        else
            detail::append_utf8(result, code);
    return result;
}

}  // namespace mpo

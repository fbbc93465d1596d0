// Text of strangers (names in files) in messages and tables: short, and harmless to a terminal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "mpo/core/error.hpp"

namespace mpo::detail {

/// Bytes of the character that begins at text[at]; 0 where none is well-formed UTF-8 there.
[[nodiscard]] inline std::size_t utf8_length(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t k) {
        return at + k < text.size() ? static_cast<unsigned char>(text[at + k]) : 0u;
    };
    const unsigned first = byte(0);
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0;
    const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    unsigned code = first & (0xffu >> (size + 1));
    for (std::size_t k = 1; k < size; ++k) {
        if ((byte(k) & 0xc0) != 0x80) return 0;
        code = (code << 6) | (byte(k) & 0x3f);
    }
    constexpr unsigned least[] = {0x80, 0x800, 0x10000};  // below: longer than need be
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    return code >= least[size - 2] && code <= 0x10ffff && !surrogate ? size : 0;
}

/// Whether a character controls a terminal instead of being shown: C0, DEL and C1.
[[nodiscard]] inline bool is_control(std::string_view character) {
    const auto first = static_cast<unsigned char>(character[0]);
    if (character.size() == 1) return first < 0x20 || first == 0x7f;
    return character.size() == 2 && first == 0xc2 &&
           static_cast<unsigned char>(character[1]) < 0xa0;
}

/// Text of a stranger for a terminal: at most `max_bytes` of it, control characters and broken
/// UTF-8 as \\x1b.
[[nodiscard]] inline std::string printable(std::string_view text, std::size_t max_bytes = 100) {
    constexpr const char* digits = "0123456789abcdef";
    std::string result;
    std::size_t at = 0;
    while (at < text.size()) {
        std::size_t size = utf8_length(text, at);
        if (size > 0 && is_control(text.substr(at, size))) size = 0;
        if (at + (std::max)(size, std::size_t{1}) > max_bytes) break;
        const auto byte = static_cast<unsigned char>(text[at]);
        if (size == 0) result += {'\\', 'x', digits[byte / 16], digits[byte % 16]};
        result += text.substr(at, size);
        at += (std::max)(size, std::size_t{1});
    }
    return at < text.size() ? concat(result, "... (", text.size(), " bytes)") : result;
}

/// The same in quotes, for names in messages.
[[nodiscard]] inline std::string in_quotes(std::string_view text) {
    return concat("'", printable(text), "'");
}

}  // namespace mpo::detail

// The bodies of model/utf8.hpp that are no templates.
#pragma once

#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/utf8.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE Character character_at(std::string_view text, std::size_t at) {
    if (at >= text.size()) return {};
    const std::size_t size = utf8_length(text, at);
    if (size == 0) return {0xfffd, 1, CharacterClass::other};
    std::uint32_t code = static_cast<unsigned char>(text[at]);
    if (size > 1) code &= 0xffu >> (size + 1);
    for (std::size_t k = 1; k < size; ++k)
        code = (code << 6) | (static_cast<unsigned char>(text[at + k]) & 0x3fu);
    return {code, size, character_class(code)};
}

MPO_DETAIL_MODEL_INLINE void append_utf8(std::string& text, std::uint32_t code) {
    if (code < 0x80) {
        text += static_cast<char>(code);
        return;
    }
    const int tails = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    text += static_cast<char>((0xffu << (7 - tails) & 0xffu) | code >> (6 * tails));
    for (int k = tails - 1; k >= 0; --k)
        text += static_cast<char>(0x80u | (code >> (6 * k) & 0x3fu));
}

}  // namespace mpo::detail

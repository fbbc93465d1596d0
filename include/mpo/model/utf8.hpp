// Characters of a text of any bytes, and their bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "mpo/model/unicode_classes.hpp"

namespace mpo::detail {

/// One character of a text; of the class `none` and size 0 at its end.
struct Character {
    std::uint32_t code = 0;  // 0xfffd where it is no UTF-8
    std::size_t size = 0;    // in bytes
    CharacterClass kind = CharacterClass::none;
};

[[nodiscard]] Character character_at(std::string_view text, std::size_t at);

/// Appends the bytes of a code point.
void append_utf8(std::string& text, std::uint32_t code);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/utf8_inl.hpp"
#endif

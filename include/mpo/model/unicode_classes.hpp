// Unicode 15.1.0: which code points are letters, numbers and blanks, as the patterns of
// tokenizers tell them apart. Written by scripts/make_unicode_tables; do not edit.
#pragma once

#include <cstdint>

namespace mpo::detail {

/// What the patterns of pre-tokenisers tell apart. `none` is the end of the text.
enum class CharacterClass : std::uint8_t { other, letter, number, blank, none };

/// The class of a code point; blanks are those with the property White_Space.
[[nodiscard]] CharacterClass character_class(std::uint32_t code);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/unicode_classes_inl.hpp"
#endif

// Unicode 15.1.0: lower case, character by character. Written by scripts/make_unicode_tables; do not edit.
#pragma once

#include <cstdint>

namespace mpo::detail {

/// The code point in lower case; itself where it has none. Where Unicode has two characters (the dotted
/// capital I) the first; a final sigma is not told from others.
[[nodiscard]] std::uint32_t lower_case(std::uint32_t code);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/unicode_lower_inl.hpp"
#endif

// Unicode's normal form C [uax15]: characters made of others are taken apart, marks put in order, and what
// belongs together put together again, so that equal texts are equal bytes. Qwen 2 was trained on it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mpo {
namespace detail {

/// Hangul syllables are a leading consonant, a vowel and perhaps a trailing consonant, in order.
struct Hangul {
    static constexpr std::uint32_t syllables = 0xac00, leads = 0x1100, vowels = 0x1161,
                                   trails = 0x11a7, num_leads = 19, num_vowels = 21,
                                   num_trails = 28, num_syllables = 11172;
};

/// The character that two make, or 0.
[[nodiscard]] std::uint32_t composed(std::uint32_t first, std::uint32_t second);

}  // namespace detail

/// The text in normal form C. Bytes that are no UTF-8 stay, and keep what is beside them apart. O(n log n).
[[nodiscard]] std::string to_nfc(std::string_view text);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/nfc_inl.hpp"
#endif

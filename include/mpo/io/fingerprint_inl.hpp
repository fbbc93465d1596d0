// The bodies of io/fingerprint.hpp that are no templates.
#pragma once

#include <algorithm>

#include "mpo/io/fingerprint.hpp"
#include "mpo/io/inline.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void Fingerprint::add(const void* data, std::size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(data);
    for (; bytes > 0; at += 8, bytes -= (std::min)(bytes, std::size_t{8})) {
        std::uint64_t word = 0;
        for (std::size_t k = 0; k < (std::min)(bytes, std::size_t{8}); ++k)
            word |= std::uint64_t{at[k]} << (8 * k);
        hash_ = (hash_ ^ word) * 0x100000001b3;
        hash_ ^= hash_ >> 29;  // words are not bytes: high bits must reach low ones
    }
}

MPO_DETAIL_MODEL_INLINE std::string Fingerprint::to_string() const {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (int shift = 60; shift >= 0; shift -= 4) text += digits[hash_ >> shift & 15];
    return text;
}

}  // namespace mpo::detail

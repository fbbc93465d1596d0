// Counts what a program holds through operator new, over-aligned memory included. A program that
// links counting_new.cpp allocates through it.
#pragma once

#include <cstddef>

namespace mpo::bench {

/// Bytes held now by all threads.
[[nodiscard]] std::size_t live_bytes();

/// Largest number held at any time since the last reset_peak.
[[nodiscard]] std::size_t peak_bytes();
void reset_peak();

}  // namespace mpo::bench

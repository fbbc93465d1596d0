// Large buffers on large pages: a matrix of 64 MB costs 16,000 page faults on pages of 4 KiB whenever it is
// allocated, which for an algorithm that makes one per step is as long as its products take.
#pragma once

#include <cstddef>

namespace mpo::detail {

/// Asks the operating system to back `bytes` bytes at p, just allocated, by large pages; does nothing for
/// small ones and where there is no such request. Never fails.
void prefer_huge_pages(void* p, std::size_t bytes) noexcept;

}  // namespace mpo::detail

#ifndef MPO_COMPILED
#include "mpo/linalg/huge_pages_inl.hpp"
#endif

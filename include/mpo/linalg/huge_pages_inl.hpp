// Body of linalg/huge_pages.hpp.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdint>

#include "mpo/core/inline.hpp"
#include "mpo/linalg/huge_pages.hpp"

namespace mpo::detail {

MPO_DETAIL_INLINE void prefer_huge_pages([[maybe_unused]] void* p,
                                         [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::size_t page = std::size_t{1} << 21, worth_it = 2 * page;
    if (bytes < worth_it) return;
    const auto begin = (reinterpret_cast<std::uintptr_t>(p) + page - 1) / page * page;
    const auto end = (reinterpret_cast<std::uintptr_t>(p) + bytes) / page * page;
    if (begin < end) (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace mpo::detail

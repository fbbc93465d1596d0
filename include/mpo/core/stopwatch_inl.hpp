// Body of core/stopwatch.hpp.
#pragma once

#include <chrono>

#include "mpo/core/inline.hpp"
#include "mpo/core/stopwatch.hpp"

namespace mpo::detail {

MPO_DETAIL_INLINE double seconds_now() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

}  // namespace mpo::detail

// Wall time of small pieces of work, without the clocks of the standard library in every program.
#pragma once

#include <algorithm>

namespace mpo::detail {

/// Seconds since some fixed moment; never goes back.
[[nodiscard]] double seconds_now();

/// Seconds of run(), the least of `repeats`.
template <class Run>
[[nodiscard]] double least_seconds(int repeats, const Run& run) {
    double least = 1e9;
    for (int repeat = 0; repeat < repeats; ++repeat) {
        const double begin = seconds_now();
        run();
        least = (std::min)(least, seconds_now() - begin);
    }
    return least;
}

}  // namespace mpo::detail

#ifndef MPO_COMPILED
#include "mpo/core/stopwatch_inl.hpp"
#endif

// The two ways through a chain.
#pragma once

#include "mpo/network/sweep.hpp"

namespace mpo::test {

inline constexpr SweepDirection both_directions[] = {SweepDirection::right_to_left,
                                                     SweepDirection::left_to_right};

}  // namespace mpo::test

// What of network/contract.hpp is no template.
#pragma once

#include "mpo/core/inline.hpp"
#include "mpo/network/contract.hpp"

namespace mpo::detail {

MPO_DETAIL_INLINE SweepDirection choose_direction(const Layout& layout, const Shape& bonds,
                                                  const PlanOptions& options) {
    if (options.batch < 1)
        throw ArgumentError(concat("make_plan: batch must be at least 1, got ", options.batch));
    if (options.direction != SweepDirection::automatic) return options.direction;
    return multiply_adds_left_to_right(layout, bonds) < multiply_adds_right_to_left(layout, bonds)
               ? SweepDirection::left_to_right
               : SweepDirection::right_to_left;
}

}  // namespace mpo::detail

// Bodies of linalg/adam_update.hpp: the loops for the processor at hand.
#pragma once

#include "mpo/core/inline.hpp"
#include "mpo/impl/adam_kernel_inl.hpp"
#include "mpo/linalg/adam_update.hpp"

namespace mpo::detail {

MPO_DETAIL_INLINE void adam_update(Index n, const AdamUpdate<float>& update, const float* gradient,
                                   float* m, float* v, float* x) {
    adam_update_on(best_isa(), n, update, gradient, m, v, x);
}

MPO_DETAIL_INLINE double sum_of_squares(Index n, const float* x) {
    return sum_of_squares_on(best_isa(), n, x);
}

}  // namespace mpo::detail

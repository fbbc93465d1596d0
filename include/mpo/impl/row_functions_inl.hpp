// Bodies of linalg/row_functions.hpp: the loops of row_kernel_inl.hpp on the processor at hand.
#pragma once

#include <cmath>

#include "mpo/core/inline.hpp"
#include "mpo/impl/gemm_pack_inl.hpp"
#include "mpo/impl/row_kernel_inl.hpp"
#include "mpo/linalg/row_functions.hpp"

namespace mpo::detail {

MPO_DETAIL_INLINE void normalize_row(Index n, const float* x, const float* weight, float epsilon,
                                     float* y) {
    normalize_row_on(best_isa(), n, x, weight, epsilon, y);
}

MPO_DETAIL_INLINE void silu_multiply(Index n, float* gate, const float* up) {
    silu_multiply_on(best_isa(), n, gate, up, gate);
}

MPO_DETAIL_INLINE void silu_multiply(Index n, const float* gate, const float* up, float* h) {
    silu_multiply_on(best_isa(), n, gate, up, h);
}

MPO_DETAIL_INLINE void silu_multiply_gradient(Index n, const float* gate, const float* up,
                                              const float* dh, float* dgate, float* dup) {
    silu_multiply_gradient_on(best_isa(), n, gate, up, dh, dgate, dup);
}

MPO_DETAIL_INLINE void normalize_row_gradient(Index n, const float* x, const float* weight,
                                              float epsilon, const float* dy, float* dx,
                                              float* dweight) {
    normalize_row_gradient_on(best_isa(), n, x, weight, epsilon, dy, dx, dweight);
}

MPO_DETAIL_INLINE void softmax_gradient(Index n, float log_sum, float mean, float* p, float* dp) {
    softmax_gradient_on(best_isa(), n, log_sum, mean, p, dp);
}

MPO_DETAIL_INLINE void transpose_rows(Index rows, Index cols, const float* x, Index x_stride,
                                      float* y, Index y_stride) {
    pack_transposed(x, x_stride, 1, rows, cols, y, y_stride);
}

MPO_DETAIL_INLINE float dot_row(Index n, const float* x, const float* y) {
    return dot_row_on(best_isa(), n, x, y);
}

MPO_DETAIL_INLINE void add_row(Index n, const float* x, float* y) {
    add_row_on(best_isa(), n, x, y);
}

MPO_DETAIL_INLINE void rotate_pairs(Index half, const float* cosines, const float* sines,
                                    float scale, float* x) {
    rotate_pairs_on(best_isa(), half, cosines, sines, scale, x);
}

MPO_DETAIL_INLINE float row_maximum(Index n, const float* x) {
    return row_maximum_on(best_isa(), n, x);
}

MPO_DETAIL_INLINE float exponentiate(Index n, float shift, float* x) {
    return exponentiate_on(best_isa(), n, shift, x);
}

MPO_DETAIL_INLINE void absorb_panel(Index keys, float* S, float* maximum, float* sum,
                                    float* rescale) {
    absorb_panel_on(best_isa(), keys, S, maximum, sum, rescale);
}

MPO_DETAIL_INLINE void scale_columns(Index rows, const float* factor, float* P) {
    scale_columns_on(best_isa(), rows, factor, P);
}

MPO_DETAIL_INLINE double log_sum_exp(Index n, const float* x) {
    const float top = row_maximum(n, x);
    return static_cast<double>(top) + std::log(sum_of_exponentials_on(best_isa(), n, top, x));
}

MPO_DETAIL_INLINE double divergence(Index n, const float* x, double log_sum_x, const float* y,
                                    double log_sum_y) {
    return mean_difference_on(best_isa(), n, static_cast<float>(log_sum_x), x, y) + log_sum_y -
           log_sum_x;
}

}  // namespace mpo::detail

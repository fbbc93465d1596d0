// Functions of rows of numbers that no product covers: normalisation, exponentials and what is made of
// them. Each runs on vectors of the processor at hand; loops over many rows are the caller's.
//
// The exponential: x = n ln 2 + r, |r| <= ln 2 / 2, exp x = 2^n (1 + r + .. + r^7 / 7!), whose remainder
// is 5e-9 of it; relative error at most 2 eps for -87.3 <= x <= 88, and 0 below.
#pragma once

#include "mpo/core/tensor.hpp"

namespace mpo::detail {

/// y_i = w_i x_i / sqrt(mean of x^2 + epsilon), i < n; y may be x. Zhang and Sennrich, NeurIPS (2019).
void normalize_row(Index n, const float* x, const float* weight, float epsilon, float* y);

/// gate_i = up_i gate_i / (1 + exp(-gate_i)), i < n. Shazeer, arXiv:2002.05202 (2020).
void silu_multiply(Index n, float* gate, const float* up);

/// The same into h, with the same bits; gate and up stay.
void silu_multiply(Index n, const float* gate, const float* up, float* h);

/// Derivatives of silu_multiply, with s = 1 / (1 + exp(-gate)):
///
///   dgate_i = dh_i up_i s (1 + gate_i (1 - s)),   dup_i = dh_i gate_i s
///
/// Overwritten; they may lie where any of the others do.
void silu_multiply_gradient(Index n, const float* gate, const float* up, const float* dh,
                            float* dgate, float* dup);

/// Derivatives of normalize_row, with r^2 = mean of x^2 + epsilon:
///
///   dx_i += (w_i dy_i - x_i (sum over j of w_j dy_j x_j) / (n r^2)) / r,   dweight_i += dy_i x_i / r
///
/// dweight   null where nobody asks for it
void normalize_row_gradient(Index n, const float* x, const float* weight, float epsilon,
                            const float* dy, float* dx, float* dweight);

/// A row of scores p and of derivatives dp by the probabilities becomes the probabilities and the derivatives
/// by the scores: p_i = exp(p_i - log_sum), dp_i = p_i (dp_i - mean).
void softmax_gradient(Index n, float log_sum, float mean, float* p, float* dp);

/// y_{c y_stride + r} = x_{r x_stride + c}, r < rows, c < cols.
void transpose_rows(Index rows, Index cols, const float* x, Index x_stride, float* y,
                    Index y_stride);

/// Sum over i of x_i y_i, i < n.
[[nodiscard]] float dot_row(Index n, const float* x, const float* y);

/// y_i += x_i, i < n.
void add_row(Index n, const float* x, float* y);

/// x_i <- x_i c_i - x_{i+half} s_i, x_{i+half} <- x_{i+half} c_i + x_i s_i, i < half, then times
/// `scale`.
void rotate_pairs(Index half, const float* cosines, const float* sines, float scale, float* x);

/// The largest of n >= 1 numbers.
[[nodiscard]] float row_maximum(Index n, const float* x);

/// x_i = exp(x_i - shift), i < n; returns their sum.
float exponentiate(Index n, float shift, float* x);

/// log of the sum of exp x_i, i < n, n >= 1, summed in double by pieces.
[[nodiscard]] double log_sum_exp(Index n, const float* x);

/// sum over i of p_i (log p_i - log q_i) with log p_i = x_i - log_sum_x, log q_i = y_i - log_sum_y.
[[nodiscard]] double divergence(Index n, const float* x, double log_sum_x, const float* y,
                                double log_sum_y);

/// One step of the running softmax of 32 columns (Milakov and Gimelshein, arXiv:1805.02867): takes
/// `keys` more rows of S (keys, 32) in.
///
/// maximum, sum   (32) of all rows before; updated
/// rescale        (32) what everything summed before must be multiplied with
/// S              overwritten by exp(S - maximum)
void absorb_panel(Index keys, float* S, float* maximum, float* sum, float* rescale);

/// Column c of P (rows, 32) times factor[c].
void scale_columns(Index rows, const float* factor, float* P);

}  // namespace mpo::detail

#ifndef MPO_COMPILED
#include "mpo/impl/row_functions_inl.hpp"
#endif

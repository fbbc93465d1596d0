// Rows of activations, forward and backward, in the precision of training: what a decoder layer does between
// its products.
//
//   RMSNorm   y_i = w_i x_i / r,  r^2 = mean of x^2 + epsilon     Zhang and Sennrich, NeurIPS (2019)
//   SwiGLU    h_i = up_i gate_i / (1 + exp(-gate_i))              Shazeer, arXiv:2002.05202 (2020)
//   rotary    RotaryAngles of rotary.hpp: rotate and its transpose, rotate_back
//
// In float they are the loops of linalg/row_functions.hpp, forward with the bits that inference has; in double,
// for finite differences, plain loops. Functions of one row leave threads to the caller, those of `rows`
// rows spread them over the pool, with the same bits for every number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/rotary.hpp"

namespace mpo::detail {

/// y = rmsnorm(x), n numbers; y may be x.
template <class T>
void normalize_row_t(Index n, const T* x, const T* weight, T epsilon, T* y) {
    if constexpr (std::is_same_v<T, float>) {
        normalize_row(n, x, weight, epsilon, y);
    } else {
        T squares = 0;
        for (Index i = 0; i < n; ++i) squares += x[i] * x[i];
        const T inverse = 1 / std::sqrt(squares / static_cast<T>(n) + epsilon);
        for (Index i = 0; i < n; ++i) y[i] = x[i] * inverse * weight[i];
    }
}

/// Derivatives of normalize_row_t by x and by the weight, given those by y:
///
///   dx_i += (w_i dy_i - x_i (sum over j of w_j dy_j x_j) / (n r^2)) / r,   dweight_i += dy_i x_i / r
///
/// dweight   null where the weight is frozen
template <class T>
void normalize_row_backward(Index n, const T* x, const T* weight, T epsilon, const T* dy, T* dx,
                            T* dweight) {
    if constexpr (std::is_same_v<T, float>) {
        normalize_row_gradient(n, x, weight, epsilon, dy, dx, dweight);
    } else {
        T squares = 0, products = 0;
        for (Index i = 0; i < n; ++i) {
            squares += x[i] * x[i];
            products += x[i] * weight[i] * dy[i];
        }
        const T mean = squares / static_cast<T>(n) + epsilon;
        const T inverse = 1 / std::sqrt(mean), along = products / static_cast<T>(n) / mean;
        for (Index i = 0; i < n; ++i) {
            dx[i] += (weight[i] * dy[i] - x[i] * along) * inverse;
            if (dweight != nullptr) dweight[i] += dy[i] * x[i] * inverse;
        }
    }
}

/// h = silu(gate) up, n numbers; gate and up stay.
template <class T>
void silu_multiply_t(Index n, const T* gate, const T* up, T* h) {
    if constexpr (std::is_same_v<T, float>) {
        silu_multiply(n, gate, up, h);
    } else {
        for (Index i = 0; i < n; ++i) h[i] = up[i] * (gate[i] / (1 + std::exp(-gate[i])));
    }
}

/// Derivatives of silu_multiply_t by gate and up, given those by h, with s = 1 / (1 + exp(-gate)):
///
///   dgate_i = dh_i up_i s (1 + gate_i (1 - s)),   dup_i = dh_i gate_i s
///
/// Overwritten; dgate may lie where gate does, dup where up does, and either where dh does.
template <class T>
void silu_multiply_backward(Index n, const T* gate, const T* up, const T* dh, T* dgate, T* dup) {
    if constexpr (std::is_same_v<T, float>) {
        silu_multiply_gradient(n, gate, up, dh, dgate, dup);
    } else {
        for (Index i = 0; i < n; ++i) {
            const T g = gate[i], u = up[i], d = dh[i], s = 1 / (1 + std::exp(-g));
            dgate[i] = d * u * (s * (1 + g * (1 - s)));
            dup[i] = d * (g * s);
        }
    }
}

/// The row functions in pieces of so many numbers: worth a second thread.
inline constexpr Index row_grain = Index{1} << 14;

/// normalize_row_t of `rows` rows of n numbers.
template <class T>
void normalize_rows_t(Index rows, Index n, const T* x, const T* weight, T epsilon, T* y) {
    parallel_for(0, rows, row_grain / n + 1, [&](Index first, Index last) {
        for (Index r = first; r < last; ++r)
            normalize_row_t<T>(n, x + r * n, weight, epsilon, y + r * n);
    });
}

/// normalize_row_backward of `rows` rows of n numbers. dweight is summed over pieces of a fixed number of rows,
/// which are then added in order.
///
/// memory   n numbers for each 64 rows where dweight is asked for
template <class T>
void normalize_rows_backward(Index rows, Index n, const T* x, const T* weight, T epsilon,
                             const T* dy, T* dx, T* dweight) {
    constexpr Index piece_rows = 64;
    const Index pieces = (rows + piece_rows - 1) / piece_rows;
    std::vector<T> partial(dweight != nullptr ? static_cast<std::size_t>(pieces * n) : 0);
    parallel_for(0, pieces, row_grain / (piece_rows * n) + 1, [&](Index first, Index last) {
        for (Index r = first * piece_rows; r < (std::min)(rows, last * piece_rows); ++r)
            normalize_row_backward<T>(
                n, x + r * n, weight, epsilon, dy + r * n, dx + r * n,
                dweight != nullptr ? partial.data() + r / piece_rows * n : nullptr);
    });
    if (dweight == nullptr) return;
    for (Index piece = 0; piece < pieces; ++piece)
        for (Index i = 0; i < n; ++i)
            dweight[i] += partial[static_cast<std::size_t>(piece * n + i)];
}

/// silu_multiply_t of `count` numbers, all rows in one.
template <class T>
void silu_multiply_rows_t(Index count, const T* gate, const T* up, T* h) {
    parallel_for(0, count, row_grain, [&](Index first, Index last) {
        silu_multiply_t<T>(last - first, gate + first, up + first, h + first);
    });
}

/// silu_multiply_backward of `count` numbers, all rows in one.
template <class T>
void silu_multiply_rows_backward(Index count, const T* gate, const T* up, const T* dh, T* dgate,
                                 T* dup) {
    parallel_for(0, count, row_grain, [&](Index first, Index last) {
        silu_multiply_backward<T>(last - first, gate + first, up + first, dh + first, dgate + first,
                                  dup + first);
    });
}

/// softmax_gradient in any precision.
template <class T>
void softmax_backward(Index n, T log_sum, T mean, T* p, T* dp) {
    if constexpr (std::is_same_v<T, float>) {
        softmax_gradient(n, log_sum, mean, p, dp);
    } else {
        for (Index i = 0; i < n; ++i) {
            p[i] = std::exp(p[i] - log_sum);
            dp[i] = p[i] * (dp[i] - mean);
        }
    }
}

/// transpose_rows in any precision.
template <class T>
void transpose_rows_t(Index rows, Index cols, const T* x, Index x_stride, T* y, Index y_stride) {
    if constexpr (std::is_same_v<T, float>) {
        transpose_rows(rows, cols, x, x_stride, y, y_stride);
    } else {
        for (Index r = 0; r < rows; ++r)
            for (Index c = 0; c < cols; ++c) y[c * y_stride + r] = x[r * x_stride + c];
    }
}

/// Sum over i of x_i y_i, i < n.
template <class T>
[[nodiscard]] T dot_row_t(Index n, const T* x, const T* y) {
    if constexpr (std::is_same_v<T, float>) {
        return dot_row(n, x, y);
    } else {
        T sum = 0;
        for (Index i = 0; i < n; ++i) sum += x[i] * y[i];
        return sum;
    }
}

/// absorb_panel of linalg/row_functions.hpp in any precision.
template <class T>
void absorb_panel_t(Index keys, T* S, T* maximum, T* sum, T* rescale) {
    if constexpr (std::is_same_v<T, float>) {
        absorb_panel(keys, S, maximum, sum, rescale);
    } else {
        for (Index c = 0; c < 32; ++c) {
            T top = maximum[c];
            for (Index t = 0; t < keys; ++t) top = (std::max)(top, S[t * 32 + c]);
            rescale[c] = std::exp(maximum[c] - top);
            maximum[c] = top;
            sum[c] *= rescale[c];
            for (Index t = 0; t < keys; ++t)
                sum[c] += S[t * 32 + c] = std::exp(S[t * 32 + c] - top);
        }
    }
}

/// scale_columns of linalg/row_functions.hpp in any precision.
template <class T>
void scale_columns_t(Index rows, const T* factor, T* P) {
    if constexpr (std::is_same_v<T, float>) {
        scale_columns(rows, factor, P);
    } else {
        for (Index r = 0; r < rows; ++r)
            for (Index c = 0; c < 32; ++c) P[r * 32 + c] *= factor[c];
    }
}

}  // namespace mpo::detail

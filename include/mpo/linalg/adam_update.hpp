// What an optimizer does to an array of numbers: the loop of Adam, and sums of squares. float runs on
// vectors of the processor at hand, at the speed of memory; double is plain.
#pragma once

#include <algorithm>
#include <cmath>

#include "mpo/core/tensor.hpp"

namespace mpo::detail {

/// The numbers of one step of Adam that are the same for every element.
template <class T>
struct AdamUpdate {
    T gradient_factor = 1;  // of the gradient, before all else
    T keep_first = 0;       // beta1
    T take_first = 1;       // 1 - beta1, rounded once
    T keep_second = 0;      // beta2
    T take_second = 1;      // 1 - beta2
    T step_size = 0;        // learning rate / (1 - beta1^t)
    T second_factor = 1;    // 1 / sqrt(1 - beta2^t)
    T epsilon = 0;          // > 0
    T keep_value = 1;       // 1 - learning rate weight_decay
};

/// With g = gradient_factor gradient_i, i < n:
///   m_i <- beta1 m_i + (1 - beta1) g,  v_i <- beta2 v_i + (1 - beta2) g^2,
///   x_i <- keep_value x_i - step_size m_i / (second_factor sqrt(v_i) + epsilon).
/// Roots below 1e-19 may come out as any number up to that. Loshchilov and Hutter, arXiv:1711.05101.
void adam_update(Index n, const AdamUpdate<float>& update, const float* gradient, float* m,
                 float* v, float* x);

/// The same; roots are correctly rounded.
inline void adam_update(Index n, const AdamUpdate<double>& update, const double* gradient,
                        double* m, double* v, double* x) {
    for (Index i = 0; i < n; ++i) {
        const double g = update.gradient_factor * gradient[i];
        m[i] = update.keep_first * m[i] + update.take_first * g;
        v[i] = update.keep_second * v[i] + update.take_second * g * g;
        x[i] = update.keep_value * x[i] -
               update.step_size * m[i] / (update.second_factor * std::sqrt(v[i]) + update.epsilon);
    }
}

/// Sum of x_i^2, i < n, in double: finite where every x_i is.
[[nodiscard]] double sum_of_squares(Index n, const float* x);

/// The same; infinite where a square is.
[[nodiscard]] inline double sum_of_squares(Index n, const double* x) {
    double sum = 0;
    for (Index i = 0; i < n; ++i) sum += x[i] * x[i];
    return sum;
}

}  // namespace mpo::detail

#ifndef MPO_COMPILED
#include "mpo/impl/adam_update_inl.hpp"
#endif

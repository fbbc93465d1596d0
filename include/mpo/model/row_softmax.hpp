// Exponentials and the largest numbers of a row of logits: float on the processor's vectors, double as it stands.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/row_functions.hpp"

namespace mpo::detail {

/// The largest of n >= 1 numbers; NaN need not show.
template <class T>
[[nodiscard]] T row_top(Index n, const T* x) {
    if constexpr (std::is_same_v<T, float>)
        return row_maximum(n, x);
    else
        return *std::max_element(x, x + n);
}

/// x_i = exp(x_i - shift), i < n; returns their sum, of float in double by pieces.
template <class T>
[[nodiscard]] double exponentiate_row(Index n, T shift, T* x) {
    double sum = 0;
    if constexpr (std::is_same_v<T, float>) {
        constexpr Index piece = 1024;  // summed in float
        for (Index k = 0; k < n; k += piece)
            sum += static_cast<double>(exponentiate((std::min)(piece, n - k), shift, x + k));
    } else {
        for (Index k = 0; k < n; ++k) {
            x[k] = std::exp(x[k] - shift);
            sum += static_cast<double>(x[k]);
        }
    }
    return sum;
}

/// The largest logits of rows of one length. Keeps its scratch from row to row.
class TopLogits {
  public:
    /// n     of a row
    /// top   how many are wanted, 1 .. n
    TopLogits(Index n, Index top)
        : n_(n), top_(top), maxima_(static_cast<std::size_t>((n + block - 1) / block)) {}

    /// The places of the `top` largest numbers of `row`, descending; of equal ones the lower place is first. The
    /// top-th largest of the maxima of blocks is a floor under all that are wanted: few blocks reach it.
    ///
    /// row       (n)
    /// ids       (top), overwritten
    /// returns   whether there are so many: false only where some number is NaN, and not always then
    /// cost      one maximum of the row, and about `top` blocks of 64 numbers
    [[nodiscard]] bool find(const float* row, std::int32_t* ids);

  private:
    static constexpr Index block = 64;

    [[nodiscard]] static Index begin_of(std::size_t b) { return static_cast<Index>(b) * block; }
    [[nodiscard]] Index length_of(std::size_t b) const {
        return (std::min)(block, n_ - begin_of(b));
    }

    Index n_, top_;
    std::vector<float> maxima_, sorted_;
    std::vector<std::int32_t> candidates_;
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/row_softmax_inl.hpp"
#endif

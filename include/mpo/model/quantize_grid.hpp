// The levels of a group of numbers, scale q + minimum with q = 0 .. 2^bits - 1, in half precision.
//
//   span     from the smallest number to the largest
//   fitted   minimise  sum of weight_k (x_k - nearest level)^2: the best of the span, of narrower ones that leave
//            outliers outside, and of the least squares in scale and minimum that follow from its levels
//
// There are few levels to lose: at 2 and 3 bits the span gives most of them to numbers that hardly occur.
#pragma once

#include <cstdint>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// Where the levels of a group lie.
enum class GridChoice {
    span,    // from the smallest of its numbers to the largest
    fitted,  // where the weighted sum of squares is small
};

namespace detail {

/// Levels scale q + minimum.
struct Grid {
    float scale = 0, minimum = 0;

    [[nodiscard]] float value(std::uint8_t level) const {  // the product is exact
        return scale * static_cast<float>(level) + minimum;
    }
    /// last: the highest level.
    [[nodiscard]] std::uint8_t nearest(double x, double last) const;
};

/// From low to high.
[[nodiscard]] Grid span_grid(double low, double high, double last);

/// The numbers of a row in a group, with their weights.
struct GroupNumbers {
    const float* numbers;
    const double* weights;
    Index count;
    double last;  // the highest level

    [[nodiscard]] double number(Index k) const { return static_cast<double>(numbers[k]); }
    /// sum of weights (number - nearest level)^2.
    [[nodiscard]] double lost(const Grid& grid) const;
    /// Least squares for the levels that are nearest in `grid`; no scale where they do not determine one.
    [[nodiscard]] Grid refitted(const Grid& grid) const;
};

/// The best of span_grid(low, high), 24 narrower spans and at most two refits of the best of these.
[[nodiscard]] Grid fitted_grid(const GroupNumbers& group, double low, double high);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/quantize_grid_inl.hpp"
#endif

// Exponentials and the largest numbers of a row of logits: float on the processor's vectors, double as it stands.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
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
    [[nodiscard]] bool find(const float* row, std::int32_t* ids) {
        const auto wanted = static_cast<std::size_t>(top_);
        float floor = -std::numeric_limits<float>::infinity();
        for (std::size_t b = 0; b < maxima_.size(); ++b) {
            maxima_[b] = row_maximum(length_of(b), row + begin_of(b));
            if (std::isnan(maxima_[b])) return false;  // it has no order
        }
        if (maxima_.size() >= wanted) {
            sorted_ = maxima_;
            const auto last = sorted_.begin() + (top_ - 1);
            std::nth_element(sorted_.begin(), last, sorted_.end(), std::greater<>());
            floor = *last;
        }
        candidates_.clear();
        for (std::size_t b = 0; b < maxima_.size(); ++b) {
            if (maxima_[b] < floor) continue;
            const Index begin = begin_of(b), end = begin + length_of(b);
            for (Index k = begin; k < end; ++k)
                if (row[k] >= floor) candidates_.push_back(static_cast<std::int32_t>(k));
        }
        if (candidates_.size() < wanted) return false;
        std::partial_sort_copy(candidates_.begin(), candidates_.end(), ids, ids + top_,
                               [&](std::int32_t a, std::int32_t b) {
                                   return row[a] != row[b] ? row[a] > row[b] : a < b;
                               });
        return true;
    }

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

// An orthogonal matrix that begins as the identity and is rotated by sequences of plane rotations of
// neighbouring columns, as implicit QR iterations make them. The rotations are collected and applied
// in strips of rows, which stay in cache and spread over the threads: a vector's rate instead of one
// column pair at a time.
#pragma once

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/impl/vector_kernel_inl.hpp"

namespace mpo::detail {

class RotatedBasis {
  public:
    explicit RotatedBasis(Index n)
        : n_(n), strips_(static_cast<std::size_t>(num_strips() * n * strip_rows)) {
        for (Index i = 0; i < n_; ++i) strips_[place(i, i)] = 1;
    }

    /// Element (i, k), as of the last apply().
    [[nodiscard]] double operator()(Index i, Index k) const { return strips_[place(i, k)]; }

    /// Rotates columns sweep.first + 1, sweep.first, .. in time.
    void push(RotationSweep sweep) {
        if (sweep.cosines.empty()) return;
        num_pending_ += sweep.cosines.size();
        pending_.push_back(std::move(sweep));
        if (num_pending_ >= most_pending) apply();
    }

    void apply() {
        const Index grain = num_pending_ * strip_rows > 1 << 15 ? 1 : num_strips();
        parallel_for(0, num_strips(), grain, [&](Index first, Index last) {
            for (Index strip = first; strip < last; ++strip)
                for (const auto& sweep : pending_)
                    rotate_strip(strips_.data() + strip * n_ * strip_rows, sweep);
        });
        pending_.clear();
        num_pending_ = 0;
    }

  private:
    static constexpr std::size_t most_pending = std::size_t{1} << 14;

    [[nodiscard]] Index num_strips() const { return (n_ + strip_rows - 1) / strip_rows; }
    [[nodiscard]] std::size_t place(Index i, Index k) const {
        return static_cast<std::size_t>((i / strip_rows * n_ + k) * strip_rows + i % strip_rows);
    }

    Index n_;
    std::vector<double> strips_;  // (strips, n, strip_rows)
    std::vector<RotationSweep> pending_;
    std::size_t num_pending_ = 0;
};

/// Positions of values[0], values[1], .. from the largest value to the smallest; equal ones stay in order.
inline std::vector<Index> descending_order(const std::vector<double>& values) {
    std::vector<Index> order(values.size());
    std::iota(order.begin(), order.end(), Index{0});
    const auto value = [&](Index k) { return values[static_cast<std::size_t>(k)]; };
    std::sort(order.begin(), order.end(), [&](Index p, Index q) {
        return value(p) > value(q) || (value(p) == value(q) && p < q);
    });
    return order;
}

}  // namespace mpo::detail

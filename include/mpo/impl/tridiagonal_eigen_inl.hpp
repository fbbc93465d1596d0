// Eigenvalues and eigenvectors of a real symmetric tridiagonal matrix: implicit QL with Wilkinson's
// shift (Martin, Wilkinson, Numer. Math. 12 (1968); Parlett, The Symmetric Eigenvalue Problem, 8.11).
// The rotations are collected and applied to the vectors in strips of rows, which stay in cache and
// spread over the threads: 3 n^3 flops at a vector's rate instead of one column pair at a time.
// Errors are eps norm(T), not relative to each eigenvalue: what a Gram matrix knows of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/impl/vector_kernel_inl.hpp"

namespace mpo::detail {

/// T = Z diag(d) Z^T: `d` in, of T, and out; `e` are the n - 1 numbers beside the diagonal.
class TridiagonalEigen {
  public:
    /// Throws NumericalError where an eigenvalue does not converge within 60 sweeps.
    TridiagonalEigen(std::vector<double> d, std::vector<double> e)
        : n_(static_cast<Index>(d.size())), d_(std::move(d)), e_(std::move(e)) {
        reversed_ = std::abs(d_.front()) > std::abs(d_.back());  // QL wants the small end first
        if (reversed_) {
            std::reverse(d_.begin(), d_.end());
            std::reverse(e_.begin(), e_.end());
        }
        e_.push_back(0);
        double largest = 0;
        for (std::size_t k = 0; k < d_.size(); ++k)
            largest = (std::max)({largest, std::abs(d_[k]), std::abs(e_[k])});
        negligible_ = std::numeric_limits<double>::epsilon() / 4 * largest;
        strips_.assign(static_cast<std::size_t>(num_strips() * n_ * strip_rows), 0.0);
        for (Index i = 0; i < n_; ++i) strips_[place(i, i)] = 1;
        for (Index l = 0; l < n_; ++l) converge(l);
        apply();
    }

    [[nodiscard]] double value(Index k) const { return d_[static_cast<std::size_t>(k)]; }
    /// Row i of eigenvector k.
    [[nodiscard]] double vector(Index i, Index k) const {
        return strips_[place(reversed_ ? n_ - 1 - i : i, k)];
    }

  private:
    static constexpr int most_sweeps = 60;  // for one eigenvalue; two are usual
    static constexpr std::size_t most_pending = std::size_t{1} << 14;

    [[nodiscard]] Index num_strips() const { return (n_ + strip_rows - 1) / strip_rows; }
    [[nodiscard]] std::size_t place(Index i, Index k) const {
        return static_cast<std::size_t>((i / strip_rows * n_ + k) * strip_rows + i % strip_rows);
    }

    /// The first m >= l whose neighbour e[m] is negligible.
    [[nodiscard]] std::size_t end_of_block(std::size_t l) const {
        constexpr double eps = std::numeric_limits<double>::epsilon();
        std::size_t m = l;
        while (m + 1 < d_.size() &&
               std::abs(e_[m]) > negligible_ + eps * (std::abs(d_[m]) + std::abs(d_[m + 1])))
            ++m;
        return m;
    }

    void converge(Index column) {
        const auto l = static_cast<std::size_t>(column);
        for (int sweep = 0;; ++sweep) {
            const std::size_t m = end_of_block(l);
            if (m == l) return;
            if (sweep == most_sweeps)
                throw NumericalError(concat("eigh: eigenvalue ", l, " of ", n_,
                                            " did not converge in ", most_sweeps, " sweeps"));
            chase(l, m);
            if (pending_rotations_ >= most_pending) apply();
        }
    }

    /// One sweep from m down to l.
    void chase(std::size_t l, std::size_t m) {
        const double half = (d_[l + 1] - d_[l]) / (2 * e_[l]);
        double g = d_[m] - d_[l] + e_[l] / (half + std::copysign(std::hypot(half, 1.0), half));
        double s = 1, c = 1, shift = 0;
        RotationSweep rotations{static_cast<Index>(m) - 1};
        rotations.cosines.reserve(m - l);
        rotations.sines.reserve(m - l);
        std::size_t i = m;
        while (i-- > l) {
            const double f = s * e_[i], b = c * e_[i];
            const double r = std::sqrt(f * f + g * g);
            e_[i + 1] = r;
            if (r == 0) {  // the matrix falls apart here
                d_[i + 1] -= shift;
                break;
            }
            s = f / r;
            c = g / r;
            g = d_[i + 1] - shift;
            const double t = (d_[i] - g) * s + 2 * c * b;
            shift = s * t;
            d_[i + 1] = g + shift;
            g = c * t - b;
            rotations.cosines.push_back(c);
            rotations.sines.push_back(s);
        }
        if (rotations.cosines.size() == m - l) {
            d_[l] -= shift;
            e_[l] = g;
        }
        e_[m] = 0;
        pending_rotations_ += rotations.cosines.size();
        if (!rotations.cosines.empty()) pending_.push_back(std::move(rotations));
    }

    void apply() {
        const Index grain = pending_rotations_ * strip_rows > 1 << 15 ? 1 : num_strips();
        parallel_for(0, num_strips(), grain, [&](Index first, Index last) {
            for (Index strip = first; strip < last; ++strip)
                for (const auto& sweep : pending_)
                    rotate_strip(strips_.data() + strip * n_ * strip_rows, sweep);
        });
        pending_.clear();
        pending_rotations_ = 0;
    }

    Index n_;
    std::vector<double> d_, e_;
    bool reversed_ = false;       // T was turned upside down
    double negligible_ = 0;       // in every number beside the diagonal
    std::vector<double> strips_;  // (strips, n, strip_rows)
    std::vector<RotationSweep> pending_;
    std::size_t pending_rotations_ = 0;
};

}  // namespace mpo::detail

// Eigenvalues and eigenvectors of a real symmetric tridiagonal matrix: implicit QL with Wilkinson's
// shift (Martin, Wilkinson, Numer. Math. 12 (1968); Parlett, The Symmetric Eigenvalue Problem, 8.11).
// 3 n^3 flops of rotations, see rotated_basis_inl.hpp.
// Errors are eps norm(T), not relative to each eigenvalue: what a Gram matrix knows of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/impl/rotated_basis_inl.hpp"

namespace mpo::detail {

/// T = Z diag(d) Z^T: `d` in, of T, and out; `e` are the n - 1 numbers beside the diagonal.
class TridiagonalEigen {
  public:
    /// Throws NumericalError where an eigenvalue does not converge within 60 sweeps.
    TridiagonalEigen(std::vector<double> d, std::vector<double> e)
        : n_(static_cast<Index>(d.size())), d_(std::move(d)), e_(std::move(e)), vectors_(n_) {
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
        for (Index l = 0; l < n_; ++l) converge(l);
        vectors_.apply();
    }

    [[nodiscard]] const std::vector<double>& values() const { return d_; }
    /// Row i of eigenvector k.
    [[nodiscard]] double vector(Index i, Index k) const {
        return vectors_(reversed_ ? n_ - 1 - i : i, k);
    }

  private:
    static constexpr int most_sweeps = 60;  // for one eigenvalue; two are usual

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
                raise<NumericalError>({"eigh: eigenvalue ", l, " of ", n_, " did not converge in ",
                                       most_sweeps, " sweeps"});
            chase(l, m);
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
        vectors_.push(std::move(rotations));
    }

    Index n_;
    std::vector<double> d_, e_;
    bool reversed_ = false;  // T was turned upside down
    double negligible_ = 0;  // in every number beside the diagonal
    RotatedBasis vectors_;
};

}  // namespace mpo::detail

// SVD of a real upper bidiagonal matrix: implicit QR with the shift of the last two columns (Golub,
// Reinsch, Numer. Math. 14 (1970)), without a shift where a singular value is too small for one (Demmel,
// Kahan, SIAM J. Sci. Stat. Comput. 11 (1990)). Errors are eps norm(B).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/impl/rotated_basis_inl.hpp"

namespace mpo::detail {

/// B = L diag(values) R^T: `d` on the diagonal, `e` above it.
class BidiagonalSvd {
  public:
    /// Throws NumericalError where a singular value does not converge within 60 sweeps.
    BidiagonalSvd(std::vector<double> d, std::vector<double> e)
        : n_(static_cast<Index>(d.size())),
          d_(std::move(d)),
          e_(std::move(e)),
          left_(n_),
          right_(n_) {
        flipped_ = std::abs(d_.front()) < std::abs(d_.back());  // sweeps want the small end last
        if (flipped_) {
            std::reverse(d_.begin(), d_.end());
            std::reverse(e_.begin(), e_.end());
        }
        double largest = 0;
        for (const double x : d_) largest = (std::max)(largest, std::abs(x));
        for (const double x : e_) largest = (std::max)(largest, std::abs(x));
        negligible_ = std::numeric_limits<double>::epsilon() / 4 * largest;
        for (std::size_t last = d_.size(); last-- > 0;) converge(last);
        left_.apply();
        right_.apply();
    }

    /// Singular values, in no order.
    [[nodiscard]] std::vector<double> values() const {
        auto values = d_;
        for (double& value : values) value = std::abs(value);
        return values;
    }
    /// Row i of left singular vector k.
    [[nodiscard]] double left(Index i, Index k) const {
        return flipped_ ? element(right_, n_ - 1 - i, k) * sign(k) : element(left_, i, k);
    }
    /// Row i of right singular vector k.
    [[nodiscard]] double right(Index i, Index k) const {
        return flipped_ ? element(left_, n_ - 1 - i, k) : element(right_, i, k) * sign(k);
    }

  private:
    static constexpr int most_sweeps = 60;  // for one singular value; two are usual

    /// Sweeps run upwards through B, the bases' rotations downwards: column k is kept as n - 1 - k.
    [[nodiscard]] double element(const RotatedBasis& basis, Index i, Index k) const {
        return basis(n_ - 1 - i, n_ - 1 - k);
    }
    [[nodiscard]] double sign(Index k) const {
        return d_[static_cast<std::size_t>(k)] < 0 ? -1 : 1;
    }

    /// First row of the block that ends with row `last`: e above it is negligible, and set to 0.
    [[nodiscard]] std::size_t begin_of_block(std::size_t last) {
        constexpr double eps = std::numeric_limits<double>::epsilon();
        std::size_t k = last;
        while (k > 0 &&
               std::abs(e_[k - 1]) > negligible_ + eps * (std::abs(d_[k - 1]) + std::abs(d_[k])))
            --k;
        if (k > 0) e_[k - 1] = 0;
        return k;
    }

    void converge(std::size_t last) {
        for (int sweep = 0;; ++sweep) {
            const std::size_t first = begin_of_block(last);
            if (first == last) return;
            if (sweep == most_sweeps)
                raise<NumericalError>({"svd: singular value ", last, " of ", n_,
                                       " did not converge in ", most_sweeps, " sweeps"});
            RotationSweep left{n_ - 2 - static_cast<Index>(first)}, right{left.first};
            for (auto* sines : {&left.cosines, &left.sines, &right.cosines, &right.sines})
                sines->reserve(last - first);
            const double shift = smaller_singular_value(last);
            const double ratio = d_[first] == 0 ? 0 : shift / std::abs(d_[first]);
            if (ratio * ratio < std::numeric_limits<double>::epsilon())
                chase_without_shift(first, last, left, right);
            else
                chase(first, last, shift, left, right);
            left_.push(std::move(left));
            right_.push(std::move(right));
        }
    }

    /// Of the last two rows and columns, [f g; 0 h].
    [[nodiscard]] double smaller_singular_value(std::size_t last) const {
        const double f = std::abs(d_[last - 1]), g = std::abs(e_[last - 1]), h = std::abs(d_[last]);
        const double small = (std::min)(f, h), large = (std::max)(f, h);
        if (small == 0) return 0;
        // sigma_1 sigma_2 = f h and sigma_1 +- sigma_2 = hypot(f +- h, g)
        const double sigma = (std::hypot(small + large, g) + std::hypot(large - small, g)) / 2;
        return small * (large / sigma);
    }

    /// c x + s y = r, c y - s x = 0.
    struct Rotation {
        double c = 1, s = 0, r = 0;
        Rotation(double x, double y) : r(std::hypot(x, y)) {
            if (r == 0) return;
            c = x / r;
            s = y / r;
        }
    };
    static void append(RotationSweep& sweep, const Rotation& rotation) {
        sweep.cosines.push_back(rotation.c);
        sweep.sines.push_back(rotation.s);
    }

    /// B -> L^T B R, where the first column of R is that of B^T B - shift^2.
    void chase(std::size_t first, std::size_t last, double shift, RotationSweep& lefts,
               RotationSweep& rights) {
        double f =
            (std::abs(d_[first]) - shift) * (std::copysign(1.0, d_[first]) + shift / d_[first]);
        double g = e_[first];
        for (std::size_t i = first; i < last; ++i) {
            const Rotation right(f, g);
            if (i > first) e_[i - 1] = right.r;
            f = right.c * d_[i] + right.s * e_[i];
            e_[i] = right.c * e_[i] - right.s * d_[i];
            const Rotation left(f, right.s * d_[i + 1]);
            d_[i + 1] *= right.c;
            d_[i] = left.r;
            f = left.c * e_[i] + left.s * d_[i + 1];
            d_[i + 1] = left.c * d_[i + 1] - left.s * e_[i];
            if (i + 1 < last) {
                g = left.s * e_[i + 1];
                e_[i + 1] *= left.c;
            }
            append(lefts, left);
            append(rights, right);
        }
        e_[last - 1] = f;
    }

    /// The same for shift = 0, without a subtraction: small singular values keep their digits, and
    /// a zero on the diagonal leaves after one sweep.
    void chase_without_shift(std::size_t first, std::size_t last, RotationSweep& lefts,
                             RotationSweep& rights) {
        double right_cosine = 1, left_cosine = 1, left_sine = 0;
        for (std::size_t i = first; i < last; ++i) {
            const Rotation right(d_[i] * right_cosine, e_[i]);
            if (i > first) e_[i - 1] = left_sine * right.r;
            const Rotation left(left_cosine * right.r, d_[i + 1] * right.s);
            d_[i] = left.r;
            right_cosine = right.c;
            left_cosine = left.c;
            left_sine = left.s;
            append(lefts, left);
            append(rights, right);
        }
        const double h = d_[last] * right_cosine;
        d_[last] = h * left_cosine;
        e_[last - 1] = h * left_sine;
    }

    Index n_;
    std::vector<double> d_, e_;
    bool flipped_ = false;  // B was turned upside down and transposed
    double negligible_ = 0;
    RotatedBasis left_, right_;
};

}  // namespace mpo::detail

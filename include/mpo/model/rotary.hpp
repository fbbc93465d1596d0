// Rotary position embedding (Su et al., arXiv:2104.09864): pair j of a head, its elements j and j + d/2, turns
// by the angle p f_j at position p,
//
//   f_j = theta^(-2 j / d),   j = 0 .. d/2 - 1
//
// and frequencies that were stretched for longer contexts:
//
//   linear    f_j / factor
//   llama3    with w = 2 pi / f_j and c = the context first trained for:
//               f_j            where w < c / high
//               f_j / factor   where w > c / low
//               (1 - s) f_j / factor + s f_j,  s = (c / w - low) / (high - low),  between
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/rope_scaling.hpp"

namespace mpo {

/// Frequencies f_j of a head of `head_dim` elements, in radians per position.
///
/// head_dim   even, >= 2
/// theta      > 0
/// scaling    none, linear or llama3
/// throws     ArgumentError for any other scaling, and for numbers outside their domain
[[nodiscard]] std::vector<double> rotary_frequencies(Index head_dim, double theta,
                                                     const RopeScaling& scaling);

namespace detail {

/// rotate_pairs in any precision; in float on vectors.
template <class T>
void rotate_pairs_t(Index half, const T* cosines, const T* sines, T scale, T* x) {
    if constexpr (std::is_same_v<T, float>) {
        rotate_pairs(half, cosines, sines, scale, x);
    } else {
        for (Index j = 0; j < half; ++j) {
            const T a = x[j], b = x[half + j];
            x[j] = (a * cosines[j] - b * sines[j]) * scale;
            x[half + j] = (b * cosines[j] + a * sines[j]) * scale;
        }
    }
}

}  // namespace detail

/// Cosines and sines of the angles of some positions in a row.
template <class T>
class RotaryAngles {
  public:
    /// Of positions first .. first + count - 1 at frequencies of rotary_frequencies. Angles are taken in double.
    RotaryAngles(const std::vector<double>& frequencies, Index first, Index count)
        : half_(static_cast<Index>(frequencies.size())),
          cosines_(static_cast<std::size_t>(half_ * count)),
          sines_(cosines_.size()),
          backward_sines_(cosines_.size()) {
        for (Index p = 0; p < count; ++p)
            for (Index j = 0; j < half_; ++j) {
                const auto at = static_cast<std::size_t>(p * half_ + j);
                const double angle =
                    static_cast<double>(first + p) * frequencies[static_cast<std::size_t>(j)];
                cosines_[at] = static_cast<T>(std::cos(angle));
                sines_[at] = static_cast<T>(std::sin(angle));
                backward_sines_[at] = -sines_[at];
            }
    }

    /// Turns the `heads` heads of a row x at position first + p, and multiplies them with `scale`.
    void rotate(Index p, Index heads, T scale, T* x) const { turn(sines_, p, heads, scale, x); }
    /// The transpose of rotate with the same p, heads and scale: x holds derivatives by its result, which become
    /// derivatives by what it was given.
    void rotate_back(Index p, Index heads, T scale, T* x) const {
        turn(backward_sines_, p, heads, scale, x);
    }

  private:
    void turn(const std::vector<T>& sines, Index p, Index heads, T scale, T* x) const {
        const auto at = static_cast<std::size_t>(p * half_);
        for (Index h = 0; h < heads; ++h)
            detail::rotate_pairs_t<T>(half_, cosines_.data() + at, sines.data() + at, scale,
                                      x + h * 2 * half_);
    }

    Index half_;
    std::vector<T> cosines_, sines_, backward_sines_;  // (count, half)
};

/// The angles of a forward pass.
using RotaryTable = RotaryAngles<float>;

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/rotary_inl.hpp"
#endif

// Householder QR of a tall matrix in double or complex<double>, `panel` columns at a time: all but a
// panel's own share of the flops are matrix products, spread over the threads.
//
//   A (m, n) = Q R,  m >= n     2 m n^2 flops for R, as many for Q
#pragma once

#include <algorithm>
#include <vector>

#include "mpo/impl/reflectors_inl.hpp"

namespace mpo::detail {

template <class W>
class HouseholderQr {
  public:
    /// The columns of A as rows: (n, m), n >= 1.
    explicit HouseholderQr(Tensor<W> columns)
        : n_(columns.extent(0)), m_(columns.extent(1)), A_(std::move(columns)), R({n_, n_}) {
        for (Index first = 0; first < n_; first += panel) {
            const Index last = (std::min)(first + panel, n_);
            for (Index j = first; j < last; ++j) reduce(j, last);
            apply_block<W>(reflections(first, last), tau_.data() + first, BlockSide::adjoint,
                           {A_.data() + last * m_ + first, m_ - first, n_ - last, 1, m_});
        }
    }

    /// Q (m, n).
    [[nodiscard]] Tensor<W> q() const {
        Tensor<W> Q({m_, n_});
        for (Index k = 0; k < n_; ++k) Q(k, k) = W{1};
        for (Index first = (n_ - 1) / panel * panel; first >= 0; first -= panel)
            apply_block<W>(reflections(first, (std::min)(first + panel, n_)), tau_.data() + first,
                           BlockSide::plain,
                           {Q.data() + first * (n_ + 1), m_ - first, n_ - first, n_, 1});
        return Q;
    }

  private:
    static constexpr Index panel = 32;

    Index n_, m_;
    Tensor<W> A_;  // row k: v_k behind k zeros, or what column k still is
    std::vector<W> tau_;

  public:
    Tensor<W> R;  // (n, n), upper triangular

  private:
    [[nodiscard]] MatrixView<const W> reflections(Index first, Index last) const {
        return {A_.data() + first * m_ + first, last - first, m_ - first, m_, 1};
    }

    /// Column j: its part of R, its reflection, and what that does to the panel's later columns.
    void reduce(Index j, Index last) {
        W* x = A_.data() + j * m_;
        for (Index i = 0; i < j; ++i) R(i, j) = std::exchange(x[i], W{});
        W* v = x + j;
        const Index n = m_ - j, later = last - j - 1;
        const auto reflection = reflect(v, n);
        R(j, j) = W{reflection.beta};
        tau_.push_back(reflection.tau);
        std::vector<W> conj_v(v, v + n), overlaps(static_cast<std::size_t>(later));
        conjugate_all(conj_v.data(), n);
        W* rest = v + m_;
        multiply<W>({rest, later, n, m_}, conj_v.data(), overlaps.data());
        for (Index k = 0; k < later; ++k) {
            const W factor = conjugate_of(reflection.tau) * overlaps[static_cast<std::size_t>(k)];
            for (Index i = 0; i < n; ++i) rest[k * m_ + i] -= factor * v[i];
        }
    }
};

}  // namespace mpo::detail

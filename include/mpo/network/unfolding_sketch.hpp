// What a bond of a given dimension would lose at a cut of W, from one random projection: an estimate
// that costs a tenth of a decomposition, and serves every layout that has this cut.
//
//   A (o i, rest)  = W unfolded at the cut,  Q_d = orthonormal basis of the first d columns of A Z,
//   tails[d]       = norm(A - Q_d Q_d^H A)^2 / norm(A)^2,  never below what the best rank d loses
//
// Halko, Martinsson, Tropp, SIAM Rev. 53 (2011), section 4, without power iterations: on trained weights
// sqrt(tails[d]) is about 1.2 times the optimal error.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpo/core/random.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/orthonormalize.hpp"
#include "mpo/network/decompose.hpp"
#include "mpo/network/layout.hpp"

namespace mpo::detail {

/// tails[0] .. tails[columns] of W (any strides) at the bond between the two sites of `cut`. A zero
/// matrix loses nothing. Cost: two products with `columns` columns, and that many orthonormalized.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] std::vector<double> sketched_tails(std::type_identity_t<MatrixView<const T>> W,
                                                 const Layout& cut, Index columns,
                                                 std::uint64_t seed, const B& backend) {
    auto legs = backend.template allocate<T>(W.size());
    backend.template upload<T>(interleaved(W, cut), legs.data());
    const double total = bring_into_range<T>(legs, W, backend).norm_squared;
    std::vector<double> tails(static_cast<std::size_t>(columns) + 1, 0.0);
    if (total <= 0) return tails;
    auto A = matrix<const T>(legs.data(), cut.out[0] * cut.in[0], cut.out[1] * cut.in[1]);
    if (A.rows > A.cols) A = transpose(A);  // the short side is cheaper to make orthonormal
    const auto Z = send<T>(normal_tensor<T>({A.cols, columns}, seed), backend);
    auto Q = backend.template allocate<T>(A.rows * columns);
    backend.gemm(T{1}, A, matrix<const T>(Z.data(), A.cols, columns), T{0},
                 matrix(Q.data(), A.rows, columns));
    orthonormalize<T>(Q, A.rows, columns, backend);  // keeps the span of the first d columns
    auto C = backend.template allocate<T>(columns * A.cols);
    backend.gemm(T{1}, adjoint(matrix<const T>(Q.data(), A.rows, columns)), A, T{0},
                 matrix(C.data(), columns, A.cols));
    double kept = 0;
    tails[0] = 1;
    for (Index d = 0; d < columns; ++d) {
        kept += squared_norm<T>(C.data() + d * A.cols, A.cols, backend);
        tails[static_cast<std::size_t>(d) + 1] = (std::max)(0.0, 1 - kept / total);
    }
    return tails;
}

/// The cut behind site k of a layout, as a layout of two sites.
[[nodiscard]] inline Layout cut_behind(const Layout& layout, Index k) {
    Layout cut{{1, 1}, {1, 1}};
    for (std::size_t j = 0; j < layout.out.size(); ++j) {
        const std::size_t side = static_cast<Index>(j) <= k ? 0 : 1;
        cut.out[side] *= layout.out[j];
        cut.in[side] *= layout.in[j];
    }
    return cut;
}

/// Sketches of the cuts of W, each made once, with as many columns as the largest bond asked of it.
template <Scalar T, BackendFor<T> B>
class UnfoldingSketches {
  public:
    UnfoldingSketches(MatrixView<const T> W, std::uint64_t seed, const B& backend)
        : W_(W), seed_(seed), backend_(backend) {}

    /// Announces a layout and the largest bonds that will be asked for: true where all its cuts are
    /// known or may still be sketched, `most` in all.
    [[nodiscard]] bool announce(const Layout& layout, const Shape& bonds, Index most) {
        const Shape useful = useful_bond_dims(layout);
        std::vector<Sketch> wanted;
        for (std::size_t k = 1; k + 1 < bonds.size(); ++k)
            if (useful[k] > 1)  // a full bond loses nothing and needs no column
                wanted.push_back({cut_behind(layout, static_cast<Index>(k) - 1),
                                  (std::min)(bonds[k], useful[k] - 1),
                                  {}});
        Index added = 0;
        for (const auto& sketch : wanted) added += find(sketch.cut) == nullptr ? 1 : 0;
        if (static_cast<Index>(sketches_.size()) + added > most) return false;
        for (auto& sketch : wanted) {
            if (auto* known = find(sketch.cut); known == nullptr)
                sketches_.push_back(std::move(sketch));
            else
                known->columns = (std::max)(known->columns, sketch.columns);
        }
        return true;
    }

    /// Estimated error at bonds no larger than announced: sqrt of the sum of tails over the bonds,
    /// what sequential SVDs stay below (Oseledets, SIAM J. Sci. Comput. 33 (2011), Thm 2.2).
    [[nodiscard]] double error(const Layout& layout, const Shape& bonds) {
        const Shape useful = useful_bond_dims(layout);
        double lost = 0;
        for (std::size_t k = 1; k + 1 < bonds.size(); ++k) {
            if (bonds[k] >= useful[k]) continue;
            Sketch& sketch = *find(cut_behind(layout, static_cast<Index>(k) - 1));
            if (sketch.tails.empty())
                sketch.tails = sketched_tails<T>(W_, sketch.cut, sketch.columns, seed_, backend_);
            lost += sketch.tails[static_cast<std::size_t>(bonds[k])];
        }
        return std::sqrt(lost);
    }

    /// Cuts that were announced.
    [[nodiscard]] Index size() const { return static_cast<Index>(sketches_.size()); }

  private:
    struct Sketch {
        Layout cut;
        Index columns;
        std::vector<double> tails;  // none: not made yet
    };

    [[nodiscard]] Sketch* find(const Layout& cut) {
        for (auto& sketch : sketches_)
            if (sketch.cut == cut) return &sketch;
        return nullptr;
    }

    MatrixView<const T> W_;
    std::uint64_t seed_;
    const B& backend_;
    std::vector<Sketch> sketches_;
};

}  // namespace mpo::detail

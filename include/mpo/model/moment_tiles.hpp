// Sums of outer products of rows in double, cut into tiles that the threads take one by one: of a square only
// the lower triangle, and no second matrix of that size.
#pragma once

#include <algorithm>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"

namespace mpo::detail {

/// One tile of a sum of outer products: G += A^T B there.
struct MomentTile {
    const double* A;  // (tokens, n)
    const double* B;
    double* G;  // (n, n)
    Index i, j;
};

class MomentTiles {
  public:
    MomentTiles(Index tokens, Index inputs) : tokens_(tokens), inputs_(inputs) {}

    /// The lower triangle of G += A^T A.
    void add_square(const double* A, double* G) {
        for (Index i = 0; i < inputs_; i += side)
            for (Index j = 0; j <= i; j += side) tiles_.push_back({A, A, G, i, j});
    }
    /// G += A^T B.
    void add_product(const double* A, const double* B, double* G) {
        for (Index i = 0; i < inputs_; i += side)
            for (Index j = 0; j < inputs_; j += side) tiles_.push_back({A, B, G, i, j});
    }
    /// The same bits for every thread count: whoever is free takes the next tile.
    void run(const EigenBackend& backend) const {
        parallel_tasks(static_cast<Index>(tiles_.size()),
                       [&](Index k) { multiply(tiles_[static_cast<std::size_t>(k)], backend); });
    }

  private:
    static constexpr Index side = 192;

    void multiply(const MomentTile& tile, const EigenBackend& backend) const {
        const Index rows = (std::min)(side, inputs_ - tile.i),
                    cols = (std::min)(side, inputs_ - tile.j);
        const auto left = transpose(part(tile.A, tile.i, rows));
        auto G = matrix(tile.G + tile.i * inputs_ + tile.j, rows, cols);
        G.row_stride = inputs_;
        if (tile.A != tile.B || tile.i != tile.j) {
            backend.gemm(1.0, left, part(tile.B, tile.j, cols), 1.0, G);
            return;
        }
        const auto square = backend.allocate<double>(rows * rows);
        backend.syrk(left, matrix(square.data(), rows, rows));
        for (Index i = 0; i < rows; ++i)
            for (Index j = 0; j <= i; ++j) G.data[i * inputs_ + j] += square.data()[i * rows + j];
    }
    [[nodiscard]] MatrixView<const double> part(const double* A, Index first, Index count) const {
        auto view = matrix<const double>(A + first, tokens_, count);
        view.row_stride = inputs_;
        return view;
    }

    Index tokens_, inputs_;
    std::vector<MomentTile> tiles_;
};

/// Copies the lower triangle above the diagonal, tile by tile: rows and columns stay in cache.
inline void mirror_lower(Tensor<double>& G) {
    constexpr Index side = 64;
    const Index n = G.extent(0);
    double* const g = G.data();
    parallel_tasks((n + side - 1) / side, [&](Index panel) {
        const Index first = panel * side, last = (std::min)(n, first + side);
        for (Index from = 0; from < last; from += side)
            for (Index i = first; i < last; ++i)
                for (Index j = from; j < (std::min)(i, from + side); ++j)
                    g[j * n + i] = g[i * n + j];
    });
}

}  // namespace mpo::detail

// Sums of outer products of rows in double, cut into tiles that the threads take one by one: of a square only
// the lower triangle, and no second matrix of that size.
#pragma once

#include <vector>

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
    void add_square(const double* A, double* G);
    /// G += A^T B.
    void add_product(const double* A, const double* B, double* G);
    /// The same bits for every thread count: whoever is free takes the next tile.
    void run(const EigenBackend& backend) const;

  private:
    static constexpr Index side = 192;

    void multiply(const MomentTile& tile, const EigenBackend& backend) const;
    [[nodiscard]] MatrixView<const double> part(const double* A, Index first, Index count) const;

    Index tokens_, inputs_;
    std::vector<MomentTile> tiles_;
};

/// Copies the lower triangle above the diagonal, tile by tile: rows and columns stay in cache.
void mirror_lower(Tensor<double>& G);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/moment_tiles_inl.hpp"
#endif

// The bodies of model/moment_tiles.hpp that are no templates.
#pragma once

#include <algorithm>

#include "mpo/core/parallel.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/moment_tiles.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void MomentTiles::add_square(const double* A, double* G) {
    for (Index i = 0; i < inputs_; i += side)
        for (Index j = 0; j <= i; j += side) tiles_.push_back({A, A, G, i, j});
}

MPO_DETAIL_MODEL_INLINE void MomentTiles::add_product(const double* A, const double* B, double* G) {
    for (Index i = 0; i < inputs_; i += side)
        for (Index j = 0; j < inputs_; j += side) tiles_.push_back({A, B, G, i, j});
}

MPO_DETAIL_MODEL_INLINE void MomentTiles::run(const EigenBackend& backend) const {
    parallel_tasks(static_cast<Index>(tiles_.size()),
                   [&](Index k) { multiply(tiles_[static_cast<std::size_t>(k)], backend); });
}

MPO_DETAIL_MODEL_INLINE void MomentTiles::multiply(const MomentTile& tile,
                                                   const EigenBackend& backend) const {
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

MPO_DETAIL_MODEL_INLINE MatrixView<const double> MomentTiles::part(const double* A, Index first,
                                                                   Index count) const {
    auto view = matrix<const double>(A + first, tokens_, count);
    view.row_stride = inputs_;
    return view;
}

MPO_DETAIL_MODEL_INLINE void mirror_lower(Tensor<double>& G) {
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

// Gram matrices, by the panels and tiles of products.
#pragma once

#include <algorithm>
#include <complex>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/impl/gemm_inl.hpp"

namespace mpo::detail {

/// G (m, m) = A A^H accumulated in W, both triangles. K is split over the threads where A is wide.
template <class W, class T>
void gram(MatrixView<const T> A, MatrixView<W> G, Isa isa = best_isa()) {
    const Index m = A.rows, k = A.cols;
    scale_matrix(W{0}, G);
    if (m == 0 || k == 0) return;
    Product<W, T> product{W{1}, A, {adjoint(A), 0}, {G, 0}, 1, &kernel_set<Real<W>>(isa), true};
    const Index rows = product.row_panels(), cols = product.column_panels();
    // inside a piece of a parallel loop the sum is not split: its bits depend on no thread count
    const Index threads = inside_piece() ? 1 : num_threads();
    const Index pieces = std::min<Index>(threads, k / (4 * product.depth));
    if (pieces <= 1 || m * m * k < Index{1} << 20) {
        product.run(0, rows, 0, cols, 0, k, 0);
    } else {  // partial sums, added in order: the same bits for the same thread count
        std::vector<W> partial(static_cast<std::size_t>((pieces - 1) * m * m));
        parallel_for(0, pieces, 1, [&](Index first, Index last) {
            for (Index piece = first; piece < last; ++piece) {
                auto mine = product;
                if (piece > 0) mine.C = {matrix(partial.data() + (piece - 1) * m * m, m, m), 0};
                mine.run(0, rows, 0, cols, k * piece / pieces, k * (piece + 1) / pieces, 0);
            }
        });
        for (Index piece = 1; piece < pieces; ++piece)
            for (Index i = 0; i < m; ++i)
                for (Index j = 0; j <= i; ++j)
                    G.data[i * G.row_stride + j * G.col_stride] +=
                        partial[static_cast<std::size_t>(((piece - 1) * m + i) * m + j)];
    }
    for (Index i = 0; i < m; ++i) {
        for (Index j = 0; j < i; ++j) {
            const W x = G.data[i * G.row_stride + j * G.col_stride];
            if constexpr (is_complex<W>)
                G.data[j * G.row_stride + i * G.col_stride] = std::conj(x);
            else
                G.data[j * G.row_stride + i * G.col_stride] = x;
        }
        if constexpr (is_complex<W>) {  // fused multiply-adds leave a rounding error in a b - b a
            W& x = G.data[i * (G.row_stride + G.col_stride)];
            x = x.real();
        }
    }
}

}  // namespace mpo::detail

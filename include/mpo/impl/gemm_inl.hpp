// Matrix products: pack two operands into panels that fit the caches, run register tiles over them
// (Goto and van de Geijn, ACM TOMS 34 (2008)). One routine serves real and complex scalars, shared
// operands of a batch, and Gram matrices that accumulate in a wider type than their input.
//
// Complex products run on the real tiles. With a = ar + i ai, row i of A becomes two real rows and
// column p two real columns:
//   [ cr ]   [ ar  -ai ] [ br ]
//   [ ci ] = [ ai   ar ] [ bi ]
// 4 real multiplications for one complex: no more than the textbook, and the tile stays busy.
#pragma once

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/impl/gemm_product_inl.hpp"

namespace mpo::detail {

/// C = beta C; beta = 0 overwrites, even NaN.
template <class T>
void scale_matrix(T beta, const MatrixView<T>& C) {
    if (beta == T{1}) return;
    for (Index i = 0; i < C.rows; ++i) {
        for (Index j = 0; j < C.cols; ++j) {
            T& x = C.data[i * C.row_stride + j * C.col_stride];
            x = beta == T{0} ? T{0} : beta * x;
        }
    }
}

/// Whether threads share the rows of a product, else its columns: the longer side, so that most of both
/// operands stays a thread's own, but never one with a panel for too few of them.
[[nodiscard]] inline bool splits_rows(Index row_panels, Index rows, Index column_panels,
                                      Index columns) {
    const Index threads = num_threads();
    const bool enough_rows = row_panels >= threads, enough_columns = column_panels >= threads;
    return enough_rows == enough_columns ? rows > columns : enough_rows;
}

template <class TC, class TA>
void run_product(const Product<TC, TA>& product, int overwrite) {
    const Index rows = product.row_panels(), cols = product.column_panels();
    if (product.work() < parallel_flops) {
        product.run(0, rows, 0, cols, 0, product.k(), overwrite);
    } else if (splits_rows(rows, rows * product.kernels->rows, cols,
                           cols * product.kernels->columns())) {
        parallel_for(0, rows, 1, [&](Index first, Index last) {
            product.run(first, last, 0, cols, 0, product.k(), overwrite);
        });
    } else {
        parallel_for(0, cols, 1, [&](Index first, Index last) {
            product.run(0, rows, first, last, 0, product.k(), overwrite);
        });
    }
}

/// C_i = product + beta C_i.
template <class T>
void multiply(const Product<T, T>& product, T beta) {
    const auto& C = product.C;
    if (product.count == 0 || C.first.rows == 0 || C.first.cols == 0) return;
    const bool scales_only = product.k() == 0 || product.alpha == T{0};
    if (scales_only || beta != T{0})
        for (Index i = 0; i < product.count; ++i) scale_matrix(beta, C[i]);
    if (!scales_only) run_product(product, beta == T{0} ? 1 : 0);
}

/// C_i = alpha A B_i + beta C_i, i < count, for one A.
template <class T>
void gemm_shared(T alpha, MatrixView<const T> A, BatchView<const T> B, T beta, BatchView<T> C,
                 Index count, Isa isa = best_isa()) {
    Product<T, T> product{alpha, A, B, C, count, &kernel_set<Real<T>>(isa)};
    if (count == 1 && C.first.col_stride != 1 && C.first.row_stride == 1) {
        product.A = transpose(B.first);  // tiles are written along rows
        product.B = {transpose(A), 0};
        product.C = {transpose(C.first), 0};
    }
    multiply(product, beta);
}

}  // namespace mpo::detail

// Gradients by way of W, for batches that are large beside the bonds: there a sweep costs more than W.
//
//   W[(o1 o2), (i1 i2)] = sum over D of A[o1, i1, D] C[D, o2, i2],   the chain cut at one bond
//   R: the rows of a range of o1 and a range of o2
//     P = A_R C_R  ((o1 i1), (o2 i2)),  permuted to  W_R (R, in):    dX += dY_R conj(W_R)
//     dW_R = dY_R^T conj(X),  permuted back to  P:                   dA_R += P C_R^H,  dC_R += A_R^H P
// A factor of several cores is then taken apart from its left end: with M = core rest,
//     dcore = dM rest^H,   drest = core^H dM.
// Cost: out in (2 B + 3 D) multiply-adds for B tokens; two tiles of memory.
#pragma once

#include <utility>
#include <vector>

#include "mpo/network/algebra.hpp"
#include "mpo/network/tiles.hpp"

namespace mpo::detail {

/// Bytes that the gradient takes besides its tiles: the factors, and where they are of several cores their
/// gradients, and three times a factor while one is taken apart.
[[nodiscard]] Index tile_gradient_bytes(Index sites, Index factor_bytes);

/// Rows of W per tile of a gradient: products that add to all of dX should bring many.
[[nodiscard]] TileCut cut_gradient_tiles(Index o1, Index o2, Index in, Index element_size,
                                         Index limit_bytes);

/// Factors in backend memory, and what takes their gradients apart. run is const and safe from many threads.
template <Scalar T, BackendFor<T> B>
class TileGradient {
  public:
    /// The chain is cut before site `cut`, 1 .. N-1.
    TileGradient(const Mpo<T>& mpo, Index cut, Index max_workspace_bytes, const B& backend)
        : backend_(&backend),
          left_joints_(joints(mpo, 0, cut, backend)),
          right_joints_(joints(mpo, cut, mpo.num_sites(), backend)) {
        auto left = load(merged_core(mpo, 0, cut, backend), backend);  // (1, o1, i1, D)
        auto right =
            load(merged_core(mpo, cut, mpo.num_sites(), backend), backend);  // (D, o2, i2, 1)
        o1_ = left.shape[1], i1_ = left.shape[2], bond_ = left.shape[3];
        o2_ = right.shape[1], i2_ = right.shape[2];
        left_ = std::move(left.elements), right_ = std::move(right.elements);
        cut_ = cut_gradient_tiles(o1_, o2_, mpo.cols(), static_cast<Index>(sizeof(T)),
                                  max_workspace_bytes);
    }

    /// dX (batch, in) = dY conj(W), overwritten; returns dcore (D, o, i, D') of every core.
    [[nodiscard]] std::vector<BufferOf<B, T>> run(const T* X, const T* dY, T* dX,
                                                  Index batch) const {
        auto dA = backend_->template allocate<T>(left_.size());
        auto dC = backend_->template allocate<T>(right_.size());
        auto tile = backend_->template allocate<T>(cut_.elements);
        auto ordered = backend_->template allocate<T>(cut_.elements);
        for (Index o1 = 0; o1 < o1_; o1 += cut_.outer)
            for (Index o2 = 0; o2 < o2_; o2 += cut_.inner) {
                const Rows rows{o1, o2, (std::min)(cut_.outer, o1_ - o1),
                                (std::min)(cut_.inner, o2_ - o2)};
                through_matrix(rows, X, dY, dX, batch, tile.data(), ordered.data());
                to_factors(rows, ordered.data(), dA.data(), dC.data());
            }
        std::vector<BufferOf<B, T>> gradients;
        take_apart(left_joints_, std::move(dA), gradients);
        take_apart(right_joints_, std::move(dC), gradients);
        return gradients;
    }

  private:
    struct Rows {
        Index o1, o2;        // first
        Index outer, inner;  // how many
    };

    [[nodiscard]] MatrixView<T> rows_of_left(T* A, const Rows& rows) const {
        return matrix(A + rows.o1 * i1_ * bond_, rows.outer * i1_, bond_);
    }
    [[nodiscard]] MatrixView<T> columns_of_right(T* C, const Rows& rows) const {
        return block(matrix(C, bond_, o2_ * i2_), 0, rows.o2 * i2_, bond_, rows.inner * i2_);
    }
    /// (x, a, b, i2) to (x, b, a, i2).
    void swap_inner(const T* from, const Rows& rows, Index a, Index b, T* to) const {
        backend_->template permute<T>(
            permuted(TensorView<const T>(from, {rows.outer, a, b, i2_}), {0, 2, 1, 3}), to);
    }

    /// dX += dY_R conj(W_R); dW_R, as P, to `ordered`.
    void through_matrix(const Rows& rows, const T* X, const T* dY, T* dX, Index batch, T* tile,
                        T* ordered) const {
        const Index made = rows.outer * rows.inner, in = i1_ * i2_;
        backend_->gemm(T{1}, rows_of_left(left_.data(), rows),
                       columns_of_right(right_.data(), rows), T{0},
                       matrix(ordered, rows.outer * i1_, rows.inner * i2_));
        swap_inner(ordered, rows, i1_, rows.inner, tile);
        const MatrixView<const T> dY_R{
            dY + rows.o1 * o2_ + rows.o2, batch, made, o1_ * o2_, 1, Conjugation::none};
        const bool first = rows.o1 == 0 && rows.o2 == 0;
        backend_->gemm(T{1}, dY_R, adjoint(transpose(matrix<const T>(tile, made, in))),
                       T{first ? Real<T>{0} : Real<T>{1}}, matrix(dX, batch, in));
        backend_->gemm(T{1}, transpose(dY_R), adjoint(transpose(matrix<const T>(X, batch, in))),
                       T{0}, matrix(tile, made, in));
        swap_inner(tile, rows, rows.inner, i1_, ordered);
    }

    void to_factors(const Rows& rows, const T* P, T* dA, T* dC) const {
        const auto product = matrix<const T>(P, rows.outer * i1_, rows.inner * i2_);
        const auto beta = [](Index begin) { return T{begin == 0 ? Real<T>{0} : Real<T>{1}}; };
        const MatrixView<const T> A = rows_of_left(left_.data(), rows);
        const MatrixView<const T> C = columns_of_right(right_.data(), rows);
        backend_->gemm(T{1}, product, adjoint(C), beta(rows.o2), rows_of_left(dA, rows));
        backend_->gemm(T{1}, adjoint(A), product, beta(rows.o1), columns_of_right(dC, rows));
    }

    /// A core and all that follow it in their factor.
    struct Joint {
        LoadedCore<T, B> core, rest;
    };
    using Joints = std::vector<Joint>;
    [[nodiscard]] static Joints joints(const Mpo<T>& mpo, Index first, Index last,
                                       const B& backend) {
        Joints all;
        for (; last - first > 1; ++first)
            all.push_back({load(mpo.core(first), backend),
                           load(merged_core(mpo, first + 1, last, backend), backend)});
        return all;
    }

    /// The gradients of a factor's cores from its own.
    void take_apart(const Joints& joints, BufferOf<B, T> merged,
                    std::vector<BufferOf<B, T>>& gradients) const {
        for (const auto& [core, rest] : joints) {  // (D, o, i, E), (E, o', i', D')
            const Shape &c = core.shape, &r = rest.shape;
            const Index m = c[0] * c[1] * c[2], n = r[1] * r[2] * r[3], inner = c[3];
            auto ordered = backend_->template allocate<T>(m * n);
            backend_->template permute<T>(
                permuted(TensorView<const T>(merged.data(), {c[0], c[1], r[1], c[2], r[2], r[3]}),
                         {0, 1, 3, 2, 4, 5}),
                ordered.data());
            const auto dM = matrix<const T>(ordered.data(), m, n);
            gradients.push_back(backend_->template allocate<T>(m * inner));
            merged = backend_->template allocate<T>(inner * n);
            backend_->gemm(T{1}, dM, adjoint(matrix<const T>(rest.elements.data(), inner, n)), T{0},
                           matrix(gradients.back().data(), m, inner));
            backend_->gemm(T{1}, adjoint(matrix<const T>(core.elements.data(), m, inner)), dM, T{0},
                           matrix(merged.data(), inner, n));
        }
        gradients.push_back(std::move(merged));
    }

    const B* backend_;
    Joints left_joints_, right_joints_;
    Index o1_ = 1, i1_ = 1, bond_ = 1, o2_ = 1, i2_ = 1;
    BufferOf<B, T> left_, right_;  // A (o1, i1, D), C (D, o2, i2)
    TileCut cut_;
};

}  // namespace mpo::detail

#ifndef MPO_COMPILED
#include "mpo/network/tile_gradient_inl.hpp"
#endif

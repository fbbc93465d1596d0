// Tiles: a few rows of W at a time, made from two factors and multiplied while they are in cache.
//
//   W[(o1 o2), (i1 i2)] = sum over D of A[o1, i1, D] C[D, o2, i2],   the chain cut at one bond
//   tile of o1:  T[o2, i1, i2] = A[o1] (i1, D)  C[o2] (D, i2)        one matrix, a batch of o2
//   Y[b, (o1 o2)] = X (b, in) T^T (in, o2)
//
// Cost: out in (D + B) multiply-adds for B tokens; a tile per thread of memory. Pays for batches that are
// large beside the bond, where a sweep costs more than W itself and W must not be kept.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/sweep.hpp"

namespace mpo::detail {

/// How W's rows are cut: `outer` values of o1 at a time with all of o2, or one with `pieces` of o2.
struct TileCut {
    Index outer = 1;     // values of o1 in a tile
    Index inner = 1;     // values of o2 in a tile
    Index workers = 1;   // threads that have a tile
    Index elements = 0;  // of a tile: outer inner in
};

/// What a tile should be, where the limit leaves the choice.
struct TileWish {
    Index rows = 64;                     // where o2 is short
    Index cache_bytes = Index{1} << 20;  // half an L2 cache
};

/// Tiles as wished, within the limit; elements = 0 where not even one row for one thread fits.
[[nodiscard]] TileCut cut_tiles(Index o1, Index o2, Index in, Index element_size, Index limit_bytes,
                                Index concurrency, const TileWish& wish = {});

/// An MPO cut into two factors in backend memory. Movable; apply is const and safe from many threads.
template <Scalar T, BackendFor<T> B>
class Tiles {
  public:
    /// The chain is cut before site `cut`, 1 .. N-1.
    Tiles(const Mpo<T>& mpo, Index cut, Index max_workspace_bytes, const B& backend)
        : backend_(&backend), rows_(mpo.rows()), cols_(mpo.cols()) {
        const auto left = merged_core(mpo, 0, cut, backend);                 // (1, o1, i1, D)
        const auto right = merged_core(mpo, cut, mpo.num_sites(), backend);  // (D, o2, i2, 1)
        o1_ = left.extent(1), i1_ = left.extent(2), bond_ = left.extent(3);
        o2_ = right.extent(1), i2_ = right.extent(2);
        cut_ = cut_tiles(o1_, o2_, cols_, static_cast<Index>(sizeof(T)), max_workspace_bytes,
                         backend.concurrency());
        auto values = backend.template allocate<T>(left.size());
        backend.template upload<T>(left.view(), values.data());
        for (Index k = 0; k < o1_; ++k)
            left_.push_back(backend.prepare(
                Side::left, matrix<const T>(values.data() + k * i1_ * bond_, i1_, bond_)));
        right_ = backend.template allocate<T>(right.size());
        const TensorView<const T> view(right.data(), {bond_, o2_, i2_});
        backend.template upload<T>(permuted(view, {1, 0, 2}), right_.data());  // (o2, D, i2)
        backend.synchronize();
    }

    /// Threads that one apply uses at most.
    [[nodiscard]] const TileCut& cut() const { return cut_; }

    /// Y (batch, out) = X (batch, in) W^T in backend memory.
    void apply(const T* X, T* Y, Index batch) const {
        if (batch == 0) return;
        const Index parts = (o2_ + cut_.inner - 1) / cut_.inner;
        const Index tiles = (o1_ + cut_.outer - 1) / cut_.outer * parts;
        const Index workers = (std::min)(cut_.workers, tiles);
        const auto work = [&](Index first, Index last) {
            typename WorkspaceList<B, T>::Loan tile(*free_, *backend_, cut_.elements);
            for (Index t = first; t < last; ++t)
                run_tile(t / parts * cut_.outer, t % parts * cut_.inner, X, Y, batch, tile.data());
        };
        if (workers > 1)
            parallel_for(0, tiles, (tiles + workers - 1) / workers, work);
        else
            work(0, tiles);
    }

  private:
    void run_tile(Index first_o1, Index first_o2, const T* X, T* Y, Index batch, T* tile) const {
        const Index outer = (std::min)(cut_.outer, o1_ - first_o1);
        const Index inner = (std::min)(cut_.inner, o2_ - first_o2);
        const BatchView<const T> C{
            matrix<const T>(right_.data() + first_o2 * bond_ * i2_, bond_, i2_), bond_ * i2_};
        for (Index k = 0; k < outer; ++k)
            backend_->gemm_left(left_[static_cast<std::size_t>(first_o1 + k)], C, T{0},
                                BatchView<T>{matrix(tile + k * inner * cols_, i1_, i2_), i1_ * i2_},
                                inner);
        const Index made = outer * inner;
        const MatrixView<T> y{
            Y + first_o1 * o2_ + first_o2, batch, made, rows_, 1, Conjugation::none};
        backend_->gemm(T{1}, matrix<const T>(X, batch, cols_),
                       transpose(matrix<const T>(tile, made, cols_)), T{0}, y);
    }

    const B* backend_;
    Index rows_, cols_;
    Index o1_ = 1, i1_ = 1, bond_ = 1, o2_ = 1, i2_ = 1;
    TileCut cut_;
    std::vector<OperandOf<B, T>> left_;  // A[o1] for every o1
    BufferOf<B, T> right_;               // (o2, D, i2)
    std::unique_ptr<WorkspaceList<B, T>> free_ = std::make_unique<WorkspaceList<B, T>>();
};

}  // namespace mpo::detail

#ifndef MPO_COMPILED
#include "mpo/network/tiles_inl.hpp"
#endif

// Copies between strided tensors, spread over the pool: the interleaving permutation that turns a
// weight matrix into a tensor of legs, uploads and downloads. Bandwidth decides, so neighbouring
// axes are merged first and the longest contiguous run on either side is kept.
#pragma once

#include <cstring>
#include <utility>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo::detail {

struct CopyAxis {
    Index extent;
    Index from;  // stride in the source
    Index to;    // stride in the target
};

/// Axes of extent 1 dropped, neighbours that are contiguous on both sides merged.
[[nodiscard]] inline std::vector<CopyAxis> merged_axes(const Shape& shape, const Shape& from,
                                                       const Shape& to) {
    std::vector<CopyAxis> axes;
    for (std::size_t k = 0; k < shape.size(); ++k) {
        if (shape[k] == 1) continue;
        const CopyAxis axis{shape[k], from[k], to[k]};
        if (!axes.empty() && axes.back().from == axis.extent * axis.from &&
            axes.back().to == axis.extent * axis.to)
            axes.back() = {axes.back().extent * axis.extent, axis.from, axis.to};
        else
            axes.push_back(axis);
    }
    return axes;
}

/// Calls body(source offset, target offset) for outer index positions [first, last).
template <class F>
void for_each_position(const std::vector<CopyAxis>& axes, Index first, Index last, F&& body) {
    std::vector<Index> at(axes.size());
    Index from = 0, to = 0;
    for (std::size_t k = axes.size(); k-- > 0;) {
        Index inner = 1;
        for (std::size_t j = k + 1; j < axes.size(); ++j) inner *= axes[j].extent;
        at[k] = first / inner % axes[k].extent;
        from += at[k] * axes[k].from;
        to += at[k] * axes[k].to;
    }
    for (Index position = first; position < last; ++position) {
        body(from, to);
        for (std::size_t k = axes.size(); k-- > 0;) {
            from += axes[k].from;
            to += axes[k].to;
            if (++at[k] < axes[k].extent) break;
            from -= at[k] * axes[k].from;
            to -= at[k] * axes[k].to;
            at[k] = 0;
        }
    }
}

/// rows x cols elements, source contiguous along rows' index, target along columns: square tiles
/// that fit L1 on both sides.
template <class T>
void copy_transposed(const T* from, Index from_stride, T* to, Index to_stride, Index rows,
                     Index cols) {
    constexpr Index tile = 32;
    for (Index i0 = 0; i0 < rows; i0 += tile) {
        const Index i1 = (std::min)(rows, i0 + tile);
        for (Index j0 = 0; j0 < cols; j0 += tile) {
            const Index j1 = (std::min)(cols, j0 + tile);
            for (Index i = i0; i < i1; ++i)
                for (Index j = j0; j < j1; ++j) to[i * to_stride + j] = from[j * from_stride + i];
        }
    }
}

/// A few elements that lie together on both sides: short legs of cores come in such.
template <class T, int N>
struct Piece {
    T elements[N];
};

/// to = from along these axes.
template <class T>
void copy_along(std::vector<CopyAxis> axes, const T* from, T* to) {
    if (axes.empty()) axes.push_back({1, 1, 1});
    CopyAxis inner = axes.back();
    axes.pop_back();
    CopyAxis across{1, 1, 0};  // the axis along which the source is contiguous, if not `inner`
    if (inner.from != 1 && inner.to == 1) {
        for (std::size_t k = 0; k < axes.size(); ++k) {
            if (axes[k].from != 1) continue;
            across = axes[k];
            axes.erase(axes.begin() + static_cast<Index>(k));
            break;
        }
        // bands of 32 along it become outer positions, so that one large matrix also spreads
        if (across.extent % 32 == 0) {
            axes.push_back({across.extent / 32, 32, 32 * across.to});
            across.extent = 32;
        }
    }
    Index positions = 1;
    for (const auto& axis : axes) positions *= axis.extent;
    const Index grain = std::max<Index>(1, (Index{1} << 14) / (inner.extent * across.extent));
    parallel_for(0, positions, grain, [&](Index first, Index last) {
        for_each_position(axes, first, last, [&](Index source, Index target) {
            const T* in = from + source;
            T* out = to + target;
            if (across.to != 0)
                copy_transposed(in, inner.from, out, across.to, across.extent, inner.extent);
            else if (inner.from == 1 && inner.to == 1)
                std::memcpy(out, in, static_cast<std::size_t>(inner.extent) * sizeof(T));
            else
                for (Index k = 0; k < inner.extent; ++k) out[k * inner.to] = in[k * inner.from];
        });
    });
}

/// The same where the last axis is one of N elements without gaps: a call of memcpy for each would take longer
/// than the copy. False, and nothing is done, where it is not.
template <int N, class T>
[[nodiscard]] bool copy_pieces(std::vector<CopyAxis> axes, const T* from, T* to) {
    if (axes.size() < 2 || axes.back().extent != N || axes.back().from != 1 || axes.back().to != 1)
        return false;
    axes.pop_back();
    for (auto& axis : axes) {
        if (axis.from % N != 0 || axis.to % N != 0) return false;
        axis.from /= N, axis.to /= N;
    }
    copy_along(std::move(axes), reinterpret_cast<const Piece<T, N>*>(from),
               reinterpret_cast<Piece<T, N>*>(to));
    return true;
}

/// to = from, element by element; the two do not overlap.
template <class T>
void copy_tensor(const TensorView<const T>& from, T* to, const Shape& to_strides) {
    if (from.size() == 0) return;
    const auto axes = merged_axes(from.shape, from.strides, to_strides);
    if (copy_pieces<2>(axes, from.data, to) || copy_pieces<3>(axes, from.data, to) ||
        copy_pieces<4>(axes, from.data, to) || copy_pieces<8>(axes, from.data, to))
        return;
    copy_along(axes, from.data, to);
}

}  // namespace mpo::detail

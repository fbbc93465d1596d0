// Copies between strided tensors, spread over the pool: the interleaving permutation that turns a
// weight matrix into a tensor of legs, uploads and downloads. Bandwidth decides, so neighbouring
// axes are merged first and the longest contiguous run on either side is kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>
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

/// `inner.extent` cells of N bytes along one axis, or, where `across` has a stride, a plane of cells: square
/// tiles that fit L1 on both sides. Strides are bytes. The scalar type does not matter to a copy.
template <int N>
void copy_cells(const CopyAxis& inner, const CopyAxis& across, const std::byte* from,
                std::byte* to) {
    constexpr Index tile = 32;
    for (Index i0 = 0; i0 < across.extent; i0 += tile) {
        const Index i1 = (std::min)(across.extent, i0 + tile);
        for (Index j0 = 0; j0<inner.extent; j0 += across.extent> 1 ? tile : inner.extent) {
            const Index j1 = across.extent > 1 ? (std::min)(inner.extent, j0 + tile) : inner.extent;
            for (Index i = i0; i < i1; ++i)
                for (Index j = j0; j < j1; ++j)
                    std::memcpy(to + i * across.to + j * inner.to,
                                from + i * across.from + j * inner.from, N);
        }
    }
}

using CopyCells = void (*)(const CopyAxis& inner, const CopyAxis& across, const std::byte* from,
                           std::byte* to);

/// The copy of cells of so many bytes; null where there is none.
[[nodiscard]] inline CopyCells copy_of_cells(Index bytes) {
    switch (bytes) {
        case 4:
            return copy_cells<4>;
        case 8:
            return copy_cells<8>;
        case 12:
            return copy_cells<12>;
        case 16:
            return copy_cells<16>;
        case 24:
            return copy_cells<24>;
        case 32:
            return copy_cells<32>;
        case 48:
            return copy_cells<48>;
        case 64:
            return copy_cells<64>;
        default:
            return nullptr;
    }
}

/// to = from along these axes, element by element.
inline void copy_along(std::vector<CopyAxis> axes, Index element_size, const std::byte* from,
                       std::byte* to) {
    for (auto& axis : axes) axis.from *= element_size, axis.to *= element_size;
    Index cell = element_size;
    // a few elements that lie together on both sides are one larger element: short legs of cores come in
    // such, and a call of memcpy for each would take longer than the copy
    if (axes.size() > 1 && axes.back().from == cell && axes.back().to == cell &&
        copy_of_cells(axes.back().extent * cell) != nullptr) {
        cell *= axes.back().extent;
        axes.pop_back();
    }
    if (axes.empty()) axes.push_back({1, cell, cell});
    const CopyAxis inner = axes.back();
    axes.pop_back();
    CopyAxis across{1, 0, 0};  // the axis along which the source is contiguous, if not `inner`
    if (inner.from != cell && inner.to == cell) {
        for (std::size_t k = 0; k < axes.size(); ++k) {
            if (axes[k].from != cell) continue;
            across = axes[k];
            axes.erase(axes.begin() + static_cast<Index>(k));
            break;
        }
        // bands of 32 along it become outer positions, so that one large matrix also spreads
        if (across.extent % 32 == 0) {
            axes.push_back({across.extent / 32, 32 * across.from, 32 * across.to});
            across.extent = 32;
        }
    }
    Index positions = 1;
    for (const auto& axis : axes) positions *= axis.extent;
    const Index grain = std::max<Index>(1, (Index{1} << 14) / (inner.extent * across.extent));
    const bool run = inner.from == cell && inner.to == cell;
    const CopyCells cells = copy_of_cells(cell);
    parallel_for(0, positions, grain, [&](Index first, Index last) {
        for_each_position(axes, first, last, [&](Index source, Index target) {
            if (run)
                std::memcpy(to + target, from + source,
                            static_cast<std::size_t>(inner.extent * cell));
            else
                cells(inner, across, from + source, to + target);
        });
    });
}

/// to = from, element by element; the two do not overlap.
template <Scalar T>
void copy_tensor(const TensorView<const T>& from, T* to, const Shape& to_strides) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (from.size() == 0) return;
    copy_along(merged_axes(from.shape, from.strides, to_strides), sizeof(T),
               reinterpret_cast<const std::byte*>(from.data), reinterpret_cast<std::byte*>(to));
}

}  // namespace mpo::detail

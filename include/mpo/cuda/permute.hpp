// Copies between strided tensors on the device. These libraries have no general permutation, so it is
// composed of what they have, each of which moves two axes in one launch, or one:
//
//   plane      runs of neighbours, a fixed distance apart      cudaMemcpy2DAsync
//   transpose  the axis that is contiguous in the source and the one that is so in the result     geam
//   line       one axis of any positive stride                 cublas<t>copy
//
// The other axes are loops, so the number of launches is their product. A tensor without gaps may be
// brought into its order in several passes instead, each of which exchanges two neighbouring groups of
// axes: 5 passes of 10 launches beat one of 1000. The way of fewest launches is taken.
#pragma once

#include <numeric>
#include <optional>
#include <vector>

#include "mpo/cuda/matrix.hpp"
#include "mpo/impl/copy_inl.hpp"

namespace mpo::cuda::detail {

using Axes = std::vector<mpo::detail::CopyAxis>;

enum class MoveForm { plane, transpose, line, element };

/// What one launch moves: a form and its axes; the rest are loops.
struct Move {
    MoveForm form = MoveForm::element;
    std::size_t first = 0,
                second = 0;  // plane and transpose: the other axis, the last one; line: its axis
    Index launches = 1;
};

/// The form of fewest launches for axes whose result has no gaps, last axis fastest. A pitch of 2 GiB or
/// more is beyond cudaMemcpy2DAsync.
[[nodiscard]] inline Move best_move(const Axes& axes, Index element_size) {
    Index all = 1;
    for (const auto& axis : axes) all *= axis.extent;
    Move best{MoveForm::element, 0, 0, all};
    const auto offer = [&](MoveForm form, std::size_t first, std::size_t second, Index moved) {
        if (all / moved < best.launches) best = {form, first, second, all / moved};
    };
    if (axes.empty()) return best;
    const std::size_t last = axes.size() - 1;
    const auto& run = axes[last];
    constexpr Index most_pitch = (Index{1} << 31) - 1;
    if (run.from == 1) offer(MoveForm::plane, last, last, run.extent);
    for (std::size_t k = 0; k < last; ++k) {
        const auto& axis = axes[k];
        const Index both = axis.extent * run.extent;
        if (run.from == 1 && axis.from >= run.extent &&
            (std::max)(axis.from, axis.to) <= most_pitch / element_size)
            offer(MoveForm::plane, k, last, both);
        if (axis.from == 1 && run.from >= axis.extent) offer(MoveForm::transpose, k, last, both);
    }
    for (std::size_t k = 0; k <= last; ++k)
        if (axes[k].from >= 1) offer(MoveForm::line, k, k, axes[k].extent);
    return best;
}

/// One launch of a move.
inline void launch(Device& device, Kind kind, const Axes& axes, const Move& move, const void* from,
                   void* to) {
    const auto& run = axes.empty() ? mpo::detail::CopyAxis{1, 1, 1} : axes[move.second];
    const auto& axis = axes.empty() ? run : axes[move.first];
    const auto size = static_cast<std::size_t>(size_of(kind));
    if (move.form == MoveForm::line) {
        check(with_names(kind,
                         [&](auto names) {
                             using T = typename decltype(names)::T;
                             return names.copy(device.blas.get(), run.extent,
                                               static_cast<const T*>(from), run.from,
                                               static_cast<T*>(to), run.to);
                         }),
              "cublas<t>copy", {run.extent, run.from, run.to});
    } else if (move.form == MoveForm::transpose) {
        // the result in columns: (run, axis), the source its transpose
        copy_matrix(
            device,
            {kind, const_cast<void*>(from), run.extent, axis.extent, run.from, true},  // NOLINT
            {kind, to, run.extent, axis.extent, axis.to});
    } else if (move.form == MoveForm::plane && move.first != move.second) {
        check(cudaMemcpy2DAsync(to, static_cast<std::size_t>(axis.to) * size, from,
                                static_cast<std::size_t>(axis.from) * size,
                                static_cast<std::size_t>(run.extent) * size,
                                static_cast<std::size_t>(axis.extent), cudaMemcpyDeviceToDevice,
                                device.stream.get()),
              "cudaMemcpy2DAsync", {axis.extent, run.extent, axis.from, axis.to});
    } else {
        const Index count = move.form == MoveForm::plane ? run.extent : 1;
        check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * size,
                              cudaMemcpyDeviceToDevice, device.stream.get()),
              "cudaMemcpyAsync on the device", {count});
    }
}

/// One pass: the best move for every position of the other axes.
inline void move_once(Device& device, Kind kind, const Axes& axes, const void* from, void* to) {
    const auto move = best_move(axes, size_of(kind));
    Axes loops;
    for (std::size_t k = 0; k < axes.size(); ++k)
        if (move.form == MoveForm::element || (k != move.first && k != move.second))
            loops.push_back(axes[k]);
    mpo::detail::for_each_position(loops, 0, move.launches, [&](Index source, Index target) {
        launch(device, kind, axes, move, element(kind, from, source), element(kind, to, target));
    });
}

/// A pass over a tensor without gaps: (a, b, c, d) -> (a, c, b, d), four products of extents.
struct Exchange {
    Index a, b, c, d;
    [[nodiscard]] Axes axes() const {
        return mpo::detail::merged_axes({a, c, b, d}, {b * c * d, d, c * d, 1},
                                        {b * c * d, b * d, d, 1});
    }
};

/// Exchanges that bring the axes of a tensor without gaps from their order in memory into that of the
/// result, settling the slowest axes first, or the fastest. Nothing where the source has gaps.
[[nodiscard]] inline std::optional<std::vector<Exchange>> exchanges(const Axes& axes,
                                                                    bool slowest_first) {
    std::vector<std::size_t> order(axes.size());  // as they lie in the source
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t i, std::size_t j) { return axes[i].from > axes[j].from; });
    Index stride = 1;
    for (std::size_t k = order.size(); k-- > 0; stride *= axes[order[k]].extent)
        if (axes[order[k]].from != stride) return std::nullopt;
    const auto product = [&](std::size_t first, std::size_t last) {
        Index extent = 1;
        for (std::size_t k = first; k < last; ++k) extent *= axes[order[k]].extent;
        return extent;
    };
    std::vector<Exchange> passes;
    const std::size_t rank = axes.size();
    const auto exchange = [&](std::size_t first, std::size_t middle, std::size_t last) {
        passes.push_back({product(0, first), product(first, middle), product(middle, last),
                          product(last, rank)});
        std::rotate(order.begin() + static_cast<Index>(first),
                    order.begin() + static_cast<Index>(middle),
                    order.begin() + static_cast<Index>(last));
    };
    for (std::size_t n = 0; n < rank; ++n) {
        const std::size_t k = slowest_first ? n : rank - 1 - n;
        const auto at =
            static_cast<std::size_t>(std::find(order.begin(), order.end(), k) - order.begin());
        if (at == k) continue;
        if (slowest_first) {  // what follows in the right order comes along
            std::size_t last = at + 1;
            while (last < rank && order[last] == order[last - 1] + 1) ++last;
            exchange(k, at, last);
        } else {
            std::size_t first = at;
            while (first > 0 && order[first - 1] + 1 == order[first]) --first;
            exchange(first, at + 1, k + 1);
        }
    }
    return passes;
}

/// The passes of fewest launches; none: one pass as it is.
struct PermutePlan {
    std::vector<Exchange> passes;
    Index launches = 0;
};
[[nodiscard]] inline PermutePlan plan_permute(const Axes& axes, Index element_size) {
    PermutePlan best{{}, best_move(axes, element_size).launches};
    for (const bool slowest_first : {true, false}) {
        auto passes = exchanges(axes, slowest_first);
        if (!passes || passes->empty()) break;
        Index launches = 0;
        for (const auto& pass : *passes) launches += best_move(pass.axes(), element_size).launches;
        if (launches < best.launches) best = {std::move(*passes), launches};
    }
    return best;
}

/// to = row-major copy of a strided tensor, both on the device.
inline void permute(Device& device, Kind kind, const void* from, const Shape& shape,
                    const Shape& strides, void* to) {
    const Index size = num_elements(shape);
    if (size == 0) return;
    const auto axes = mpo::detail::merged_axes(shape, strides, row_major_strides(shape));
    const auto plan = plan_permute(axes, size_of(kind));
    if (plan.passes.empty()) return move_once(device, kind, axes, from, to);
    const Block rooms[] = {device.block(kind, plan.passes.size() > 1 ? size : 0),
                           device.block(kind, plan.passes.size() > 2 ? size : 0)};
    for (std::size_t k = 0; k < plan.passes.size(); ++k) {
        void* const target = k + 1 == plan.passes.size() ? to : rooms[k % 2].data();
        move_once(device, kind, plan.passes[k].axes(), from, target);
        from = target;
    }
}

}  // namespace mpo::cuda::detail

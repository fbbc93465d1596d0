// Bodies of network/sweep.hpp: steps, and how a batch is cut to a workspace.
#pragma once

#include <algorithm>

#include "mpo/core/inline.hpp"
#include "mpo/network/sweep.hpp"

namespace mpo {

MPO_DETAIL_INLINE std::string_view to_string(SweepDirection direction) {
    constexpr std::string_view names[] = {"automatic", "right_to_left", "left_to_right"};
    return names[static_cast<int>(direction)];
}

MPO_DETAIL_INLINE std::vector<SweepStep> sweep_steps(const Layout& layout, const Shape& bonds,
                                                     SweepDirection direction) {
    const auto sites = layout.out.size();
    std::vector<SweepStep> steps;
    for (std::size_t n = 0; n < sites; ++n) {
        const bool leftwards = direction == SweepDirection::right_to_left;
        const std::size_t k = leftwards ? sites - 1 - n : n;
        SweepStep step;
        for (std::size_t j = 0; j < sites; ++j) {
            if (j < k) step.repeats *= leftwards ? layout.in[j] : layout.out[j];
            if (j > k) step.cols *= leftwards ? layout.out[j] : layout.in[j];
        }
        step.rows = layout.out[k] * (leftwards ? bonds[k] : bonds[k + 1]);
        step.inner = layout.in[k] * (leftwards ? bonds[k + 1] : bonds[k]);
        steps.push_back(step);
    }
    return steps;
}

namespace detail {

MPO_DETAIL_INLINE Index num_parameters(const std::vector<SweepStep>& steps) {
    Index sum = 0;
    for (const auto& step : steps) sum += step.rows * step.inner;
    return sum;
}

MPO_DETAIL_INLINE SweepNeed need_of_apply(const std::vector<SweepStep>& steps, Index element_size) {
    SweepNeed need{.element_size = element_size};
    for (std::size_t n = 0; n + 1 < steps.size(); ++n)
        need.sliced = (std::max)(need.sliced, steps[n].output_elements());
    if (steps.size() > 2) need.sliced *= 2;  // in and out of a step that is neither first nor last
    return need;
}

MPO_DETAIL_INLINE SweepNeed need_of_gradient(const std::vector<SweepStep>& steps,
                                             SweepDirection direction, Index element_size) {
    SweepNeed need{.element_size = element_size};
    Index largest = 0, permuted = 0;
    for (std::size_t n = 0; n < steps.size(); ++n) {
        const auto& step = steps[n];
        const bool leading =
            n == (direction == SweepDirection::right_to_left ? steps.size() - 1 : 0);
        if (n + 1 < steps.size()) {
            need.sliced += step.output_elements();
            largest = (std::max)(largest, step.output_elements());
        }
        if (step.cols > 1) {  // (rows, K) and (inner, K), see CoreSweep::add_core_gradient
            const Index wide = step.repeats * step.cols;
            permuted = (std::max)(permuted, wide * (step.rows + step.inner));
            if (leading)  // one side of its matrix is not sliced
                need.fixed =
                    wide * (direction == SweepDirection::right_to_left ? step.rows : step.inner);
        }
    }
    need.per_extra = num_parameters(steps);
    need.sliced += largest * (steps.size() > 2 ? 2 : 1) + permuted;
    return need;
}

inline constexpr Index full_tile_rows = 12, full_tile_columns = 32;  // of the largest

MPO_DETAIL_INLINE Index bytes_of_slice(const SweepNeed& need, Index leg, Index slice) {
    return (need.fixed + need.sliced / leg * slice) * need.element_size;
}

MPO_DETAIL_INLINE Index tokens_of_full_tiles(const std::vector<SweepStep>& steps) {
    Index tokens = 1;
    for (const auto& step : steps) {
        const Index side = step.cols == 1 ? full_tile_rows : full_tile_columns;
        const Index each = step.repeats * step.cols;
        tokens = (std::max)(tokens, (side + each - 1) / each);
    }
    return tokens;
}

MPO_DETAIL_INLINE Index bytes_of_chunk(const std::vector<SweepStep>& steps, Index element_size,
                                       Index cached_bytes) {
    return (std::max)(cached_bytes, num_parameters(steps) * element_size / 16);
}

MPO_DETAIL_INLINE Index balanced_chunk(Index batch, Index workers, Index full_tokens) {
    const Index parts = std::clamp<Index>(batch / full_tokens, 1, workers);
    return (batch + parts - 1) / parts;
}

MPO_DETAIL_INLINE SweepCut cut_sweep(const std::vector<SweepStep>& steps, const SweepNeed& need,
                                     Index leg, Index batch, Index limit_bytes, Index concurrency,
                                     Index cached_bytes) {
    SweepCut cut{.leg = leg};
    while (cut.slices < leg &&
           bytes_of_slice(need, leg, (leg + cut.slices - 1) / cut.slices) > limit_bytes)
        ++cut.slices;
    cut.slice = (leg + cut.slices - 1) / cut.slices;
    cut.slices = (leg + cut.slice - 1) / cut.slice;
    const Index one = bytes_of_slice(need, leg, cut.slice);
    if (one > limit_bytes)
        raise<ArgumentError>({"make_plan: max_workspace_bytes = ", limit_bytes,
                              " is too small, one slice of one token needs ", one});
    const Index extra = need.per_extra * need.element_size;
    cut.workers = std::max<Index>(1, concurrency);
    while (cut.workers > 1 && cut.workers * (one + extra) > limit_bytes) --cut.workers;
    const Index room = limit_bytes / cut.workers - (cut.workers > 1 ? extra : 0);
    cut.chunk = balanced_chunk(batch, cut.workers, tokens_of_full_tiles(steps));
    if (cut.slices > 1) cut.chunk = 1;
    const Index wanted = bytes_of_chunk(steps, need.element_size, cached_bytes);
    if (one > 0)
        cut.chunk =
            std::clamp<Index>((std::min)(wanted, room) / one, 1, std::min<Index>(cut.chunk, 1024));
    return cut;
}

}  // namespace detail
}  // namespace mpo

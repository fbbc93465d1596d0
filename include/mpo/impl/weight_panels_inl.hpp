// Bodies of linalg/weight_panels.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "mpo/core/dtype.hpp"
#include "mpo/core/inline.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/impl/gemm_pack_inl.hpp"
#include "mpo/impl/panel_kernel_inl.hpp"
#include "mpo/linalg/weight_panels.hpp"

namespace mpo {
namespace detail {

/// Tokens up to which weights are streamed rather than multiplied in tiles: beyond, tiles are busy, and
/// what bfloat16 costs to widen is shared by enough of them.
inline constexpr Index few_tokens_f32 = 4, few_tokens_bf16 = 16;
/// Bytes of panels that are worth a second thread.
inline constexpr Index panel_grain_bytes = Index{1} << 16;

/// Y (B, 32 n) = X (B, in) times n panels of floats; the last one may be narrower.
inline void multiply_panels(const float* panels, MatrixView<const float> X, MatrixView<float> Y,
                            const EigenBackend& backend) {
    const Index in = X.cols, full = Y.cols / panel_columns, rest = Y.cols % panel_columns;
    const BatchView<const float> P{{panels, in, panel_columns, panel_columns, 1},
                                   in * panel_columns};
    const BatchView<float> out{block(Y, 0, 0, Y.rows, panel_columns), panel_columns};
    backend.gemm_batched(1.0f, {X, 0}, P, 0.0f, out, full);
    if (rest > 0)
        backend.gemm(1.0f, X, block(P[full], 0, 0, in, rest), 0.0f,
                     block(Y, 0, full * panel_columns, Y.rows, rest));
}

/// Panels first .. last - 1 of a matrix, each into its 32 columns of Y.
template <class S>
void stream_panels(const S* panels, Index first, Index last, MatrixView<const float> X,
                   MatrixView<float> Y) {
    const Index in = X.cols;
    for (Index p = first; p < last; ++p) {
        const S* panel = panels + p * in * panel_columns;
        const Index columns = (std::min)(panel_columns, Y.cols - p * panel_columns);
        float* y = Y.data + p * panel_columns;
        if (columns == panel_columns) {
            panel_product(X.rows, in, X.data, X.row_stride, panel, panel_columns, y, Y.row_stride,
                          0);
            continue;
        }
        alignas(64) float buffer[few_tokens_bf16 * panel_columns];
        panel_product(X.rows, in, X.data, X.row_stride, panel, panel_columns, buffer, panel_columns,
                      0);
        for (Index b = 0; b < X.rows; ++b)
            std::copy_n(buffer + b * panel_columns, columns, y + b * Y.row_stride);
    }
}

MPO_DETAIL_INLINE void multiply_panel(Index rows, Index steps, const float* X, Index ldx,
                                      const float* P, Index ldp, float* Y, Index ldy) {
    panel_product(rows, steps, X, ldx, P, ldp, Y, ldy, 0);
}

}  // namespace detail

MPO_DETAIL_INLINE WeightPanels::WeightPanels(MatrixView<const float> W, WeightStorage storage)
    : rows_(W.rows), cols_(W.cols), storage_(storage) {
    const Index slot = cols_ * detail::panel_columns;
    const EigenBackend backend;
    if (storage == WeightStorage::f32)
        wide_ = backend.allocate<float>(panels() * slot);
    else
        narrow_ = EigenBackend::Buffer<std::uint16_t>(panels() * slot);
    parallel_for(0, panels(), 1, [&](Index first, Index last) {
        float* scratch = storage == WeightStorage::f32
                             ? nullptr
                             : detail::thread_scratch<float, 2>().at_least(slot);
        for (Index p = first; p < last; ++p) {
            const Index row = p * detail::panel_columns;
            const Index h = (std::min)(detail::panel_columns, rows_ - row);
            float* out = scratch != nullptr ? scratch : wide_.data() + p * slot;
            if (h < detail::panel_columns) std::fill_n(out, slot, 0.0f);
            detail::pack_transposed(W.data + row * W.row_stride, W.row_stride, W.col_stride, h,
                                    cols_, out, detail::panel_columns);
            if (scratch == nullptr) continue;
            std::uint16_t* narrow = narrow_.data() + p * slot;
            for (Index k = 0; k < slot; k += detail::panel_columns)
                for (Index c = 0; c < detail::panel_columns; ++c)
                    narrow[k + detail::narrow_place(c)] = float_to_bfloat16(scratch[k + c]);
        }
    });
}

MPO_DETAIL_INLINE Index WeightPanels::panels() const {
    return (rows_ + detail::panel_columns - 1) / detail::panel_columns;
}

MPO_DETAIL_INLINE bool WeightPanels::streams(Index tokens) const {
    return tokens <=
           (storage_ == WeightStorage::f32 ? detail::few_tokens_f32 : detail::few_tokens_bf16);
}

MPO_DETAIL_INLINE void WeightPanels::require_shapes(MatrixView<const float> X,
                                                    MatrixView<float> Y) const {
    detail::check_shape(X.cols == cols_ && Y.cols == rows_ && X.rows == Y.rows &&
                            X.col_stride == 1 && Y.col_stride == 1,
                        "WeightPanels::apply",
                        "need X (B, in), W (out, in) -> Y (B, out), rows without gaps",
                        {X.rows, X.cols, rows_, cols_, Y.rows, Y.cols});
}

MPO_DETAIL_INLINE void WeightPanels::apply(MatrixView<const float> X, MatrixView<float> Y,
                                           const EigenBackend& backend) const {
    const WeightPanels* self = this;
    if (streams(X.rows)) return apply_together({&self, 1}, X, {&Y, 1}, backend);
    require_shapes(X, Y);
    if (storage_ == WeightStorage::f32)
        detail::multiply_panels(wide_.data(), X, Y, backend);
    else
        apply_widened(X, Y, backend);
}

MPO_DETAIL_INLINE void WeightPanels::apply_together(std::span<const WeightPanels* const> W,
                                                    MatrixView<const float> X,
                                                    std::span<const MatrixView<float>> Y,
                                                    const EigenBackend& backend) {
    detail::check_shape(W.size() == Y.size(), "WeightPanels::apply_together", "need as many Y as W",
                        {static_cast<Index>(W.size()), static_cast<Index>(Y.size())});
    Index count = 0, bytes = 0;
    bool few = X.rows > 0;
    for (std::size_t k = 0; k < W.size(); ++k) {
        W[k]->require_shapes(X, Y[k]);
        few = few && W[k]->streams(X.rows);
        count += W[k]->panels();
        bytes += W[k]->num_bytes();
    }
    for (std::size_t k = 0; k < W.size() && !few && X.rows > 0; ++k) W[k]->apply(X, Y[k], backend);
    if (!few) return;
    const Index grain = detail::panel_grain_bytes / (bytes / (std::max)(count, Index{1}) + 1) + 1;
    parallel_for(0, count, grain, [&](Index first, Index last) {
        for (std::size_t k = 0; k < W.size(); ++k) {  // each its part of the panels in a row
            const Index panels = W[k]->panels();
            if (first < panels && last > 0)
                W[k]->stream((std::max)(first, Index{0}), (std::min)(last, panels), X, Y[k]);
            first -= panels;
            last -= panels;
        }
    });
}

MPO_DETAIL_INLINE void WeightPanels::stream(Index first, Index last, MatrixView<const float> X,
                                            MatrixView<float> Y) const {
    if (storage_ == WeightStorage::f32)
        detail::stream_panels(wide_.data(), first, last, X, Y);
    else
        detail::stream_panels(narrow_.data(), first, last, X, Y);
}

/// A group of panels per task is widened into the cache of the thread that multiplies with it.
MPO_DETAIL_INLINE void WeightPanels::apply_widened(MatrixView<const float> X, MatrixView<float> Y,
                                                   const EigenBackend& backend) const {
    constexpr Index most = 8;
    const Index slot = cols_ * detail::panel_columns;
    const Index tasks = Index{4} * num_threads();
    const Index fair = (panels() + tasks - 1) / tasks;
    const Index group = (std::min)(most, fair);
    parallel_tasks((panels() + group - 1) / group, [&](Index task) {
        const Index first = task * group, last = (std::min)(panels(), first + group);
        float* wide = detail::thread_scratch<float, 2>().at_least(group * slot);
        detail::widen_rows((last - first) * cols_, narrow_.data() + first * slot, wide);
        const Index column = first * detail::panel_columns;
        const Index columns = (std::min)(rows_, last * detail::panel_columns) - column;
        detail::multiply_panels(wide, X, block(Y, 0, column, Y.rows, columns), backend);
    });
}

MPO_DETAIL_INLINE void WeightPanels::read_row(Index o, float* row) const {
    const bool wide = storage_ == WeightStorage::f32;
    const Index column = o % detail::panel_columns;
    const Index at = (o - column) * cols_ + (wide ? column : detail::narrow_place(column));
    for (Index i = 0; i < cols_; ++i) {
        const Index k = at + i * detail::panel_columns;
        row[i] = wide ? wide_.data()[k] : bfloat16_to_float(narrow_.data()[k]);
    }
}

}  // namespace mpo

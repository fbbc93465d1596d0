// The bodies of model/linear.hpp that are no templates.
#pragma once

#include <cmath>
#include <utility>

#include "mpo/core/parallel.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/linear.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE Linear::Linear(std::string name, MatrixView<const float> W,
                                       Tensor<float> bias, const LinearOptions& options,
                                       const EigenBackend& backend)
    : name_(std::move(name)),
      bias_(std::move(bias)),
      backend_(&backend),
      weight_(WeightPanels(W, options.dense_storage)),
      num_parameters_(W.size()) {
    require_bias();
}

MPO_DETAIL_MODEL_INLINE Linear::Linear(std::string name, const Mpo<float>& W, Tensor<float> bias,
                                       const LinearOptions& options, const EigenBackend& backend)
    : name_(std::move(name)),
      bias_(std::move(bias)),
      backend_(&backend),
      weight_(PlanSet<float, EigenBackend>(W, options.batches, plan_options(options), backend)),
      num_parameters_(W.num_parameters()) {
    require_bias();
}

MPO_DETAIL_MODEL_INLINE Index Linear::rows() const {
    const auto* plans = std::get_if<1>(&weight_);
    return plans ? plans->plan_for(1).rows() : std::get<0>(weight_).rows();
}

MPO_DETAIL_MODEL_INLINE Index Linear::cols() const {
    const auto* plans = std::get_if<1>(&weight_);
    return plans ? plans->plan_for(1).cols() : std::get<0>(weight_).cols();
}

MPO_DETAIL_MODEL_INLINE void Linear::apply(MatrixView<const float> X, MatrixView<float> Y) const {
    require_shapes(X, Y);
    if (X.rows == 0) return;
    if (const auto* plans = std::get_if<1>(&weight_))
        plans->plan_for(X.rows).apply_resident(X.data, Y.data, X.rows);
    else
        std::get<0>(weight_).apply(X, Y, *backend_);
    if (bias_.size() > 0) add_bias(Y);
}

MPO_DETAIL_MODEL_INLINE void Linear::apply_together(std::span<const Linear* const> linears,
                                                    MatrixView<const float> X,
                                                    std::span<const MatrixView<float>> Y) {
    std::vector<const WeightPanels*> dense;
    for (std::size_t k = 0; k < linears.size(); ++k) {
        linears[k]->require_shapes(X, Y[k]);
        if (linears[k]->panels()) dense.push_back(linears[k]->panels());
    }
    if (dense.size() < linears.size()) {
        for (std::size_t k = 0; k < linears.size(); ++k) linears[k]->apply(X, Y[k]);
        return;
    }
    WeightPanels::apply_together(dense, X, Y, *linears.front()->backend_);
    for (std::size_t k = 0; k < linears.size(); ++k)
        if (linears[k]->bias_.size() > 0) linears[k]->add_bias(Y[k]);
}

MPO_DETAIL_MODEL_INLINE void Linear::require_shapes(MatrixView<const float> X,
                                                    MatrixView<float> Y) const {
    if (X.cols != cols() || Y.cols != rows() || X.rows != Y.rows || X.row_stride != X.cols ||
        Y.row_stride != Y.cols || X.col_stride != 1 || Y.col_stride != 1)
        detail::raise<ShapeError>({"Linear::apply: ", name_, " needs X (B, ", cols(),
                                   ") and Y (B, ", rows(), ") without gaps, got ", X.rows, " x ",
                                   X.cols, " and ", Y.rows, " x ", Y.cols});
}

MPO_DETAIL_MODEL_INLINE PlanOptions Linear::plan_options(const LinearOptions& options) {
    PlanOptions result;
    result.max_workspace_bytes = options.max_workspace_bytes;
    result.dense_cache = options.dense_cache;
    return result;
}

MPO_DETAIL_MODEL_INLINE void Linear::require_bias() const {
    if (bias_.size() != 0 && (bias_.rank() != 1 || bias_.size() != rows()))
        detail::raise<ShapeError>({"Linear: the bias of ", name_, " must have ", rows(),
                                   " elements, got shape ", to_string(bias_.shape())});
}

MPO_DETAIL_MODEL_INLINE void Linear::add_bias(MatrixView<float> Y) const {
    constexpr Index grain = Index{1} << 15;  // elements worth a second thread
    parallel_for(0, Y.rows, grain / Y.cols + 1, [&](Index first, Index last) {
        for (Index b = first; b < last; ++b)
            detail::add_row(Y.cols, bias_.data(), Y.data + b * Y.cols);
    });
}

}  // namespace mpo

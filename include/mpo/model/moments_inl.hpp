// The bodies of model/moments.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/moment_tiles.hpp"
#include "mpo/model/moments.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE InputMoments::InputMoments(std::vector<std::string> linears, Index inputs,
                                                   MomentFlows flows) {
    sums_.linears = std::move(linears);
    sums_.inputs = inputs;
    sums_.flows = flows;
    if (sums_.linears.empty() || inputs < 1)
        detail::raise<ArgumentError>({"InputMoments: need at least one linear and one input, ",
                                      "got ", sums_.linears.size(), " and ", inputs});
    sums_.dense = Tensor<double>({inputs, inputs});
    if (flows == MomentFlows::dense) return;
    sums_.compressed = Tensor<double>({inputs, inputs});
    sums_.cross = Tensor<double>({inputs, inputs});
}

MPO_DETAIL_MODEL_INLINE InputMoments::InputMoments(MomentSums sums) : sums_(std::move(sums)) {
    const Shape square{sums_.inputs, sums_.inputs};
    const bool both = sums_.flows == MomentFlows::both;
    const std::size_t sinks = sums_.sink_scales.size(),
                      numbers = sinks * static_cast<std::size_t>(sums_.inputs);
    if (sums_.linears.empty() || sums_.inputs < 1 || sums_.dense.shape() != square ||
        (both && (sums_.compressed.shape() != square || sums_.cross.shape() != square)) ||
        sums_.sink_dense.size() != numbers || sums_.sink_compressed.size() != (both ? numbers : 0))
        detail::raise<ShapeError>({"InputMoments: the sums must have the shape ", sums_.inputs,
                                   " x ", sums_.inputs, " and rows for ", sinks, " sinks"});
}

MPO_DETAIL_MODEL_INLINE void InputMoments::add(MatrixView<const float> X,
                                               std::span<const double> weights,
                                               const EigenBackend& backend) {
    require_flows(MomentFlows::dense);
    add_positions(X, nullptr, weights, backend);
}

MPO_DETAIL_MODEL_INLINE void InputMoments::add(MatrixView<const float> dense,
                                               MatrixView<const float> compressed,
                                               std::span<const double> weights,
                                               const EigenBackend& backend) {
    require_flows(MomentFlows::both);
    if (compressed.rows != dense.rows)
        detail::raise<ShapeError>({"InputMoments: ", name(), " has ", dense.rows,
                                   " positions in the dense flow and ", compressed.rows,
                                   " in the compressed one"});
    add_positions(dense, &compressed, weights, backend);
}

MPO_DETAIL_MODEL_INLINE void InputMoments::add_output_energy(double energy) {
    if (!(energy >= 0) || !std::isfinite(energy))
        detail::raise<NumericalError>(
            {"InputMoments: the outputs of ", name(), " have the energy ", energy});
    sums_.output_energy += energy;
}

MPO_DETAIL_MODEL_INLINE void InputMoments::add_sink(std::span<const float> dense,
                                                    std::span<const float> compressed,
                                                    double weight, double state_energy) {
    const auto n = static_cast<std::size_t>(sums_.inputs);
    const bool both = sums_.flows == MomentFlows::both;
    if (dense.size() != n || compressed.size() != (both ? n : 0))
        detail::raise<ShapeError>({"InputMoments: a sink of ", name(), " must have ", n,
                                   " inputs, got ", dense.size(), " and ", compressed.size()});
    const double scale = weight / state_energy;
    if (!(scale > 0) || !std::isfinite(scale))
        detail::raise<NumericalError>({"InputMoments: a sink of ", name(), " has the weight ",
                                       weight, " and the energy ", state_energy});
    for (const auto row : {dense, compressed})
        for (std::size_t i = 0; i < row.size(); ++i)
            if (!std::isfinite(row[i])) fail_at(sinks(), static_cast<Index>(i), row[i]);
    auto& s = sums_;
    s.sink_dense.insert(s.sink_dense.end(), dense.begin(), dense.end());
    s.sink_compressed.insert(s.sink_compressed.end(), compressed.begin(), compressed.end());
    s.sink_scales.push_back(scale);
    s.sink_weight += weight;
    ++s.tokens;
}

MPO_DETAIL_MODEL_INLINE void InputMoments::merge(const InputMoments& other) {
    const auto& from = other.sums_;
    if (from.linears != sums_.linears || from.inputs != sums_.inputs || from.flows != sums_.flows)
        detail::raise<ArgumentError>(
            {"InputMoments: cannot add moments of ", other.name(), ", ", from.inputs,
             " inputs, to those of ", name(), ", ", sums_.inputs, " inputs",
             from.flows != sums_.flows ? ": one has both flows, the other has not" : ""});
    add_tensor(from.dense, sums_.dense);
    add_tensor(from.compressed, sums_.compressed);
    add_tensor(from.cross, sums_.cross);
    const auto append = [](const auto& source, auto& target) {
        target.insert(target.end(), source.begin(), source.end());
    };
    append(from.sink_scales, sums_.sink_scales);
    append(from.sink_dense, sums_.sink_dense);
    append(from.sink_compressed, sums_.sink_compressed);
    sums_.tokens += from.tokens;
    sums_.weight += from.weight;
    sums_.output_energy += from.output_energy;
    sums_.sink_weight += from.sink_weight;
}

MPO_DETAIL_MODEL_INLINE Tensor<double> InputMoments::second_moment(const EigenBackend& backend,
                                                                   double g) const {
    auto M = combined(sums_.dense, sums_.sink_dense, sums_.sink_dense, g, backend);
    detail::mirror_lower(M);
    return M;
}

MPO_DETAIL_MODEL_INLINE Tensor<double> InputMoments::compressed_moment(const EigenBackend& backend,
                                                                       double g) const {
    if (sums_.flows == MomentFlows::dense) return second_moment(backend, g);
    auto M = combined(sums_.compressed, sums_.sink_compressed, sums_.sink_compressed, g, backend);
    detail::mirror_lower(M);
    return M;
}

MPO_DETAIL_MODEL_INLINE Tensor<double> InputMoments::cross_moment(const EigenBackend& backend,
                                                                  double g) const {
    if (sums_.flows == MomentFlows::dense) return second_moment(backend, g);
    return combined(sums_.cross, sums_.sink_dense, sums_.sink_compressed, g, backend);
}

MPO_DETAIL_MODEL_INLINE MomentMatrices InputMoments::matrices(const EigenBackend& backend,
                                                              double g) && {
    auto& s = sums_;
    MomentMatrices result;
    result.second = combined(std::move(s.dense), s.sink_dense, s.sink_dense, g, backend);
    detail::mirror_lower(result.second);
    if (s.flows == MomentFlows::dense) return result;
    result.compressed =
        combined(std::move(s.compressed), s.sink_compressed, s.sink_compressed, g, backend);
    detail::mirror_lower(result.compressed);
    result.cross = combined(std::move(s.cross), s.sink_dense, s.sink_compressed, g, backend);
    return result;
}

MPO_DETAIL_MODEL_INLINE void InputMoments::require_flows(MomentFlows flows) const {
    if (sums_.flows != flows)
        detail::raise<ArgumentError>(
            {"InputMoments: ", name(), " accumulates ",
             flows == MomentFlows::both ? "the dense flow alone" : "both flows"});
}

MPO_DETAIL_MODEL_INLINE void InputMoments::require_rows(MatrixView<const float> X,
                                                        std::span<const double> weights) const {
    if (X.cols != sums_.inputs || X.col_stride != 1)
        detail::raise<ShapeError>({"InputMoments: ", name(), " reads ", sums_.inputs,
                                   " numbers, contiguous, got ", X.cols});
    if (!weights.empty() && static_cast<Index>(weights.size()) != X.rows)
        detail::raise<ArgumentError>({"InputMoments: ", X.rows, " positions of ", name(), " have ",
                                      weights.size(), " weights"});
    for (std::size_t t = 0; t < weights.size(); ++t)
        if (!(weights[t] >= 0) || !std::isfinite(weights[t]))
            detail::raise<ArgumentError>(
                {"InputMoments: the weight of position ", t, " of ", name(), " is ", weights[t]});
}

MPO_DETAIL_MODEL_INLINE void InputMoments::fail_at(Index position, Index element,
                                                   float value) const {
    detail::raise<NumericalError>({"the inputs of ", name(), " hold ", value, " at position ",
                                   position, ", element ", element});
}

MPO_DETAIL_MODEL_INLINE void InputMoments::require_finite(MatrixView<const float> X) const {
    parallel_for(0, X.rows, 32, [&](Index first, Index last) {
        for (Index t = first; t < last; ++t) {
            const float* row = X.data + t * X.row_stride;
            bool finite = true;
            for (Index i = 0; i < X.cols; ++i) finite &= std::abs(row[i]) <= largest;
            for (Index i = 0; !finite && i < X.cols; ++i)
                if (!std::isfinite(row[i])) fail_at(t, i, row[i]);
        }
    });
}

MPO_DETAIL_MODEL_INLINE void InputMoments::add_positions(MatrixView<const float> dense,
                                                         const MatrixView<const float>* compressed,
                                                         std::span<const double> weights,
                                                         const EigenBackend& backend) {
    require_rows(dense, weights);
    if (compressed) require_rows(*compressed, weights);
    require_finite(dense);
    if (compressed) require_finite(*compressed);
    const Index n = sums_.inputs, step = (std::min)(rows_at_once, dense.rows);
    const Index needed = (compressed ? 2 : 1) * step * n;
    if (workspace_.size() < needed) workspace_ = backend.allocate<double>(needed);
    for (Index first = 0; first < dense.rows; first += step) {
        const Index rows = (std::min)(step, dense.rows - first);
        const auto part = weights.empty() ? weights
                                          : weights.subspan(static_cast<std::size_t>(first),
                                                            static_cast<std::size_t>(rows));
        double* const wide = workspace_.data();
        detail::MomentTiles tiles(rows, n);
        widen(block(dense, first, 0, rows, n), part, wide);
        tiles.add_square(wide, sums_.dense.data());
        if (compressed) {
            double* const other = wide + step * n;
            widen(block(*compressed, first, 0, rows, n), part, other);
            tiles.add_square(other, sums_.compressed.data());
            tiles.add_product(wide, other, sums_.cross.data());
        }
        tiles.run(backend);
    }
    for (const double w : weights) sums_.weight += w;
    sums_.tokens += std::count_if(weights.begin(), weights.end(), [](double w) { return w > 0; });
    if (!weights.empty()) return;
    sums_.tokens += dense.rows;
    sums_.weight += static_cast<double>(dense.rows);
}

MPO_DETAIL_MODEL_INLINE void InputMoments::widen(MatrixView<const float> X,
                                                 std::span<const double> weights, double* wide) {
    parallel_for(0, X.rows, 16, [&](Index first, Index last) {
        for (Index t = first; t < last; ++t) {
            const double root =
                weights.empty() ? 1 : std::sqrt(weights[static_cast<std::size_t>(t)]);
            const float* row = X.data + t * X.row_stride;
            for (Index i = 0; i < X.cols; ++i) wide[t * X.cols + i] = root * row[i];
        }
    });
}

MPO_DETAIL_MODEL_INLINE Tensor<double> InputMoments::combined(Tensor<double> M,
                                                              const std::vector<float>& left,
                                                              const std::vector<float>& right,
                                                              double g,
                                                              const EigenBackend& backend) const {
    if (!(sums_.weight > 0))
        detail::raise<ArgumentError>({"InputMoments: ", name(), " has seen ", sums_.tokens,
                                      " positions, none of them ordinary and with a weight"});
    if (!(g >= 0) || !std::isfinite(g))
        detail::raise<ArgumentError>({"InputMoments: the weight of sinks must be >= 0, got ", g});
    for (Index k = 0; k < M.size(); ++k) M.data()[k] /= sums_.weight;
    if (sinks() == 0) return M;
    const double factor = g * mean_output_energy() / sums_.sink_weight;
    const auto scaled = [&](const std::vector<float>& rows) {
        Tensor<double> A({sinks(), sums_.inputs});
        for (Index p = 0; p < sinks(); ++p) {
            const double root = std::sqrt(factor * sums_.sink_scales[static_cast<std::size_t>(p)]);
            for (Index i = 0; i < sums_.inputs; ++i)
                A(p, i) = root * rows[static_cast<std::size_t>(p * sums_.inputs + i)];
        }
        return A;
    };
    const auto A = scaled(left), B = scaled(right);
    backend.gemm(1.0, transpose(as_matrix(A.view())), as_matrix(B.view()), 1.0,
                 as_matrix(M.view()));
    return M;
}

}  // namespace mpo

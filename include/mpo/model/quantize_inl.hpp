// The bodies of model/quantize.hpp that are no templates.
#pragma once

#include "mpo/io/inline.hpp"
#include "mpo/model/quantize.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void make_grids(const Tensor<float>& W, const std::vector<double>& weights,
                                        const QuantizeOptions& options, Quantized& result) {
    const Index m = W.extent(0), n = W.extent(1);
    const auto make_grid = [&](Index i, Index first) {
        const GroupNumbers group{W.data() + i * n + first, weights.data() + first,
                                 (std::min)(options.group, n - first),
                                 static_cast<double>((1 << options.bits) - 1)};
        const auto [low, high] = std::minmax_element(group.numbers, group.numbers + group.count);
        const double from = static_cast<double>(*low), to = static_cast<double>(*high);
        const auto grid = options.grids == GridChoice::span ? span_grid(from, to, group.last)
                                                            : fitted_grid(group, from, to);
        if (!std::isfinite(grid.minimum) || !std::isfinite(grid.scale))
            raise<NumericalError>({"quantize: row ", i, " of W reaches from ", from, " to ", to,
                                   " in columns ", first, " to ", first + group.count - 1,
                                   ", half precision to 65504"});
        result.scales(i, first / options.group) = grid.scale;
        result.minima(i, first / options.group) = grid.minimum;
    };
    parallel_for(0, m, 16, [&](Index first, Index last) {
        for (Index i = first; i < last; ++i)
            for (Index j = 0; j < n; j += options.group) make_grid(i, j);
    });
}

MPO_DETAIL_MODEL_INLINE std::vector<Index> column_sequence(const std::vector<double>& diagonal,
                                                           ColumnOrder order) {
    std::vector<Index> columns(diagonal.size());
    std::iota(columns.begin(), columns.end(), Index{0});
    const auto strength = [&](Index j) { return diagonal[static_cast<std::size_t>(j)]; };
    if (order == ColumnOrder::descending)
        std::stable_sort(columns.begin(), columns.end(),
                         [&](Index a, Index b) { return strength(a) > strength(b); });
    return columns;
}

MPO_DETAIL_MODEL_INLINE Tensor<double> columns_of(const Tensor<float>& W,
                                                  const std::vector<Index>& columns) {
    const Index n = W.extent(1);
    Tensor<double> ordered(W.shape());
    parallel_for(0, W.extent(0), 16, [&](Index first, Index last) {
        for (Index i = first; i < last; ++i)
            for (Index k = 0; k < n; ++k)
                ordered(i, k) = static_cast<double>(W(i, columns[static_cast<std::size_t>(k)]));
    });
    return ordered;
}

MPO_DETAIL_MODEL_INLINE double put_on_grid(Index i, Index j, double x,
                                           const QuantizeOptions& options, Quantized& result) {
    const Index g = j / options.group;
    const Grid grid{result.scales(i, g), result.minima(i, g)};
    const auto level = grid.nearest(x, static_cast<double>((1 << options.bits) - 1));
    const float value = grid.value(level);
    result.levels(i, j) = level;
    result.values(i, j) = value;
    return static_cast<double>(value);
}

MPO_DETAIL_MODEL_INLINE void validate(const QuantizeOptions& options) {
    if (options.bits < 2 || options.bits > 8)
        raise<ArgumentError>({"quantize: bits must be 2 to 8, got ", options.bits});
    if (options.group < 1)
        raise<ArgumentError>({"quantize: group must be at least 1, got ", options.group});
    if (!(options.damping >= 0) || !std::isfinite(options.damping))
        raise<ArgumentError>({"quantize: damping must be finite and >= 0, got ", options.damping});
}

}  // namespace mpo::detail

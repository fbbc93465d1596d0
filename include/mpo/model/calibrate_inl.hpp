// The bodies of model/calibrate.hpp that are no templates.
#pragma once

#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/calibrate.hpp"

namespace mpo {
namespace detail {

/// Tells the callback of every linear of a stage.
inline void report_stage(const CalibrationWalk& walk, ProgressMeter& meter) {
    for (const auto& linear : walk.linears()) {
        const auto n = static_cast<double>(inputs_of(walk.config(), walk.stage()));
        meter.advance(linear, n * n / static_cast<double>(walk.linears().size()));
    }
}

/// Multiply-adds per token of the moments of one layer.
[[nodiscard]] inline double layer_work(const TransformerConfig& config) {
    double work = 0;
    for (const auto stage : block_stages) {
        const auto n = static_cast<double>(inputs_of(config, stage));
        work += n * n;
    }
    return work;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE CalibrationSummary calibrate(const std::filesystem::path& checkpoint,
                                                     std::vector<CalibrationWindow> windows,
                                                     const CalibrateOptions& options,
                                                     const EigenBackend& backend,
                                                     const MomentsVisitor& visit) {
    CalibrationWalk walk(checkpoint, std::move(windows), options.calibration, backend);
    const Index end = options.end_layer.value_or(walk.config().num_layers);
    if (options.first_layer < 0 || options.first_layer >= end || end > walk.config().num_layers)
        detail::raise<ArgumentError>({"calibrate: need layers in 0 to ", walk.config().num_layers,
                                      ", got ", options.first_layer, " to ", end});
    const Index layers = end - options.first_layer;
    detail::ProgressMeter meter("calibrate", options.progress, 7 * layers,
                                static_cast<double>(layers) * detail::layer_work(walk.config()));
    while (walk.layer() < options.first_layer) walk.advance();
    while (walk.layer() < end) {
        visit(walk.moments());
        detail::report_stage(walk, meter);
        if (walk.layer() + 1 == end && walk.stage() == BlockStage::down) break;
        walk.advance();
    }
    CalibrationSummary summary{static_cast<Index>(walk.windows().size()), 0, walk.sinks()};
    for (const auto& window : walk.windows())
        summary.tokens += static_cast<Index>(window.tokens.size());
    return summary;
}

MPO_DETAIL_MODEL_INLINE Calibration calibrate(const std::filesystem::path& checkpoint,
                                              std::vector<CalibrationWindow> windows,
                                              const CalibrateOptions& options,
                                              const EigenBackend& backend) {
    Calibration result;
    result.summary =
        calibrate(checkpoint, std::move(windows), options, backend,
                  [&](InputMoments moments) { result.moments.push_back(std::move(moments)); });
    return result;
}

MPO_DETAIL_MODEL_INLINE CalibrationSummary
calibrate_to_file(const std::filesystem::path& checkpoint, std::vector<CalibrationWindow> windows,
                  const CalibrateOptions& options, const std::filesystem::path& file,
                  const EigenBackend& backend) {
    const auto model = transformer_config(Checkpoint(checkpoint));
    MomentsWriter writer(file, model);
    auto summary = calibrate(checkpoint, std::move(windows), options, backend,
                             [&](const InputMoments& moments) { writer.append(moments); });
    writer.finish(summary);
    return summary;
}

}  // namespace mpo

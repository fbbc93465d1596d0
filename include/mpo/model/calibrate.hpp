// calibrate: the second moments of what every linear of a decoder reads, over texts. One layer is in memory at
// a time, and one moment where they go to a file or to a visitor.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/calibration_walk.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/moments.hpp"
#include "mpo/model/moments_file.hpp"
#include "mpo/model/progress.hpp"

namespace mpo {

/// Which moments are wanted, and how they are accumulated.
struct CalibrateOptions {
    CalibrationOptions calibration = {};  // sinks, weights, storage
    Index first_layer = 0;                // of those wanted
    std::optional<Index> end_layer = {};  // behind the last one wanted; none: all
    ProgressCallback progress = {};       // hears of every linear, and may cancel
};

/// Moments of all linears wanted.
struct Calibration {
    std::vector<InputMoments>
        moments;                 // in the decoder's order; linears that read the same share one
    CalibrationSummary summary;  // texts and sinks
};

/// Takes the moments of one stage after another.
using MomentsVisitor = std::function<void(InputMoments moments)>;

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

/// The moments of the dense flow, handed to `visit` stage by stage.
///
/// checkpoint   as Transformer's
/// windows      at least one, of 2 or more tokens each
/// error        sums are in double; inputs are those of Transformer::forward
/// cost         of the layers up to end_layer one forward pass, that of the MLP twice, and n^2 multiply-adds
///              per token and stage wanted, n its inputs. Memory: CalibrationWalk's
/// throws       ArgumentError (no tokens, windows, layers), NumericalError, naming linear, window and
///              position, for NaN or Inf; Cancelled; as the constructor of Transformer; what visit throws
inline CalibrationSummary calibrate(const std::filesystem::path& checkpoint,
                                    std::vector<CalibrationWindow> windows,
                                    const CalibrateOptions& options, const EigenBackend& backend,
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

/// The same, all moments at once: n^2 doubles for every stage.
[[nodiscard]] inline Calibration calibrate(const std::filesystem::path& checkpoint,
                                           std::vector<CalibrationWindow> windows,
                                           const CalibrateOptions& options,
                                           const EigenBackend& backend) {
    Calibration result;
    result.summary =
        calibrate(checkpoint, std::move(windows), options, backend,
                  [&](InputMoments moments) { result.moments.push_back(std::move(moments)); });
    return result;
}

/// The same into a file of moments_file.hpp's format, which exists completely or not at all; one moment and its
/// symmetric copy are in memory. Throws FileError, too.
inline CalibrationSummary calibrate_to_file(const std::filesystem::path& checkpoint,
                                            std::vector<CalibrationWindow> windows,
                                            const CalibrateOptions& options,
                                            const std::filesystem::path& file,
                                            const EigenBackend& backend) {
    const auto model = transformer_config(Checkpoint(checkpoint));
    MomentsWriter writer(file, model);
    auto summary = calibrate(checkpoint, std::move(windows), options, backend,
                             [&](const InputMoments& moments) { writer.append(moments); });
    writer.finish(summary);
    return summary;
}

}  // namespace mpo

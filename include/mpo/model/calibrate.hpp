// calibrate: the second moments of what every linear of a decoder reads, over texts. One layer is in memory at
// a time, and one moment where they go to a file or to a visitor.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

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

/// The moments of the dense flow, handed to `visit` stage by stage.
///
/// checkpoint   as Transformer's
/// windows      at least one, of 2 or more tokens each
/// error        sums are in double; inputs are those of Transformer::forward
/// cost         of the layers up to end_layer one forward pass, that of the MLP twice, and n^2 multiply-adds
///              per token and stage wanted, n its inputs. Memory: CalibrationWalk's
/// throws       ArgumentError (no tokens, windows, layers), NumericalError, naming linear, window and
///              position, for NaN or Inf; Cancelled; as the constructor of Transformer; what visit throws
CalibrationSummary calibrate(const std::filesystem::path& checkpoint,
                             std::vector<CalibrationWindow> windows,
                             const CalibrateOptions& options, const EigenBackend& backend,
                             const MomentsVisitor& visit);

/// The same, all moments at once: n^2 doubles for every stage.
[[nodiscard]] Calibration calibrate(const std::filesystem::path& checkpoint,
                                    std::vector<CalibrationWindow> windows,
                                    const CalibrateOptions& options, const EigenBackend& backend);

/// The same into a file of moments_file.hpp's format, which exists completely or not at all; one moment and its
/// symmetric copy are in memory. Throws FileError, too.
CalibrationSummary calibrate_to_file(const std::filesystem::path& checkpoint,
                                     std::vector<CalibrationWindow> windows,
                                     const CalibrateOptions& options,
                                     const std::filesystem::path& file,
                                     const EigenBackend& backend);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/calibrate_inl.hpp"
#endif

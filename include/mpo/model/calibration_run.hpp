// What there is to say of a calibration as a whole: what it read, the sinks it met, and how far the compressed
// flow went from the dense one. Nothing here needs a model.
#pragma once

#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// How far the compressed flow is from the dense one behind a layer.
struct BlockDeviation {
    Index layer = 0;        // that lies behind
    double ordinary = 0;    // norm(x_c - x_o) / norm(x_o) over all ordinary positions
    Index sinks = 0;        // in all windows
    double worst_sink = 0;  // largest norm(x_c - x_o) / norm(x_o) of a sink
};

/// The sinks that one module made, see sinks.hpp.
struct SinkReport {
    std::string module;   // "model.layers.11.mlp.down_proj", or "model.embed_tokens"
    Index windows = 0;    // that have one of them
    Index positions = 0;  // in all windows
    double norm = 0;      // of the states behind the module, mean over these positions
    double median = 0;    // of the norms of all states of their windows there, mean of the same
};

/// A calibration, front to back.
struct CalibrationRun {
    std::vector<std::string> texts = {};          // their files; of the caller
    Index windows = 0;                            // sequences
    Index tokens = 0;                             // in all of them
    Index most_inputs = 0;                        // of a linear that was calibrated
    std::vector<SinkReport> sinks = {};           // in order of appearance
    std::vector<BlockDeviation> deviations = {};  // one per layer

    /// Whether a linear has directions that no token can have spoken of.
    [[nodiscard]] bool has_few_tokens() const { return tokens < most_inputs; }
};

}  // namespace mpo

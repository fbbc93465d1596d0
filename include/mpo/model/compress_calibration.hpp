// What a calibrated compression needs to know beside what any compression does.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "mpo/model/calibrated_linear.hpp"
#include "mpo/model/calibration_walk.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/compress_options.hpp"
#include "mpo/model/moments.hpp"

namespace mpo {

/// Whether a linear makes good for what the layers before it have lost.
enum class Compensation { off, on };

/// What a layer reads while it is compressed.
enum class CompressInputs {
    compressed,  // what the compressed layers before it give: their losses can be made good for
    dense  // what the dense ones give: layers do not depend on one another, and processes take one each
};

/// What a calibrated compression needs to know.
struct CompressCalibration {
    std::vector<CalibrationWindow> windows = {};         // the texts, see calibration_texts.hpp
    CalibrationOptions walk = {};                        // how moments are accumulated
    double sink_weight = default_sink_weight;            // see moments.hpp, >= 0
    Compensation compensation = Compensation::on;        // for what earlier layers lost
    double compensation_ridge = 1e-3;                    // see compensating_map, > 0
    CompressInputs inputs = CompressInputs::compressed;  // dense: needs `resume`
    CalibratedFitOptions linear = {};                    // how each linear is compressed
    /// Share of its numbers per module, in (0, 1], 1: dense; where it is not named, the share that all have in
    /// common. Of allocate, from a profile.
    std::map<std::string, double> shares = {};
    /// A folder that keeps every finished layer, and that a run which was interrupted goes on from; the caller
    /// removes it. Empty: none.
    std::filesystem::path resume = {};
};

namespace detail {

void validate(const CompressOptions& options, const CompressCalibration& calibration);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/compress_calibration_inl.hpp"
#endif

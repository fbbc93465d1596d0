// What is kept of a CalibrationWalk that has come to its end.
#pragma once

#include <vector>

#include "mpo/model/calibration_run.hpp"
#include "mpo/model/calibration_walk.hpp"
#include "mpo/model/compress_report.hpp"
#include "mpo/model/sinks.hpp"

namespace mpo {

/// Sinks added up by the module that made them, in order of appearance.
[[nodiscard]] std::vector<SinkReport> sink_reports(const std::vector<SinkPosition>& sinks);

/// walk: all layers lie behind; linears: those that were calibrated. The texts' names are the caller's.
[[nodiscard]] CalibrationRun summarize(const CalibrationWalk& walk,
                                       const std::vector<LinearReport>& linears);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/summarize_calibration_inl.hpp"
#endif

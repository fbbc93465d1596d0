// What a calibrated compression says, as JSON: members of docs/schema/compress.json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "mpo/model/calibrated_kinds.hpp"
#include "mpo/model/compress_report.hpp"

namespace mpo::detail {

[[nodiscard]] nlohmann::ordered_json layout_json(const Layout& layout);

[[nodiscard]] nlohmann::ordered_json to_json(const FitCandidate& candidate);

/// Of one linear.
[[nodiscard]] nlohmann::ordered_json to_json(const CalibrationReport& report,
                                             const std::string& source_type);

/// Of one kind.
[[nodiscard]] nlohmann::ordered_json to_json(const CalibratedKind& kind);

/// Of the whole model.
[[nodiscard]] nlohmann::ordered_json calibration_json(const CompressReport& report);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/calibration_json_inl.hpp"
#endif

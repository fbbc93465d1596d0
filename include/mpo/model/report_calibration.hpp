// What calibration says, on the page of a report: losses and winners by kind, loss against stored bits with the rivals,
// and how far the compressed flow went from the dense one.
#pragma once

#include <string>
#include <string_view>

#include "mpo/model/compress_report.hpp"

namespace mpo::detail {

[[nodiscard]] std::string winner_section(const CompressReport& report);

[[nodiscard]] std::string loss_section(const CompressReport& report);

/// How the flow fared, and the sinks in it.
[[nodiscard]] std::string flow_section(const CompressReport& report);

[[nodiscard]] inline std::string calibration_sections(const CompressReport& report) {
    return winner_section(report) + loss_section(report) + flow_section(report);
}

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/report_calibration_inl.hpp"
#endif

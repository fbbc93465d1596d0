// What a sceptic would store instead of a calibrated compression: the closed form of low rank in the metric of the
// inputs, the same share for every linear, nothing handed on to later layers, of no more numbers in all.
#pragma once

#include <filesystem>
#include <limits>
#include <map>
#include <string>

#include "mpo/model/compress_calibrated.hpp"
#include "mpo/model/compress_report.hpp"

namespace mpo {

/// The share that all linears get, so that together they store no more than `report` says; one that rank 1 does not
/// fit into gets rank 1, or stays dense where that is no smaller.
[[nodiscard]] std::map<std::string, double> uniform_shares(const CompressReport& report);

/// Compresses `source` that way into another folder.
///
/// report      of the compression to be compared with; options and calibration are those that it was made with
/// returns     as compress; none of its linears has rivals
/// cost        as compress, one closed form instead of every search
/// throws      as compress
template <Backend B>
[[nodiscard]] CompressReport compress_uniform_low_rank(
    const Checkpoint& source, const std::filesystem::path& folder, CompressOptions options,
    CompressCalibration calibration, const CompressReport& report, const B& backend) {
    options.form = CompressForm::low_rank;
    options.layouts.clear();
    calibration.compensation = Compensation::off;
    calibration.linear.rivals = Rivals::none;
    calibration.linear.max_flops_ratio = std::numeric_limits<double>::infinity();
    calibration.shares = uniform_shares(report);
    calibration.resume.clear();  // the state there is that of the run it is compared with
    return compress(source, folder, options, calibration, backend);
}

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/uniform_low_rank_inl.hpp"
#endif

// The bodies of model/compress_calibration.hpp that are no templates.
#pragma once

#include <cmath>

#include "mpo/io/inline.hpp"
#include "mpo/model/compress_calibration.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void validate(const CompressOptions& options,
                                      const CompressCalibration& calibration) {
    mpo::validate(options);
    if (!options.budget && !options.budget_bytes)
        throw ArgumentError("compress: calibration needs a budget or budget_bytes");
    if (!options.peers.empty())
        throw ArgumentError("compress: calibration has no peers in other forms");
    if (!(calibration.sink_weight >= 0) || !std::isfinite(calibration.sink_weight))
        raise<ArgumentError>(
            {"compress: sink_weight must be finite and >= 0, got ", calibration.sink_weight});
    if (!(calibration.compensation_ridge > 0) || !std::isfinite(calibration.compensation_ridge))
        raise<ArgumentError>({"compress: compensation_ridge must be finite and above 0, got ",
                              calibration.compensation_ridge});
    if (!(calibration.linear.max_flops_ratio > 0))
        raise<ArgumentError>({"compress: max_flops_ratio must be above 0, got ",
                              calibration.linear.max_flops_ratio});
    validate(calibration.linear.fit);
    if (calibration.inputs == CompressInputs::dense && calibration.resume.empty())
        throw ArgumentError(
            "compress: layers apart, from dense inputs, need a folder to resume from");
    for (const auto& [module, share] : calibration.shares)
        if (!(share > 0 && share <= 1))
            raise<ArgumentError>(
                {"compress: the share of ", module, " must be above 0 and at most 1, got ", share});
}

}  // namespace mpo::detail

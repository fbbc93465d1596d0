// The bodies of model/compress_request.hpp that are no templates.
#pragma once

#include <nlohmann/json.hpp>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/calibrated_linear.hpp"
#include "mpo/model/compress_request.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/json_lines.hpp"
#include "mpo/model/made_by.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json requested(const FitOptions& fit) {
    constexpr std::string_view starts[] = {"plain", "whitened"};
    constexpr std::string_view solvers[] = {"automatic", "direct", "iterative"};
    return {{"fit_start", name_of(fit.start, starts)},    {"fit_ridge", fit.ridge},
            {"fit_max_sweeps", fit.max_sweeps},           {"fit_min_gain", fit.min_gain},
            {"fit_solver", name_of(fit.solver, solvers)}, {"fit_max_direct", fit.max_direct},
            {"fit_max_iterations", fit.max_iterations}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json requested(const Checkpoint& source,
                                                         const CompressOptions& options,
                                                         const CompressCalibration& calibration) {
    constexpr std::string_view forms[] = {"automatic", "mpo", "low_rank"};
    constexpr std::string_view objectives[] = {"before_healing", "after_healing"};
    const auto& linear = calibration.linear;
    const auto& model = calibration.walk.model;
    auto layouts = nlohmann::ordered_json::object();
    for (const auto& [kind, layout] : options.layouts) layouts[to_string(kind)] = to_string(layout);
    nlohmann::ordered_json json{
        {"schema_version", 1},
        {"mpo", version_text()},
        {"model", fingerprint(source)},
        {"tokens", fingerprint(calibration.windows)},
        {"budget", or_null(options.budget)},
        {"budget_bytes", or_null(options.budget_bytes)},
        {"form", name_of(options.form, forms)},
        {"sites", options.sites},
        {"layouts", std::move(layouts)},
        {"only", options.only},
        {"skip", options.skip},
        {"dtype", to_string(options.dtype)},
        {"stored_as", to_string(options.stored_as)},
        {"seed", options.seed},
        {"sink_factor", calibration.walk.sink_factor},
        {"reader_sink_weight", calibration.walk.reader_sink_weight},
        {"precision", static_cast<int>(model.precision)},
        {"sink_weight", calibration.sink_weight},
        {"compensation", std::string(calibration.compensation == Compensation::on ? "on" : "off") +
                             (calibration.inputs == CompressInputs::dense ? ", layers apart" : "")},
        {"compensation_ridge", calibration.compensation_ridge},
        {"shares", nlohmann::ordered_json(calibration.shares)},
        {"max_flops_ratio", linear.max_flops_ratio},  // null: no bound
        {"objective", name_of(linear.objective, objectives)},
        {"rivals", linear.rivals == Rivals::all ? "all" : "none"}};
    json.update(requested(linear.fit));
    return json;
}

}  // namespace mpo::detail

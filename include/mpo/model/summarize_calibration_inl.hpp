// The bodies of model/summarize_calibration.hpp that are no templates.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/summarize_calibration.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::vector<SinkReport> sink_reports(
    const std::vector<SinkPosition>& sinks) {
    std::vector<SinkReport> reports;
    std::set<std::pair<std::string, Index>> windows;
    for (const auto& sink : sinks) {
        const auto module = sink.module();
        auto found = std::find_if(reports.begin(), reports.end(), [&](const SinkReport& report) {
            return report.module == module;
        });
        if (found == reports.end()) found = reports.insert(found, {module});
        if (windows.insert({module, sink.window}).second) ++found->windows;
        ++found->positions;
        found->norm += sink.norm;
        found->median += sink.median;
    }
    for (auto& report : reports) {
        report.norm /= static_cast<double>(report.positions);
        report.median /= static_cast<double>(report.positions);
    }
    return reports;
}

MPO_DETAIL_MODEL_INLINE CalibrationRun summarize(const CalibrationWalk& walk,
                                                 const std::vector<LinearReport>& linears) {
    CalibrationRun run;
    run.windows = static_cast<Index>(walk.windows().size());
    for (const auto& window : walk.windows())
        run.tokens += static_cast<Index>(window.tokens.size());
    for (const auto& linear : linears)
        run.most_inputs = (std::max)(run.most_inputs, linear.shape.at(1));
    run.sinks = sink_reports(walk.sinks());
    run.deviations = walk.deviations();
    return run;
}

}  // namespace mpo

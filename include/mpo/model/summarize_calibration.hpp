// What is kept of a CalibrationWalk that has come to its end.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mpo/model/calibration_run.hpp"
#include "mpo/model/calibration_walk.hpp"
#include "mpo/model/compress_report.hpp"
#include "mpo/model/sinks.hpp"

namespace mpo {

/// Sinks added up by the module that made them, in order of appearance.
[[nodiscard]] inline std::vector<SinkReport> sink_reports(const std::vector<SinkPosition>& sinks) {
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

/// walk: all layers lie behind; linears: those that were calibrated. The texts' names are the caller's.
[[nodiscard]] inline CalibrationRun summarize(const CalibrationWalk& walk,
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

// The bodies of model/calibration_json.hpp that are no templates.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/calibration_json.hpp"
#include "mpo/model/calibration_run.hpp"
#include "mpo/model/json_lines.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json layout_json(const Layout& layout) {
    return {{"out", layout.out}, {"in", layout.in}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const FitCandidate& candidate) {
    return {{"layout", layout_json(candidate.layout)},
            {"bonds", candidate.bonds},
            {"parameters", candidate.parameters},
            {"multiply_adds", candidate.multiply_adds},
            {"start_loss", or_null(candidate.start_loss)},
            {"first_loss", or_null(candidate.first_loss)},
            {"loss", or_null(candidate.loss)},
            {"why", candidate.why}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const CalibrationReport& report,
                                                       const std::string& source_type) {
    auto rivals = nlohmann::ordered_json::array(), candidates = rivals;
    for (const auto& rival : report.rivals)
        rivals.push_back({{"form", rival.form},
                          {"bits_per_weight", rival.bits_per_weight},
                          {"loss", rival.loss},
                          {"comparable", is_comparable(rival, source_type)}});
    for (const auto& candidate : report.candidates) candidates.push_back(to_json(candidate));
    return {{"share", report.share},
            {"loss", report.loss},
            {"fitted_loss", report.fitted_loss},
            {"low_rank_loss", report.low_rank_loss},
            {"sweeps", report.sweeps},
            {"verdict", report.verdict},
            {"rivals", std::move(rivals)},
            {"candidates", std::move(candidates)}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const CalibratedKind& kind) {
    auto winners = nlohmann::ordered_json::array();
    for (const auto& winner : kind.winners)
        winners.push_back({{"form", to_string(winner.form)},
                           {"layout", layout_json(winner.layout)},
                           {"count", winner.count}});
    return {{"kind", to_string(kind.kind)},
            {"count", kind.count},
            {"mean_loss", kind.mean_loss},
            {"max_loss", kind.max_loss},
            {"mean_low_rank_loss", kind.mean_low_rank_loss},
            {"mean_plain_mpo_loss", or_null(kind.mean_plain_loss)},
            {"mpo", kind.mpo_count},
            {"beaten", kind.beaten_count},
            {"winners", std::move(winners)}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json calibration_json(const CompressReport& report) {
    const auto& run = *report.calibration;
    auto sinks = nlohmann::ordered_json::array(), deviations = sinks, kinds = sinks, better = sinks;
    for (const auto& sink : run.sinks)
        sinks.push_back({{"module", sink.module},
                         {"windows", sink.windows},
                         {"positions", sink.positions},
                         {"norm", sink.norm},
                         {"median", sink.median}});
    for (const auto& one : run.deviations)
        deviations.push_back({{"layer", one.layer},
                              {"ordinary", one.ordinary},
                              {"sinks", one.sinks},
                              {"worst_sink", one.worst_sink}});
    for (const auto& kind : calibrated_kinds(report)) kinds.push_back(to_json(kind));
    for (const auto& one : better_storage(report))
        better.push_back({{"form", one.form}, {"count", one.count}});
    return {{"texts", run.texts},
            {"windows", run.windows},
            {"tokens", run.tokens},
            {"most_inputs", run.most_inputs},
            {"fewer_tokens_than_inputs", run.has_few_tokens()},
            {"sinks", std::move(sinks)},
            {"deviations", std::move(deviations)},
            {"kinds", std::move(kinds)},
            {"better", std::move(better)}};
}

}  // namespace mpo::detail

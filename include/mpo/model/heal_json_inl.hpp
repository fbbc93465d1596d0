// The bodies of model/heal_json.hpp that are no templates.
#pragma once

#include <nlohmann/json.hpp>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/heal_json.hpp"
#include "mpo/model/json_lines.hpp"

namespace mpo {
namespace detail {

/// A stage: what it was asked for and what it cost.
[[nodiscard]] inline nlohmann::ordered_json stage_json(nlohmann::ordered_json settings,
                                                       const HealCost& cost) {
    return {{"settings", std::move(settings)},
            {"parameters", cost.parameters},
            {"steps", cost.steps},
            {"tokens_per_step", cost.tokens_per_step},
            {"tokens_seen", cost.tokens_seen()},
            {"seconds_per_step", cost.seconds_per_step},
            {"peak_bytes", cost.peak_bytes > 0 ? nlohmann::ordered_json(cost.peak_bytes)
                                               : nlohmann::ordered_json(nullptr)}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const HealedText& text) {
    constexpr const char* names[] = {"before", "blocks", "distillation"};
    nlohmann::ordered_json json{{"text", text.text}};
    if (!text.forms.empty()) json["teacher"] = detail::to_json(text.forms.front().result.reference);
    for (const auto& form : text.forms)
        json[names[static_cast<int>(form.form)]] = detail::to_json(form.result);
    return json;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json describe(const HealResults& results) {
    const auto& report = results.report;
    nlohmann::ordered_json json{
        {"schema_version", 1},
        {"student", results.student},
        {"teacher", results.teacher},
        {"made_by", detail::to_json(results.made_by)},
        {"texts", results.texts},
        {"windows", report.windows},
        {"held_out", report.held_out},
        {"tokens_per_window", report.tokens_per_window},
        {"seconds", report.seconds},
        {"blocks", nullptr},
        {"layers", nlohmann::ordered_json::array()},
        {"distillation", nullptr},
        {"curve", nlohmann::ordered_json::array()},
        {"evaluation", nlohmann::ordered_json::array()},
    };
    if (!results.options.rival.empty()) {
        json["rival"] = results.options.rival.string();
        json["choose_by"] = detail::name_of(results.options.blocks->choose_by);
    }
    for (const auto& cost : results.costs)
        if (cost.stage == HealStage::blocks)
            json["blocks"] =
                detail::stage_json(detail::settings_json(*results.options.blocks), cost);
        else
            json["distillation"] =
                detail::stage_json(detail::settings_json(*results.options.distillation), cost);
    json["layers"] = detail::to_json(report.blocks);
    if (report.distillation) {
        auto curve = detail::to_json(*report.distillation);
        json["distillation"]["best_step"] = curve["best_step"];
        json["curve"] = std::move(curve["curve"]);
    }
    for (const auto& text : results.evaluation) json["evaluation"].push_back(detail::to_json(text));
    return json;
}

MPO_DETAIL_MODEL_INLINE std::string to_json(const HealResults& results) {
    return detail::json_lines(describe(results));
}

}  // namespace mpo

// What is known of a run of healing afterwards: what it was asked for, what it did and cost, and what became of
// texts. heal_json.hpp writes it, heal_report.hpp draws it.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/evaluate_results.hpp"
#include "mpo/model/heal.hpp"
#include "mpo/model/made_by.hpp"

namespace mpo {

/// A stage as a row of a training table.
struct HealCost {
    HealStage stage = HealStage::blocks;  // blocks or distillation
    Index parameters = 0;                 // that it trained
    Index steps = 0;                      // of the block stage: of all layers together
    Index tokens_per_step = 0;            // over all processes
    double seconds_per_step = 0;          // mean
    Index peak_bytes = 0;  // of the process until its last look, its caller's; 0: not known

    /// Positions that were trained on, as often as they were.
    [[nodiscard]] Index tokens_seen() const { return steps * tokens_per_step; }
    /// Of a step.
    [[nodiscard]] double tokens_per_second() const {
        return seconds_per_step > 0 ? static_cast<double>(tokens_per_step) / seconds_per_step : 0;
    }
};

/// A model on its way through healing.
enum class HealedForm { compressed, blocks, distilled };

/// What it is called in tables.
[[nodiscard]] inline std::string_view title_of(HealedForm form) {
    constexpr std::string_view titles[] = {"before healing", "after the block stage",
                                           "after distillation"};
    return titles[static_cast<int>(form)];
}

/// A form, beside the teacher.
struct HealedFormResult {
    HealedForm form = HealedForm::compressed;  // which
    Comparison result = {};                    // the teacher is its reference
};

/// A text under every form.
struct HealedText {
    std::string text;                          // its file
    std::vector<HealedFormResult> forms = {};  // in the order of healing
};

/// All of it.
struct HealResults {
    MadeBy made_by = {};                      // the command line is its caller's
    std::string student;                      // path, as given
    std::string teacher;                      // path, as given
    std::vector<std::string> texts = {};      // trained on
    HealOptions options = {};                 // as asked
    HealReport report = {};                   // as heal returned it
    std::vector<HealCost> costs = {};         // one per stage that was run
    std::vector<HealedText> evaluation = {};  // of other texts
};

/// Numbers that a stage trains of a compressed model: distillation of all layers, the block stage of those that have
/// a chain, or all where dense weights are trained. A chain counts with all numbers of its cores, whatever the gauge
/// leaves of them on the disk.
[[nodiscard]] inline Index trained_parameters(const CompressedCheckpoint& student,
                                              const TrainedParts& parts, HealStage stage) {
    Index sum = 0;
    if (parts.cores)
        for (const auto& linear : student.linears())
            for (Index k = 0; k < num_sites(linear.layout); ++k) {
                const auto at = static_cast<std::size_t>(k);
                sum += linear.bonds[at] * linear.layout.out[at] * linear.layout.in[at] *
                       linear.bonds[at + 1];
            }
    const auto is_healed = [&](std::string_view tensor) {  // what is in "model.layers.3."
        const auto layer =
            tensor.substr(0, tensor.find('.', tensor.find_first_of("0123456789")) + 1);
        return parts.weights ||
               std::any_of(student.linears().begin(), student.linears().end(),
                           [&](const auto& linear) { return linear.name.starts_with(layer); });
    };
    const bool has_head = student.checkpoint().contains("lm_head.weight");
    for (const auto& tensor : student.checkpoint().tensors()) {
        if (student.core_of(tensor.name).linear != nullptr) continue;
        const std::string_view name = tensor.name;
        const bool inside = name.starts_with("model.layers.");
        if (stage == HealStage::blocks && (!inside || !is_healed(name))) continue;
        bool trained =
            parts.norms && (name.ends_with("layernorm.weight") || name == "model.norm.weight");
        if (inside && name.ends_with(".bias")) trained = parts.biases;
        if (inside && name.ends_with("_proj.weight")) trained = parts.weights;
        if (name == "model.embed_tokens.weight")
            trained = parts.embedding || (parts.head && !has_head);
        if (name == "lm_head.weight") trained = parts.head;
        if (trained) sum += num_elements(tensor.shape);
    }
    return sum;
}

/// The training table of a run; peaks of memory are its caller's.
[[nodiscard]] inline std::vector<HealCost> heal_costs(const HealReport& report,
                                                      const HealOptions& options,
                                                      const CompressedCheckpoint& student) {
    std::vector<HealCost> costs;
    if (options.blocks) {
        HealCost cost{HealStage::blocks,
                      trained_parameters(student, options.blocks->parts, HealStage::blocks),
                      0,
                      options.blocks->batch_windows * report.tokens_per_window,
                      0,
                      0};
        double seconds = 0;
        for (const auto& layer : report.blocks) {
            const Index steps = layer.curve.back().step;
            cost.steps += steps;
            seconds += layer.seconds_per_step * static_cast<double>(steps);
        }
        if (cost.steps > 0) cost.seconds_per_step = seconds / static_cast<double>(cost.steps);
        costs.push_back(cost);
    }
    if (report.distillation)
        costs.push_back(
            {HealStage::distillation,
             trained_parameters(student, options.distillation->parts, HealStage::distillation),
             report.distillation->curve.back().step,
             options.distillation->batch_windows * report.tokens_per_window,
             report.distillation->seconds_per_step, 0});
    return costs;
}

}  // namespace mpo

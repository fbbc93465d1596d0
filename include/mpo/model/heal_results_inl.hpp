// The bodies of model/heal_results.hpp that are no templates.
#pragma once

#include <algorithm>
#include <variant>

#include "mpo/io/inline.hpp"
#include "mpo/model/heal_results.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::string_view title_of(HealedForm form) {
    constexpr std::string_view titles[] = {"before healing", "after the block stage",
                                           "after distillation"};
    return titles[static_cast<int>(form)];
}

MPO_DETAIL_MODEL_INLINE std::vector<Index> layers_of_rival(const HealReport& report) {
    std::vector<Index> layers;
    for (const auto& layer : report.blocks)
        if (layer.form == LayerForm::rival) layers.push_back(layer.layer);
    return layers;
}

MPO_DETAIL_MODEL_INLINE Index trained_parameters(const CompressedCheckpoint& student,
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

MPO_DETAIL_MODEL_INLINE std::vector<HealCost> heal_costs(const HealReport& report,
                                                         const HealOptions& options,
                                                         const CompressedCheckpoint& model) {
    std::vector<HealCost> costs;
    if (options.blocks) {
        HealCost cost{HealStage::blocks,
                      trained_parameters(model, options.blocks->parts, HealStage::blocks),
                      0,
                      options.blocks->batch_windows * report.tokens_per_window,
                      0,
                      0};
        double seconds = 0;
        const auto add = [&](const HealCourse& course) {
            const Index steps = course.curve.back().step;
            cost.steps += steps;
            seconds += course.seconds_per_step * static_cast<double>(steps);
        };
        for (const auto& layer : report.blocks) {
            add(layer);
            if (layer.other) add(*layer.other);
        }
        if (cost.steps > 0) cost.seconds_per_step = seconds / static_cast<double>(cost.steps);
        costs.push_back(cost);
    }
    if (report.distillation)
        costs.push_back(
            {HealStage::distillation,
             trained_parameters(model, options.distillation->parts, HealStage::distillation),
             report.distillation->curve.back().step,
             options.distillation->batch_windows * report.tokens_per_window,
             report.distillation->seconds_per_step, 0});
    return costs;
}

}  // namespace mpo

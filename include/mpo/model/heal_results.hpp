// What is known of a run of healing afterwards: what it was asked for, what it did and cost, and what became of
// texts. heal_json.hpp writes it, heal_report.hpp draws it.
#pragma once

#include <string>
#include <string_view>
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
[[nodiscard]] std::string_view title_of(HealedForm form);

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

/// Layers whose form was the rival's, where there was a choice.
[[nodiscard]] std::vector<Index> layers_of_rival(const HealReport& report);

/// Numbers that a stage trains of a compressed model: distillation of all layers, the block stage of those that have
/// a chain, or all where dense weights are trained. A chain counts with all numbers of its cores, whatever the gauge
/// leaves of them on the disk.
[[nodiscard]] Index trained_parameters(const CompressedCheckpoint& student,
                                       const TrainedParts& parts, HealStage stage);

/// The training table of a run; peaks of memory are its caller's. Steps and time of a layer's other form count, its
/// parameters do not.
///
/// model   the student, or with a rival what was made of both: forms as they were kept
[[nodiscard]] std::vector<HealCost> heal_costs(const HealReport& report, const HealOptions& options,
                                               const CompressedCheckpoint& model);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_results_inl.hpp"
#endif

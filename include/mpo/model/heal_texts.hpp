// What healing did to texts that it was not trained on: the same texts under every form of the model, beside the
// teacher, one form in memory at a time.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/evaluate.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/heal_results.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

/// A form, and where it lies.
struct HealedPath {
    HealedForm form = HealedForm::compressed;  // which
    std::filesystem::path path;                // its folder
};

/// Every text under every form, beside the teacher.
///
/// forms    in the order of healing
/// options  window, stride and progress; nothing is timed
/// cost     per form one pass of it and one of the teacher over all texts. Memory: both, MPOs perhaps with the dense
///          W that is faster to apply, and one window
/// throws   as the constructor of Transformer, and as compare
[[nodiscard]] inline std::vector<HealedText> compare_healed(
    const std::filesystem::path& teacher, const std::vector<HealedPath>& forms,
    const std::vector<EvaluationText>& texts, const CompareFormsOptions& options,
    const EigenBackend& backend) {
    std::vector<HealedText> results;
    if (texts.empty()) return results;
    TransformerOptions model_options;
    model_options.dense_cache = DenseCache::allow;
    const Transformer reference(teacher, model_options, backend);
    for (const auto& text : texts) results.push_back({text.name, {}});
    for (const auto& form : forms) {
        const Transformer model(form.path, model_options, backend);
        for (std::size_t k = 0; k < texts.size(); ++k) {
            const auto what = detail::concat(texts[k].name, " ", title_of(form.form));
            results[k].forms.push_back(
                {form.form, compare(model, reference, texts[k].tokens,
                                    detail::options_for(texts[k], options, what))});
        }
    }
    return results;
}

}  // namespace mpo

// The bodies of model/heal_texts.hpp that are no templates.
#pragma once

#include <string>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/evaluate.hpp"
#include "mpo/model/heal_texts.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::vector<HealedText> compare_healed(
    const std::filesystem::path& teacher, const std::vector<HealedPath>& forms,
    const std::vector<EvaluationText>& texts, const CompareFormsOptions& options,
    const EigenBackend& backend) {
    std::vector<HealedText> results;
    if (texts.empty()) return results;
    const auto model_options = detail::judging_options(options);
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

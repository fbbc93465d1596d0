// What healing did to texts that it was not trained on: the same texts under every form of the model, beside the
// teacher, one form in memory at a time.
#pragma once

#include <filesystem>
#include <vector>

#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/heal_results.hpp"

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
[[nodiscard]] std::vector<HealedText> compare_healed(const std::filesystem::path& teacher,
                                                     const std::vector<HealedPath>& forms,
                                                     const std::vector<EvaluationText>& texts,
                                                     const CompareFormsOptions& options,
                                                     const EigenBackend& backend);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_texts_inl.hpp"
#endif

// Texts from files as evaluation takes them, and what a compression did to a model's language: the same
// texts under the source and under each form that was made of it, one form in memory at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/compress_report.hpp"
#include "mpo/model/evaluate_windows.hpp"
#include "mpo/model/token_speed.hpp"
#include "mpo/model/tokenizer.hpp"

namespace mpo {

/// A text as tokens.
struct EvaluationText {
    std::string name;           // its file
    std::vector<Index> tokens;  // at least 2
    Index bytes = 0;            // that they spell
};

/// Hears how far an evaluation is: of what, how much of how much; and may cancel it.
using EvaluationProgress =
    std::function<ProgressReply(std::string_view what, Index done, Index count)>;

/// Reads a text and its first `max_tokens` tokens, all of them where that is 0. It begins with the token that
/// texts began with in training, and control tokens in it are text.
///
/// throws   FileError; ArgumentError, naming the file, for an empty text, a single token, max_tokens < 0,
///          and a byte that no token spells
[[nodiscard]] EvaluationText read_evaluation_text(const std::filesystem::path& path,
                                                  const Tokenizer& tokenizer, Index max_tokens = 0);

/// Throws ArgumentError where the tokenizer has tokens that the model, of vocab_size, does not know. A model may
/// have more rows than tokens: they are padding.
void require_fitting_vocabulary(const Tokenizer& tokenizer, Index vocab_size,
                                const std::string& model);

/// Throws ArgumentError where an id means different tokens to `one` and to the `other`, naming the first such id.
void require_same_vocabulary(const Tokenizer& one, const Tokenizer& other);

/// A form of a model, and where it lies.
struct FormPath {
    ComparedForm form = ComparedForm::compressed;  // which
    std::filesystem::path path;                    // its folder
};

/// Folders and files of one model in several forms. Forms that are the same model may have the same path.
struct FormPaths {
    std::filesystem::path source;  // dense: the reference of all forms
    std::vector<FormPath> forms;   // what was written first
};

/// How texts are compared under the forms of a model.
struct CompareFormsOptions {
    Index window = 512;                // tokens that a model sees at once
    Index stride = 512;                // from one window to the next
    EvaluationProgress progress = {};  // after every window
    TokenSpeedOptions speed = {};      // of the costs
};

namespace detail {

/// How a model is opened to be judged on windows: chains planned for them, and no dense W beside the cores,
/// because two models are in memory. All judges agree to the bit by it.
[[nodiscard]] TransformerOptions judging_options(const CompareFormsOptions& options);

[[nodiscard]] EvaluateOptions options_for(const EvaluationText& text,
                                          const CompareFormsOptions& options,
                                          const std::string& what);

}  // namespace detail

/// Throws ArgumentError where one of the texts or an option does not fit a model, before anything is computed.
void require_comparable(const std::vector<EvaluationText>& texts,
                        const CompareFormsOptions& options, const TransformerConfig& model);

/// Every text under every form of a model, beside the source, with what each of them costs.
///
/// cost     per distinct form one pass of it and one of the source over all texts, and those of
///          measure_batches. Memory: the source, one form, and one window
/// throws   as the constructor of Transformer, as compare and measure_cost
[[nodiscard]] std::vector<TextReport> compare_forms(const FormPaths& paths,
                                                    const std::vector<EvaluationText>& texts,
                                                    const CompareFormsOptions& options,
                                                    const EigenBackend& backend);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/evaluate_texts_inl.hpp"
#endif

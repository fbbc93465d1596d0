// One model, or one beside its reference, on many files: everything is read before anything is computed, so
// that a bad line costs nothing; then texts, choices, questions and summaries, in this order. docs/schema/evaluate.json
// says what every member of the JSON means.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/choices.hpp"
#include "mpo/model/evaluate_items.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/items.hpp"
#include "mpo/model/made_by.hpp"
#include "mpo/model/mcnemar.hpp"
#include "mpo/model/tokenizer.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

/// What is to be evaluated on what. The layout of items is found from their fields.
struct EvaluationRequest {
    std::filesystem::path model;                        // dense or compressed
    std::filesystem::path reference = {};               // empty: none
    std::filesystem::path tokenizer = {};               // empty: beside the model
    std::vector<std::filesystem::path> texts = {};      // for perplexity and divergence
    std::vector<std::filesystem::path> choices = {};    // JSONL of read_choice_items
    std::vector<std::filesystem::path> questions = {};  // JSONL of read_question_items
    std::vector<std::filesystem::path> summaries = {};  // JSONL of read_summary_items
    Index window = 512;                                 // see EvaluateOptions
    Index stride = 512;                                 // see EvaluateOptions
    Index max_tokens = 0;                               // of every text; 0: all
    Index max_items = 0;                                // of every file of items; 0: all
    Index max_answer_tokens = 256;                      // of an answer; of a summary at most 100
    EvaluationProgress progress = {};                   // hears of every window and item
};

/// One text. Without a reference only result.model means anything.
struct TextEvaluation {
    std::string text;   // its file
    Comparison result;  // of the model and its reference
};

/// One file of items: what became of the model, and of its reference where there is one.
template <class Results>
struct ItemEvaluation {
    std::string items;                 // its file
    Index count = 0;                   // items
    Results model;                     // of the model
    std::optional<Results> reference;  // of its reference
};

/// Everything that was asked for.
struct EvaluationReport {
    std::string model;                                      // as asked
    std::string reference;                                  // as asked; empty: none
    MadeBy made_by;                                         // the command line is its caller's
    std::vector<TextEvaluation> texts;                      // perplexity, divergence
    std::vector<ItemEvaluation<ChoiceResults>> choices;     // acc, acc_norm
    std::vector<ItemEvaluation<AnswerResults>> questions;   // exact match
    std::vector<ItemEvaluation<SummaryResults>> summaries;  // ROUGE
};

namespace detail {

/// A file of items, read.
template <class Item>
struct ItemFile {
    std::string name;
    std::vector<Item> items;
};

/// Everything that is read before anything is computed, and the models.
class Evaluation {
  public:
    Evaluation(const EvaluationRequest& request, const EigenBackend& backend);

    void run(EvaluationReport& report) const;

  private:
    void open(std::optional<Transformer>& model, const std::filesystem::path& path,
              const EigenBackend& backend) const;

    [[nodiscard]] TextEvaluation evaluate(const EvaluationText& text) const;

    template <class Item, class Results, class Run>
    void evaluate_files(const std::vector<ItemFile<Item>>& files,
                        std::vector<ItemEvaluation<Results>>& reports, Run&& run) const {
        for (const auto& file : files) {
            const auto progress = [&](const std::string& what) {
                return [this, what](Index done, Index count) {
                    return request_.progress ? request_.progress(what, done, count)
                                             : ProgressReply::go_on;
                };
            };
            ItemEvaluation<Results> result{file.name,
                                           static_cast<Index>(file.items.size()),
                                           run(*model_, file.items, progress(file.name)),
                                           {}};
            if (reference_)
                result.reference =
                    run(*reference_, file.items, progress(file.name + " (reference)"));
            reports.push_back(std::move(result));
        }
    }

    const EvaluationRequest& request_;
    Tokenizer tokenizer_;
    std::vector<EvaluationText> texts_;
    std::vector<ItemFile<ChoiceItem>> choices_;
    std::vector<ItemFile<QuestionItem>> questions_;
    std::vector<ItemFile<SummaryItem>> summaries_;
    CompareFormsOptions options_;
    std::optional<Transformer> model_, reference_;
};

}  // namespace detail

/// Evaluates one model, beside its reference where one is named.
///
/// cost     memory: both models, MPOs perhaps with the dense W that is faster to apply, and one window
/// throws   FileError and FormatError, with file and line, before anything is computed; ArgumentError where
///          vocabularies disagree, naming the first token that does, and for texts, options and items that do
///          not fit a model; as the constructor of Transformer; NumericalError; Cancelled
[[nodiscard]] EvaluationReport evaluate(const EvaluationRequest& request,
                                        const EigenBackend& backend);

namespace detail {

[[nodiscard]] nlohmann::ordered_json to_json(const McNemar& test);

[[nodiscard]] nlohmann::ordered_json to_json(const ChoiceResults& results);

[[nodiscard]] nlohmann::ordered_json to_json(const AnswerResults& results);

[[nodiscard]] nlohmann::ordered_json to_json(const RougeMeans& means);

[[nodiscard]] nlohmann::ordered_json to_json(const SummaryResults& results);

void add_tests(nlohmann::ordered_json& json, const ChoiceResults& model,
               const ChoiceResults& reference);
void add_tests(nlohmann::ordered_json& json, const AnswerResults& model,
               const AnswerResults& reference);
void add_tests(nlohmann::ordered_json&, const SummaryResults&, const SummaryResults&);

template <class Results>
[[nodiscard]] nlohmann::ordered_json to_json(const std::vector<ItemEvaluation<Results>>& files) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& file : files) {
        nlohmann::ordered_json json{{"items", file.items}, {"count", file.count}};
        json.update(to_json(file.model));
        if (file.reference) {
            json["reference"] = to_json(*file.reference);
            add_tests(json, file.model, *file.reference);
        }
        list.push_back(std::move(json));
    }
    return list;
}

[[nodiscard]] nlohmann::ordered_json describe(const EvaluationReport& report);

}  // namespace detail

/// The whole report as a JSON object: one line per member, text and file of items.
[[nodiscard]] std::string to_json(const EvaluationReport& report);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/evaluation_inl.hpp"
#endif

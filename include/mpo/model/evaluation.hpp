// One model, or one beside its reference, on many files: everything is read before anything is computed, so
// that a bad line costs nothing; then texts, choices, questions and summaries, in this order. docs/schema/evaluate.json
// says what every member of the JSON means.
#pragma once

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/bootstrap.hpp"
#include "mpo/model/choices.hpp"
#include "mpo/model/evaluate.hpp"
#include "mpo/model/evaluate_items.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/items.hpp"
#include "mpo/model/json_lines.hpp"
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

template <class Item, class Read>
[[nodiscard]] std::vector<ItemFile<Item>> read_item_files(
    const std::vector<std::filesystem::path>& paths, Index max_items, Read&& read) {
    std::vector<ItemFile<Item>> files;
    for (const auto& path : paths) {
        files.push_back({path.string(), read(path)});
        auto& items = files.back().items;
        if (max_items > 0 && static_cast<Index>(items.size()) > max_items)
            items.erase(items.begin() + max_items, items.end());
    }
    return files;
}

/// The tokenizer of a model, where there is one beside it.
[[nodiscard]] inline std::optional<Tokenizer> find_tokenizer(const std::filesystem::path& model) {
    try {
        return read_tokenizer(model);
    } catch (const FileError&) {
        return std::nullopt;
    }
}

/// Everything that is read before anything is computed, and the models.
class Evaluation {
  public:
    Evaluation(const EvaluationRequest& request, const EigenBackend& backend)
        : request_(request),
          tokenizer_(
              read_tokenizer(request.tokenizer.empty() ? request.model : request.tokenizer)) {
        if (request.max_items < 0)
            raise<ArgumentError>({"evaluate: max_items must be >= 0, got ", request.max_items});
        for (const auto& path : request.texts)
            texts_.push_back(read_evaluation_text(path, tokenizer_, request.max_tokens));
        const Index most = request.max_items;
        choices_ = read_item_files<ChoiceItem>(request.choices, most,
                                               [](const auto& p) { return read_choice_items(p); });
        questions_ = read_item_files<QuestionItem>(
            request.questions, most, [](const auto& p) { return read_question_items(p); });
        summaries_ = read_item_files<SummaryItem>(
            request.summaries, most, [](const auto& p) { return read_summary_items(p); });
        if (texts_.empty() && choices_.empty() && questions_.empty() && summaries_.empty())
            throw ArgumentError("evaluate: there is nothing to evaluate on");
        options_ = {request.window, request.stride, request.progress};
        if (request.tokenizer.empty() && !request.reference.empty())
            if (const auto other = find_tokenizer(request.reference))
                require_same_vocabulary(tokenizer_, *other);
        open(model_, request.model, backend);
        if (!request.reference.empty()) open(reference_, request.reference, backend);
        if (reference_ && model_->config().vocab_size != reference_->config().vocab_size)
            raise<ArgumentError>({"the vocabularies of ", request.model.string(), " and ",
                                  request.reference.string(),
                                  " differ: ", model_->config().vocab_size, " and ",
                                  reference_->config().vocab_size, " tokens"});
    }

    void run(EvaluationReport& report) const {
        for (const auto& text : texts_) report.texts.push_back(evaluate(text));
        evaluate_files(choices_, report.choices,
                       [&](const Transformer& model, const auto& items, ItemProgress progress) {
                           return evaluate_choices(model, tokenizer_, items, progress);
                       });
        AnswerOptions answer{request_.max_answer_tokens, {}};
        evaluate_files(questions_, report.questions,
                       [&](const Transformer& model, const auto& items, ItemProgress progress) {
                           answer.progress = std::move(progress);
                           return evaluate_answers(model, tokenizer_, items, answer);
                       });
        answer.max_tokens = (std::min)(answer.max_tokens, AnswerOptions::summary_tokens);
        evaluate_files(summaries_, report.summaries,
                       [&](const Transformer& model, const auto& items, ItemProgress progress) {
                           answer.progress = std::move(progress);
                           return evaluate_summaries(model, tokenizer_, items, answer);
                       });
    }

  private:
    void open(std::optional<Transformer>& model, const std::filesystem::path& path,
              const EigenBackend& backend) const {
        TransformerOptions options;
        options.dense_cache = DenseCache::allow;
        model.emplace(path, options, backend);
        require_fitting_vocabulary(tokenizer_, model->config().vocab_size, path.string());
    }

    [[nodiscard]] TextEvaluation evaluate(const EvaluationText& text) const {
        TextEvaluation result{text.name, {}};
        const auto options = options_for(text, options_, text.name);
        if (reference_)
            result.result = compare(*model_, *reference_, text.tokens, options);
        else
            result.result.model = perplexity(*model_, text.tokens, options);
        return result;
    }

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
[[nodiscard]] inline EvaluationReport evaluate(const EvaluationRequest& request,
                                               const EigenBackend& backend) {
    const detail::Evaluation evaluation(request, backend);
    EvaluationReport report;
    report.model = request.model.string();
    report.reference = request.reference.string();
    report.made_by = {version_text(), compiler_text(), {}, 1, num_threads()};
    evaluation.run(report);
    return report;
}

namespace detail {

[[nodiscard]] inline nlohmann::ordered_json to_json(const McNemar& test) {
    return {{"only_model", test.only_first},    {"only_reference", test.only_second},
            {"difference", test.difference},    {"difference_error", test.standard_error},
            {"exact_p", test.exact_p},          {"chi_square", test.chi_square},
            {"chi_square_p", test.chi_square_p}};
}

[[nodiscard]] inline nlohmann::ordered_json to_json(const ChoiceResults& results) {
    const auto& summary = results.summary;
    return {{"cut", results.num_cut},
            {"acc", summary.acc.value},
            {"acc_error", summary.acc.standard_error},
            {"acc_norm", summary.acc_norm.value},
            {"acc_norm_error", summary.acc_norm.standard_error},
            {"acc_bytes", summary.acc_bytes.value},
            {"acc_bytes_error", summary.acc_bytes.standard_error}};
}

[[nodiscard]] inline nlohmann::ordered_json to_json(const AnswerResults& results) {
    return {{"cut", results.num_cut},
            {"exact_match", results.exact_match.value},
            {"exact_match_error", results.exact_match.standard_error}};
}

[[nodiscard]] inline nlohmann::ordered_json to_json(const RougeMeans& means) {
    const auto interval = [](const MeanInterval& mean) {
        return nlohmann::ordered_json{{"f1", mean.mean},
                                      {"f1_error", mean.standard_error},
                                      {"low", mean.low},
                                      {"high", mean.high}};
    };
    return {{"rouge1", interval(means.rouge_1)},
            {"rouge2", interval(means.rouge_2)},
            {"rougeL", interval(means.rouge_l)},
            {"rougeLsum", interval(means.rouge_lsum)}};
}

[[nodiscard]] inline nlohmann::ordered_json to_json(const SummaryResults& results) {
    return {{"cut", results.num_cut},
            {"plain", to_json(results.plain)},
            {"stemmed", to_json(results.stemmed)}};
}

inline void add_tests(nlohmann::ordered_json& json, const ChoiceResults& model,
                      const ChoiceResults& reference) {
    json["mcnemar_acc"] = to_json(mcnemar(model, reference, &ChoiceOutcome::right));
    json["mcnemar_acc_norm"] =
        to_json(mcnemar(model, reference, &ChoiceOutcome::right_per_character));
}
inline void add_tests(nlohmann::ordered_json& json, const AnswerResults& model,
                      const AnswerResults& reference) {
    json["mcnemar"] = to_json(mcnemar(model.right, reference.right));
}
inline void add_tests(nlohmann::ordered_json&, const SummaryResults&, const SummaryResults&) {}

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

[[nodiscard]] inline nlohmann::ordered_json describe(const EvaluationReport& report) {
    const bool compared = !report.reference.empty();
    nlohmann::ordered_json json{{"schema_version", 1}, {"model", report.model}};
    if (compared) json["reference"] = report.reference;
    json["made_by"] = to_json(report.made_by);
    json["texts"] = nlohmann::ordered_json::array();
    for (const auto& text : report.texts) {
        nlohmann::ordered_json entry{{"text", text.text}};
        entry.update(compared ? detail::to_json(text.result) : detail::to_json(text.result.model));
        if (compared) entry["reference"] = detail::to_json(text.result.reference);
        json["texts"].push_back(std::move(entry));
    }
    json["choices"] = to_json(report.choices);
    json["questions"] = to_json(report.questions);
    json["summaries"] = to_json(report.summaries);
    return json;
}

}  // namespace detail

/// The whole report as a JSON object: one line per member, text and file of items.
[[nodiscard]] inline std::string to_json(const EvaluationReport& report) {
    return detail::json_lines(detail::describe(report));
}

}  // namespace mpo

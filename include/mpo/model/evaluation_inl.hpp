// The bodies of model/evaluation.hpp that are no templates.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/bootstrap.hpp"
#include "mpo/model/evaluate.hpp"
#include "mpo/model/evaluation.hpp"
#include "mpo/model/json_lines.hpp"

namespace mpo {
namespace detail {

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

MPO_DETAIL_MODEL_INLINE Evaluation::Evaluation(const EvaluationRequest& request,
                                               const EigenBackend& backend)
    : request_(request),
      tokenizer_(read_tokenizer(request.tokenizer.empty() ? request.model : request.tokenizer)) {
    if (request.max_items < 0)
        raise<ArgumentError>({"evaluate: max_items must be >= 0, got ", request.max_items});
    for (const auto& path : request.texts)
        texts_.push_back(read_evaluation_text(path, tokenizer_, request.max_tokens));
    const Index most = request.max_items;
    choices_ = read_item_files<ChoiceItem>(request.choices, most,
                                           [](const auto& p) { return read_choice_items(p); });
    questions_ = read_item_files<QuestionItem>(
        request.questions, most, [](const auto& p) { return read_question_items(p); });
    summaries_ = read_item_files<SummaryItem>(request.summaries, most,
                                              [](const auto& p) { return read_summary_items(p); });
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
                              request.reference.string(), " differ: ", model_->config().vocab_size,
                              " and ", reference_->config().vocab_size, " tokens"});
}

MPO_DETAIL_MODEL_INLINE void Evaluation::run(EvaluationReport& report) const {
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

MPO_DETAIL_MODEL_INLINE void Evaluation::open(std::optional<Transformer>& model,
                                              const std::filesystem::path& path,
                                              const EigenBackend& backend) const {
    const bool only_texts = choices_.empty() && questions_.empty() && summaries_.empty();
    model.emplace(path, only_texts ? judging_options(options_) : TransformerOptions{}, backend);
    require_fitting_vocabulary(tokenizer_, model->config().vocab_size, path.string());
}

MPO_DETAIL_MODEL_INLINE TextEvaluation Evaluation::evaluate(const EvaluationText& text) const {
    TextEvaluation result{text.name, {}};
    const auto options = options_for(text, options_, text.name);
    if (reference_)
        result.result = compare(*model_, *reference_, text.tokens, options);
    else
        result.result.model = perplexity(*model_, text.tokens, options);
    return result;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE EvaluationReport evaluate(const EvaluationRequest& request,
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

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const McNemar& test) {
    return {{"only_model", test.only_first},    {"only_reference", test.only_second},
            {"difference", test.difference},    {"difference_error", test.standard_error},
            {"exact_p", test.exact_p},          {"chi_square", test.chi_square},
            {"chi_square_p", test.chi_square_p}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const ChoiceResults& results) {
    const auto& summary = results.summary;
    return {{"cut", results.num_cut},
            {"acc", summary.acc.value},
            {"acc_error", summary.acc.standard_error},
            {"acc_norm", summary.acc_norm.value},
            {"acc_norm_error", summary.acc_norm.standard_error},
            {"acc_bytes", summary.acc_bytes.value},
            {"acc_bytes_error", summary.acc_bytes.standard_error}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const AnswerResults& results) {
    return {{"cut", results.num_cut},
            {"exact_match", results.exact_match.value},
            {"exact_match_error", results.exact_match.standard_error}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const RougeMeans& means) {
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

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const SummaryResults& results) {
    return {{"cut", results.num_cut},
            {"plain", to_json(results.plain)},
            {"stemmed", to_json(results.stemmed)}};
}

MPO_DETAIL_MODEL_INLINE void add_tests(nlohmann::ordered_json& json, const ChoiceResults& model,
                                       const ChoiceResults& reference) {
    json["mcnemar_acc"] = to_json(mcnemar(model, reference, &ChoiceOutcome::right));
    json["mcnemar_acc_norm"] =
        to_json(mcnemar(model, reference, &ChoiceOutcome::right_per_character));
}

MPO_DETAIL_MODEL_INLINE void add_tests(nlohmann::ordered_json& json, const AnswerResults& model,
                                       const AnswerResults& reference) {
    json["mcnemar"] = to_json(mcnemar(model.right, reference.right));
}

MPO_DETAIL_MODEL_INLINE void add_tests(nlohmann::ordered_json&, const SummaryResults&,
                                       const SummaryResults&) {}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json describe(const EvaluationReport& report) {
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

MPO_DETAIL_MODEL_INLINE std::string to_json(const EvaluationReport& report) {
    return detail::json_lines(detail::describe(report));
}

}  // namespace mpo

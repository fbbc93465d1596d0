// The bodies of model/evaluate_texts.hpp that are no templates.
#pragma once

#include <algorithm>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/evaluate.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE EvaluationText read_evaluation_text(const std::filesystem::path& path,
                                                            const Tokenizer& tokenizer,
                                                            Index max_tokens) {
    if (max_tokens < 0)
        detail::raise<ArgumentError>({"evaluate: max_tokens must be >= 0, got ", max_tokens});
    const std::string name = path.string(), text = read_text_file(path);
    if (text.empty()) detail::raise<ArgumentError>({name, ": the text is empty"});
    EvaluationText result{name, {}, 0};
    auto& tokens = result.tokens;
    const auto& vocabulary = tokenizer.vocabulary();
    if (vocabulary.add_bos) tokens.push_back(*vocabulary.bos);
    const std::size_t begin = tokens.size();
    try {
        const auto ids = tokenizer.encode(text);
        tokens.insert(tokens.end(), ids.begin(), ids.end());
    } catch (const ArgumentError& error) {
        detail::raise<ArgumentError>({name, ": ", error.what()});
    }
    if (max_tokens > 0)
        tokens.resize((std::min)(tokens.size(), static_cast<std::size_t>(max_tokens)));
    if (tokens.size() < 2)
        detail::raise<ArgumentError>({name, ": a text must have at least 2 tokens, one of them to ",
                                      "be predicted, got ", tokens.size()});
    result.bytes = static_cast<Index>(tokenizer.decode(std::span(tokens).subspan(begin)).size());
    return result;
}

MPO_DETAIL_MODEL_INLINE void require_fitting_vocabulary(const Tokenizer& tokenizer,
                                                        Index vocab_size,
                                                        const std::string& model) {
    if (tokenizer.size() > vocab_size)
        detail::raise<ArgumentError>({tokenizer.vocabulary().source, ": the tokenizer has ",
                                      tokenizer.size(), " tokens, and the model ", model, " knows ",
                                      vocab_size});
}

MPO_DETAIL_MODEL_INLINE void require_same_vocabulary(const Tokenizer& one, const Tokenizer& other) {
    const auto& a = one.vocabulary();
    const auto& b = other.vocabulary();
    if (a.tokens.size() != b.tokens.size())
        detail::raise<ArgumentError>({"the vocabularies of ", a.source, " and ", b.source,
                                      " differ: ", a.tokens.size(), " and ", b.tokens.size(),
                                      " tokens"});
    const auto [left, right] = std::mismatch(a.tokens.begin(), a.tokens.end(), b.tokens.begin());
    if (left != a.tokens.end())
        detail::raise<ArgumentError>({"the vocabularies of ", a.source, " and ", b.source,
                                      " differ: token ", left - a.tokens.begin(), " is ",
                                      detail::in_quotes(*left), " and ",
                                      detail::in_quotes(*right)});
}

namespace detail {

MPO_DETAIL_MODEL_INLINE TransformerOptions judging_options(const CompareFormsOptions& options) {
    TransformerOptions result;
    result.batches = {
        (std::max)(options.window, Index{1})};  // a window that is none is refused later
    return result;
}

MPO_DETAIL_MODEL_INLINE EvaluateOptions options_for(const EvaluationText& text,
                                                    const CompareFormsOptions& options,
                                                    const std::string& what) {
    EvaluateOptions result{options.window, options.stride, text.bytes, {}};
    if (options.progress)
        result.progress = [&options, what](Index done, Index count) {
            return options.progress(what, done, count);
        };
    return result;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE void require_comparable(const std::vector<EvaluationText>& texts,
                                                const CompareFormsOptions& options,
                                                const TransformerConfig& model) {
    for (const auto& text : texts)
        (void)detail::text_windows(text.tokens, detail::options_for(text, options, ""), model);
}

MPO_DETAIL_MODEL_INLINE std::vector<TextReport> compare_forms(
    const FormPaths& paths, const std::vector<EvaluationText>& texts,
    const CompareFormsOptions& options, const EigenBackend& backend) {
    const auto model_options = detail::judging_options(options);
    const auto source_cost = measure_cost(paths.source, options.speed, backend);
    const Transformer source(paths.source, model_options, backend);
    std::vector<TextReport> reports;
    reports.reserve(texts.size());
    for (const auto& text : texts) reports.push_back({text.name, source_cost, {}});
    const auto& forms = paths.forms;
    for (std::size_t f = 0; f < forms.size(); ++f) {
        const auto same = static_cast<std::size_t>(
            std::find_if(forms.begin(), forms.end(),
                         [&](const FormPath& other) { return other.path == forms[f].path; }) -
            forms.begin());
        if (same < f) {
            for (auto& report : reports) {
                auto again = report.forms[same];
                again.form = forms[f].form;
                report.forms.push_back(std::move(again));
            }
            continue;
        }
        const auto cost = measure_cost(forms[f].path, options.speed, backend);
        const Transformer model(forms[f].path, model_options, backend);
        for (std::size_t k = 0; k < texts.size(); ++k) {
            const auto what = detail::concat(texts[k].name, " ", title_of(forms[f].form));
            reports[k].forms.push_back({forms[f].form, cost,
                                        compare(model, source, texts[k].tokens,
                                                detail::options_for(texts[k], options, what))});
        }
    }
    return reports;
}

}  // namespace mpo

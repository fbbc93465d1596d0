// mpo evaluate and mpo generate, and what mpo compress says of texts.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/evaluate_items.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/evaluation.hpp"
#include "mpo/model/generate.hpp"
#include "mpo/model/tokenizer.hpp"
#include "mpo/model/transformer.hpp"
#include "mpo/model/transformer_config.hpp"
#include "mpo_command.hpp"
#include "mpo_output.hpp"

namespace command {
namespace {

/// A progress callback that prints, and cancels after an interrupt.
[[nodiscard]] mpo::EvaluationProgress progress_to(ProgressLine& line) {
    return [&line](std::string_view what, Index done, Index count) {
        line.show(what, done, count);
        return reply();
    };
}

}  // namespace

void add_text_options(CLI::App& sub, TextArguments& arguments) {
    sub.add_option("--text", arguments.files, "A text to be judged by; repeatable")
        ->expected(1)
        ->take_all();
    sub.add_option("--tokenizer", arguments.tokenizer,
                   "A .gguf file, tokenizer.json or folder; default: beside the model");
    sub.add_option("--window", arguments.window, "Tokens seen at once (default 512)");
    sub.add_option("--stride", arguments.stride,
                   "From one window to the next (default: the window)");
    sub.add_option("--max-tokens", arguments.max_tokens, "Of every text; default: all");
}

std::vector<mpo::EvaluationText> read_texts(const TextArguments& arguments,
                                            const mpo::Checkpoint& source) {
    std::vector<mpo::EvaluationText> texts;
    if (arguments.files.empty()) return texts;
    const auto tokenizer = mpo::read_tokenizer(
        arguments.tokenizer.empty() ? source.path() : std::filesystem::path(arguments.tokenizer));
    for (const auto& file : arguments.files)
        texts.push_back(mpo::read_evaluation_text(file, tokenizer, arguments.max_tokens));
    const auto config = mpo::transformer_config(source);
    mpo::require_fitting_vocabulary(tokenizer, config.vocab_size, source.path().string());
    mpo::require_comparable(texts, {arguments.window, arguments.from_window_to_window(), {}},
                            config);
    return texts;
}

std::vector<mpo::TextReport> compare_texts(const mpo::FormPaths& forms,
                                           const std::vector<mpo::EvaluationText>& texts,
                                           const TextArguments& arguments) {
    ProgressLine line("evaluate");
    return mpo::compare_forms(
        forms, texts, {arguments.window, arguments.from_window_to_window(), progress_to(line)},
        mpo::EigenBackend{});
}

namespace {

// -- mpo evaluate -------------------------------------------------------------------------------

struct EvaluateArguments {
    TextArguments texts;
    std::string json, command;
    std::optional<int> threads;
    mpo::EvaluationRequest request;
};

[[nodiscard]] std::vector<std::string> perplexity_row(const std::string& text_name,
                                                      const char* model,
                                                      const mpo::Perplexity& result) {
    return {text_name,
            model,
            std::to_string(result.scored),
            text("%.4f", result.nll.mean),
            text("%.4f", result.nll.standard_error),
            text("%.4g", result.perplexity.mean),
            text("%.2g", result.perplexity.standard_error),
            text("%.4f", result.bits_per_byte)};
}

void print_texts(const mpo::EvaluationReport& report) {
    if (report.texts.empty()) return;
    Table table(2);
    table.add({"text", "", "scored", "nll", "+-", "perplexity", "+-", "bits/byte"});
    for (const auto& one : report.texts) {
        table.add(perplexity_row(name(one.text), "model", one.result.model));
        if (!report.reference.empty())
            table.add(perplexity_row("", "reference", one.result.reference));
    }
    table.print();
    const auto& shape = report.texts.front().result.model;
    std::cout << "windows of " << shape.window << " tokens, " << shape.stride << " apart\n";
    if (report.reference.empty()) return;
    Table divergences(1);
    divergences.add({"\ndivergence from the reference, nats per token", "mean", "+-", "median",
                     "99 %", "largest", "same choice", "ln(PPL ratio)", "+-"});
    for (const auto& [text_name, result] : report.texts)
        divergences.add({name(text_name), text("%.4g", result.kld.mean),
                         text("%.2g", result.kld.standard_error), text("%.4g", result.kld_median),
                         text("%.4g", result.kld_99), text("%.4g", result.kld_max),
                         text("%.2f %%", 100 * result.same_top.mean),
                         text("%.4f", result.log_ppl_ratio.mean),
                         text("%.4f", result.log_ppl_ratio.standard_error)});
    divergences.print();
}

/// "acc 0.612 +- 0.014".
[[nodiscard]] std::string with_error(const char* what, double value, double error) {
    return text("%s %.4f +- %.4f", what, value, error);
}

[[nodiscard]] std::string shown(const mpo::ChoiceResults& results) {
    const auto& [count, acc, acc_norm, acc_bytes] = results.summary;
    return with_error("acc", acc.value, acc.standard_error) +
           with_error(", acc_norm", acc_norm.value, acc_norm.standard_error) +
           with_error(", acc_bytes", acc_bytes.value, acc_bytes.standard_error);
}
[[nodiscard]] std::string shown(const mpo::AnswerResults& results) {
    return with_error("exact match", results.exact_match.value, results.exact_match.standard_error);
}
[[nodiscard]] std::string shown(const mpo::SummaryResults& results) {
    const auto one = [](const char* what, const mpo::MeanInterval& mean) {
        return text("%s %.4f [%.4f, %.4f]", what, mean.mean, mean.low, mean.high);
    };
    const auto& means = results.stemmed;
    return one("F1 with stemming: ROUGE-1", means.rouge_1) + one(", 2", means.rouge_2) +
           one(", L", means.rouge_l) + one(", Lsum", means.rouge_lsum);
}

[[nodiscard]] std::string shown(const mpo::McNemar& test) {
    return text("%td right by the model alone, %td by the reference alone, ", test.only_first,
                test.only_second) +
           with_error("difference", test.difference, test.standard_error) +
           text(", McNemar p = %.3g", test.exact_p);
}
void print_test(const mpo::ChoiceResults& model, const mpo::ChoiceResults& reference) {
    std::cout << "  acc: " << shown(mcnemar(model, reference, &mpo::ChoiceOutcome::right))
              << "\n  acc_norm: "
              << shown(mcnemar(model, reference, &mpo::ChoiceOutcome::right_per_character)) << '\n';
}
void print_test(const mpo::AnswerResults& model, const mpo::AnswerResults& reference) {
    std::cout << "  " << shown(mpo::mcnemar(model.right, reference.right)) << '\n';
}
void print_test(const mpo::SummaryResults&, const mpo::SummaryResults&) {}

template <class Results>
void print_items(const std::vector<mpo::ItemEvaluation<Results>>& files) {
    for (const auto& file : files) {
        std::cout << name(file.items) << ": " << file.count << " items, " << shown(file.model)
                  << '\n';
        if (file.model.num_cut > 0)
            std::cout << "  " << file.model.num_cut << " contexts cut at their beginning to fit\n";
        if (!file.reference) continue;
        std::cout << "  reference: " << shown(*file.reference) << '\n';
        print_test(file.model, *file.reference);
    }
}

void run_evaluate(EvaluateArguments& arguments) {
    auto& request = arguments.request;
    request.texts.assign(arguments.texts.files.begin(), arguments.texts.files.end());
    request.tokenizer = arguments.texts.tokenizer;
    request.window = arguments.texts.window;
    request.stride = arguments.texts.from_window_to_window();
    request.max_tokens = arguments.texts.max_tokens;
    if (arguments.threads) mpo::set_num_threads(*arguments.threads);
    catch_interrupts();
    TextOutput json(arguments.json);
    auto report = [&] {
        ProgressLine line("evaluate");
        request.progress = progress_to(line);
        return mpo::evaluate(request, mpo::EigenBackend{});
    }();
    report.made_by.command = arguments.command;
    json.write(mpo::to_json(report));
    if (json.takes_stdout()) return;
    print_texts(report);
    print_items(report.choices);
    print_items(report.questions);
    print_items(report.summaries);
}

/// --NAME FILE, any number of times.
void add_files(CLI::Option_group& group, const char* option,
               std::vector<std::filesystem::path>& files, const char* help) {
    group
        .add_option_function<std::vector<std::string>>(
            option,
            [&files](const std::vector<std::string>& names) {
                files.assign(names.begin(), names.end());
            },
            help)
        ->expected(1)
        ->take_all();
}

}  // namespace

void add_evaluate(CLI::App& app, const std::string& command_line) {
    auto* sub = app.add_subcommand("evaluate", "How well a model predicts texts and answers items");
    const auto arguments = std::make_shared<EvaluateArguments>();
    arguments->command = command_line;
    auto& request = arguments->request;
    sub->add_option("model", request.model, "A .safetensors or .gguf file, or a folder")
        ->required();
    sub->add_option("--reference", request.reference, "The model to compare with");
    add_text_options(*sub, arguments->texts);
    auto* items = sub->add_option_group("items", "JSONL, repeatable; the fields tell the set");
    add_files(*items, "--choices", request.choices, "MMLU, HellaSwag, BoolQ, mpo make-choices");
    add_files(*items, "--questions", request.questions, "TriviaQA, GSM8K: exact match");
    add_files(*items, "--rouge", request.summaries, "XSum, Gigaword: summaries, ROUGE");
    sub->add_option("--max-items", request.max_items, "Of every file of items; default: all");
    sub->add_option("--max-answer-tokens", request.max_answer_tokens,
                    "Of an answer (default 256); of a summary at most 100");
    sub->add_option("--json", arguments->json, "Write the results to a file, or - for stdout");
    sub->add_option("--threads", arguments->threads, "Default: all of the machine");
    sub->callback([arguments] {
        const auto& asked = arguments->request;
        if (arguments->texts.files.empty() && asked.choices.empty() && asked.questions.empty() &&
            asked.summaries.empty())
            throw CLI::RequiredError("One of --text, --choices, --questions and --rouge");
        run_evaluate(*arguments);
    });
}

// -- mpo generate -------------------------------------------------------------------------------

namespace {

struct GenerateArguments {
    std::string model, prompt, tokenizer;
    std::optional<int> threads;
    mpo::EncodeOptions encode;
    mpo::GenerateOptions options;
};

void run_generate(GenerateArguments& arguments) {
    if (arguments.threads) mpo::set_num_threads(*arguments.threads);
    const auto tokenizer =
        mpo::read_tokenizer(arguments.tokenizer.empty() ? arguments.model : arguments.tokenizer);
    const mpo::EigenBackend cpu;
    const auto& vocabulary = tokenizer.vocabulary();
    std::vector<Index> prompt;
    if (vocabulary.add_bos) prompt.push_back(*vocabulary.bos);
    for (const Index id : tokenizer.encode(arguments.prompt, arguments.encode))
        prompt.push_back(id);
    if (prompt.empty()) throw mpo::ArgumentError("generate: the prompt is empty");
    const mpo::Transformer model(arguments.model, {}, cpu);
    mpo::require_fitting_vocabulary(tokenizer, model.config().vocab_size, arguments.model);
    std::cout << mpo::generate_text(model, tokenizer, prompt, arguments.options) << '\n';
}

}  // namespace

void add_generate(CLI::App& app) {
    auto* sub = app.add_subcommand("generate", "Continue a prompt; prints what follows it");
    const auto arguments = std::make_shared<GenerateArguments>();
    auto& options = arguments->options;
    sub->add_option("model", arguments->model, "A .safetensors or .gguf file, or a folder")
        ->required();
    sub->add_option("--prompt", arguments->prompt, "The text to continue")->required();
    sub->add_option("--max-tokens", options.max_tokens, "At most so many (default 64)");
    sub->add_option("--temperature", options.temperature,
                    "0 (default): always the most probable token");
    sub->add_option("--top-p", options.top_p,
                    "Of the smallest set of this probability (default 1)");
    sub->add_option("--seed", options.seed, "Of the draws (default 1)")->check(whole_number);
    sub->add_option("--tokenizer", arguments->tokenizer,
                    "A .gguf file, tokenizer.json or folder; default: beside the model");
    sub->add_flag_callback(
        "--special", [arguments] { arguments->encode.special_tokens = mpo::SpecialTokens::parse; },
        "Names of control tokens in the prompt are these tokens");
    sub->add_option("--threads", arguments->threads, "Default: all of the machine");
    sub->callback([arguments] { run_generate(*arguments); });
}

}  // namespace command

// mpo compress and mpo reconstruct.

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/calibration_texts.hpp"
#include "mpo/model/compress.hpp"
#include "mpo/model/compress_calibrated.hpp"
#include "mpo/model/compress_json.hpp"
#include "mpo/model/compress_notes.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/output_folder.hpp"
#include "mpo/model/reconstruct.hpp"
#include "mpo/model/report.hpp"
#include "mpo_command.hpp"
#include "mpo_output.hpp"

namespace command {
namespace {

/// A progress callback that prints, and cancels after an interrupt.
[[nodiscard]] mpo::ProgressCallback progress_to(ProgressLine& line) {
    return [&line](const mpo::Progress& progress) {
        line.show(progress);
        return reply();
    };
}

// -- mpo compress -------------------------------------------------------------------------------

const std::map<std::string, mpo::DType> dtypes{
    {"bf16", mpo::DType::bf16}, {"f16", mpo::DType::f16}, {"f32", mpo::DType::f32}};

const std::map<std::string, mpo::CompressForm> forms{{"auto", mpo::CompressForm::automatic},
                                                     {"mpo", mpo::CompressForm::mpo},
                                                     {"low-rank", mpo::CompressForm::low_rank}};

const std::map<std::string, mpo::StoredAs> storages{{"gauge-fixed", mpo::StoredAs::gauge_fixed},
                                                    {"cores", mpo::StoredAs::cores}};

const std::map<std::string, mpo::FitObjective> objectives{
    {"before-healing", mpo::FitObjective::before_healing},
    {"after-healing", mpo::FitObjective::after_healing}};

const std::map<mpo::CompressForm, const char*> peer_names{
    {mpo::CompressForm::mpo, "mpo"}, {mpo::CompressForm::low_rank, "low_rank"}};

struct CompressArguments {
    std::string model, output, json, report, dtype = "bf16", form = "auto", command;
    std::string stored_as = "gauge-fixed";
    std::vector<std::string> layouts;
    std::optional<int> threads;
    TextArguments texts;
    mpo::CompressOptions options;
    std::vector<std::string> calibrate;
    std::string objective = "before-healing";
    Index calibration_windows = 24;
    bool resume = false;
    mpo::CompressCalibration calibration;
};

/// KIND=OUT:IN, as in q=24x24:24x24. Wrong text is wrong usage.
void add_layout(const std::string& argument, mpo::CompressOptions& options) {
    const auto equals = argument.find('=');
    const auto kind = mpo::parse_linear_kind(argument.substr(0, equals));
    if (!kind || equals == std::string::npos)
        throw CLI::ValidationError("--layout", "'" + argument +
                                                   "' must be KIND=OUT:IN, KIND one of q, k, v, o, "
                                                   "gate, up, down");
    try {
        options.layouts[*kind] = mpo::parse_layout(argument.substr(equals + 1));
    } catch (const mpo::Error& error) {
        throw CLI::ValidationError("--layout", error.what());
    }
}

/// "low rank 576x1 : 1x576 (28/30)", or "dense".
[[nodiscard]] std::string form_of(const mpo::KindReport& kind) {
    const auto& typical = kind.typical;
    std::string form = "dense";
    if (typical.form != mpo::LinearForm::dense)
        form = (typical.form == mpo::LinearForm::low_rank ? "low rank " : "mpo ") +
               mpo::to_string(typical.layout);
    if (kind.typical_count < kind.count) form += text(" (%td/%td)", kind.typical_count, kind.count);
    return form;
}

[[nodiscard]] std::vector<std::string> size_cells(const mpo::SizeChange& size) {
    return {readable_count(size.parameters_before), readable_count(size.parameters),
            readable_bytes(size.bytes_before), readable_bytes(size.bytes),
            text("%.2f", static_cast<double>(size.multiply_adds) /
                             static_cast<double>(size.multiply_adds_before))};
}

void print_kinds(const mpo::CompressReport& report) {
    Table table(4);
    table.add({"kind", "shape", "form and layout (out : in)", "bonds", "parameters", "after",
               "bytes", "after", "madds", "error mean", "max", "low rank"});
    for (const auto& kind : report.kinds()) {
        std::vector<std::string> row{mpo::to_string(kind.kind), joined(kind.typical.shape, "x"),
                                     form_of(kind), joined(kind.typical.bonds, " ")};
        for (auto& cell : size_cells(kind.size)) row.push_back(std::move(cell));
        for (const double error :
             {kind.mean_relative_error, kind.max_relative_error, kind.mean_low_rank_error})
            row.push_back(text("%.4f", error));
        table.add(std::move(row));
    }
    std::vector<std::string> row{"all", "", "", ""};
    for (auto& cell : size_cells(report.size())) row.push_back(std::move(cell));
    table.add(std::move(row));
    table.print();
    std::cout << "error: norm(W - W') / norm(W) with the cores as stored; low rank: the same for "
                 "plain low rank of the same size;\nmadds: multiply-adds per token against dense; "
                 "(n/m): so many of the kind have this form\n";
}

/// 14.41, 5213, 1.2e+12.
[[nodiscard]] std::string perplexity_cell(double value) {
    return text(value < 100 ? "%.2f" : value < 1e6 ? "%.0f" : "%.3g", value);
}

[[nodiscard]] std::vector<std::string> form_row(const char* form, const mpo::Comparison& result) {
    const auto& perplexity = result.model.perplexity;
    return {"",
            form,
            perplexity_cell(perplexity.mean),
            perplexity_cell(perplexity.standard_error),
            text("%.3f", result.kld.mean),
            text("%.3f", result.kld.standard_error),
            text("%.3f", result.kld_99),
            text("%.1f %%", 100 * result.same_top.mean)};
}

/// What the compression did to the language: every text under the source and under the forms.
void print_texts(const mpo::CompressReport& report) {
    if (report.texts.empty()) return;
    Table table(2);
    table.add({"text", "model", "perplexity", "+-", "divergence", "+-", "99 %", "same choice"});
    for (const auto& one : report.texts) {
        const auto& source = one.compressed.reference.perplexity;
        table.add({name(one.text), "source", perplexity_cell(source.mean),
                   perplexity_cell(source.standard_error)});
        table.add(form_row("as compressed", one.compressed));
        if (!report.is_all(mpo::LinearForm::mpo)) table.add(form_row("all MPO", one.mpo));
        if (!report.is_all(mpo::LinearForm::low_rank))
            table.add(form_row("all low rank", one.low_rank));
    }
    table.print();
    const auto& shape = report.texts.front().compressed.model;
    std::cout << "divergence: Kullback-Leibler, of the source from the model, nats per token, in "
                 "windows of "
              << shape.window << " tokens, " << shape.stride
              << " apart;\nno linear of a form has more parameters than the same as compressed\n";
}

void print_report(const mpo::CompressReport& report) {
    print_kinds(report);
    print_texts(report);
    std::cout << "whole model: " << report.num_tensors << " tensors, "
              << readable_bytes(report.bytes_before) << " before, " << readable_bytes(report.bytes)
              << " after as " << mpo::to_string(report.dtype) << "; " << report.linears.size()
              << " linears in " << effort(report.seconds) << '\n';
    for (const auto& note : mpo::notes(report)) print_note(note);
}

/// Where the forms lie: one that was chosen for every linear is what was written.
[[nodiscard]] mpo::FormPaths form_paths(const CompressArguments& arguments,
                                        const mpo::CompressReport& report) {
    const std::filesystem::path written = arguments.output;
    const auto& peers = arguments.options.peers;
    return {
        arguments.model, written,
        report.is_all(mpo::LinearForm::mpo) ? written : peers.at(mpo::CompressForm::mpo),
        report.is_all(mpo::LinearForm::low_rank) ? written : peers.at(mpo::CompressForm::low_rank)};
}

/// Where a calibrated run keeps the layers that it has finished.
[[nodiscard]] std::filesystem::path resume_folder(std::filesystem::path output) {
    if (!output.has_filename()) output = output.parent_path();  // "out/" is "out"
    return output += ".resume";
}

/// The texts to calibrate with, cut.
void read_calibration(CompressArguments& arguments, const mpo::Checkpoint& source) {
    const auto tokenizer = mpo::read_tokenizer(
        arguments.texts.tokenizer.empty() ? source.path()
                                          : std::filesystem::path(arguments.texts.tokenizer));
    const auto config = mpo::transformer_config(source);
    mpo::require_fitting_vocabulary(tokenizer, config.vocab_size, source.path().string());
    std::vector<mpo::CalibrationText> texts;
    for (const auto& file : arguments.calibrate) {
        mpo::CalibrationText text;
        text.path = file;
        text.spread = arguments.calibration_windows;
        texts.push_back(std::move(text));
    }
    arguments.calibration.windows =
        mpo::calibration_windows(texts, tokenizer, config, arguments.texts.window);
    arguments.calibration.linear.objective = objectives.at(arguments.objective);
    if (arguments.resume) arguments.calibration.resume = resume_folder(arguments.output);
}

void run_compress(CompressArguments arguments) {
    auto& options = arguments.options;
    options.dtype = dtypes.at(arguments.dtype);
    options.form = forms.at(arguments.form);
    options.stored_as = storages.at(arguments.stored_as);
    for (const auto& layout : arguments.layouts) add_layout(layout, options);
    if (arguments.threads) mpo::set_num_threads(*arguments.threads);
    if (!arguments.report.empty() && arguments.report == arguments.json)
        throw CLI::ValidationError("--report", "names the same output as --json");
    catch_interrupts();
    TextOutput json(arguments.json), page(arguments.report);
    const mpo::Checkpoint source(arguments.model);
    const auto texts = read_texts(arguments.texts, source);
    const bool calibrated = !arguments.calibrate.empty();
    if (calibrated) read_calibration(arguments, source);
    std::optional<mpo::OutputFolder> scratch;  // of the forms that are only compared
    if (!texts.empty() && !calibrated) {
        scratch.emplace(arguments.output);
        for (const auto& [form, name] : peer_names) options.peers[form] = scratch->path() / name;
    }
    auto report = [&] {
        ProgressLine line("compress");
        options.progress = progress_to(line);
        const mpo::EigenBackend backend;
        return calibrated ? mpo::compress(source, arguments.output, options, arguments.calibration,
                                          backend)
                          : mpo::compress(source, arguments.output, options, backend);
    }();
    if (scratch)
        report.texts = compare_texts(form_paths(arguments, report), texts, arguments.texts);
    if (arguments.resume) std::filesystem::remove_all(resume_folder(arguments.output));
    report.made_by.command = arguments.command;
    json.write(mpo::to_json(report));
    page.write(mpo::to_html(report));
    if (!json.takes_stdout() && !page.takes_stdout()) print_report(report);
}

}  // namespace

void add_compress(CLI::App& app, const std::string& command_line) {
    auto* sub = app.add_subcommand("compress", "Turn the linears of a decoder into MPOs");
    const auto arguments = std::make_shared<CompressArguments>();
    arguments->command = command_line;
    auto& options = arguments->options;
    sub->add_option("model", arguments->model, "A .safetensors or .gguf file, or a folder")
        ->required();
    sub->add_option("-o,--output", arguments->output, "A folder that does not exist yet")
        ->required();
    auto* amount = sub->add_option_group("size", "Exactly one of these");
    amount->add_option("--budget", options.budget, "Share of the linears' parameters to keep");
    amount->add_option("--budget-bytes", options.budget_bytes, "Bytes for all linears together");
    amount->add_option("--max-bond-dim", options.max_bond_dim, "Cap at every bond");
    amount->add_option("--tolerance", options.tolerance, "Relative error of every linear");
    amount->require_option(1);
    sub->add_option("--form", arguments->form, "auto (default), mpo, low-rank")
        ->check(CLI::IsMember(forms));
    sub->add_option("--sites", options.sites, "Sites of balanced MPOs (default 2)");
    sub->add_option("--layout", arguments->layouts, "KIND=OUT:IN, as in q=24x24:24x24; repeatable")
        ->expected(1)
        ->take_all();
    auto* calibrate = sub->add_option("--calibrate", arguments->calibrate,
                                      "A text whose activations say what matters; repeatable");
    calibrate->expected(1)->take_all();
    sub->add_flag("--resume", arguments->resume,
                  "Keep finished layers in OUTPUT.resume, and go on from those that are there")
        ->needs(calibrate);
    sub->add_option("--calibration-windows", arguments->calibration_windows,
                    "Windows of each of these texts, evenly spread over it (default 24)");
    sub->add_option("--max-flops-ratio", arguments->calibration.linear.max_flops_ratio,
                    "Multiply-adds per token of a linear, relative to dense (default: no bound)");
    sub->add_option("--objective", arguments->objective, "before-healing (default), after-healing")
        ->check(CLI::IsMember(objectives));
    sub->add_option("--only", options.only, "Only linears whose name this regex finds");
    sub->add_option("--skip", options.skip, "No linears whose name this regex finds");
    sub->add_option("--dtype", arguments->dtype, "Stored type: bf16 (default), f16, f32")
        ->check(CLI::IsMember(dtypes));
    sub->add_option("--stored-as", arguments->stored_as,
                    "gauge-fixed (default), or cores: every number of them")
        ->check(CLI::IsMember(storages));
    sub->add_option("--json", arguments->json, "Write the report to a file, or - for stdout");
    sub->add_option("--report", arguments->report,
                    "Write a page to look at (HTML) to a file, or - for stdout");
    add_text_options(*sub, arguments->texts);
    sub->add_option("--seed", options.seed, "Of randomized factorisations (default 1)");
    sub->add_option("--threads", arguments->threads, "Default: all of the machine");
    sub->callback([arguments] { run_compress(*arguments); });
}

namespace {

// -- mpo reconstruct ----------------------------------------------------------------------------

struct ReconstructArguments {
    std::string model, output, dtype;
    std::optional<int> threads;
};

void run_reconstruct(const ReconstructArguments& arguments) {
    if (arguments.threads) mpo::set_num_threads(*arguments.threads);
    mpo::ReconstructOptions options;
    if (!arguments.dtype.empty()) options.dtype = dtypes.at(arguments.dtype);
    catch_interrupts();
    const mpo::CompressedCheckpoint source(arguments.model);
    const auto report = [&] {
        ProgressLine line("reconstruct");
        options.progress = progress_to(line);
        return mpo::reconstruct(source, arguments.output, options, mpo::EigenBackend{});
    }();
    std::cout << arguments.output << ": " << report.num_tensors << " tensors, "
              << report.num_linears << " of them made from cores, " << readable_bytes(report.bytes)
              << ", " << effort(report.seconds) << '\n';
}

}  // namespace

void add_reconstruct(CLI::App& app) {
    auto* sub = app.add_subcommand("reconstruct", "Make a compressed checkpoint dense again");
    const auto arguments = std::make_shared<ReconstructArguments>();
    sub->add_option("model", arguments->model, "A folder that mpo compress wrote")->required();
    sub->add_option("-o,--output", arguments->output, "A folder that does not exist yet")
        ->required();
    sub->add_option("--dtype", arguments->dtype, "bf16, f16, f32; default: as stored")
        ->check(CLI::IsMember(dtypes));
    sub->add_option("--threads", arguments->threads, "Default: all of the machine");
    sub->callback([arguments] { run_reconstruct(*arguments); });
}

}  // namespace command

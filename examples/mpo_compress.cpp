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
#include "mpo/model/compressed.hpp"
#include "mpo/model/output_folder.hpp"
#include "mpo/model/profile_json.hpp"
#include "mpo/model/profile_shares.hpp"
#include "mpo/model/reconstruct.hpp"
#include "mpo/model/report.hpp"
#include "mpo/model/uniform_low_rank.hpp"
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
    std::string profile;
    double floor = 0.5;
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

/// Where the forms lie: one that was chosen for every linear is what was written.
[[nodiscard]] mpo::FormPaths form_paths(const CompressArguments& arguments,
                                        const mpo::CompressReport& report) {
    const std::filesystem::path written = arguments.output;
    const auto lies_at = [&](mpo::ComparedForm form, mpo::CompressForm peer) {
        return mpo::FormPath{
            form, report.is_written_as(form) ? written : arguments.options.peers.at(peer)};
    };
    return {arguments.model,
            {{mpo::ComparedForm::compressed, written},
             lies_at(mpo::ComparedForm::mpo, mpo::CompressForm::mpo),
             lies_at(mpo::ComparedForm::low_rank, mpo::CompressForm::low_rank)}};
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

/// Compresses without calibration, and judges the result beside the same size as MPOs and as low rank.
[[nodiscard]] mpo::CompressReport compress_plain(CompressArguments& arguments,
                                                 const mpo::Checkpoint& source,
                                                 const std::vector<mpo::EvaluationText>& texts) {
    auto& options = arguments.options;
    std::optional<mpo::OutputFolder> scratch;  // of the forms that are only compared
    if (!texts.empty()) {
        scratch.emplace(arguments.output);
        for (const auto& [form, name] : peer_names) options.peers[form] = scratch->path() / name;
    }
    auto report = [&] {
        ProgressLine line("compress");
        options.progress = progress_to(line);
        return mpo::compress(source, arguments.output, options, mpo::EigenBackend{});
    }();
    if (scratch)
        report.texts = compare_texts(form_paths(arguments, report), texts, arguments.texts);
    return report;
}

/// Compresses with calibration, and judges the result beside what a sceptic would store of as many numbers.
[[nodiscard]] mpo::CompressReport compress_calibrated(
    CompressArguments& arguments, const mpo::Checkpoint& source,
    const std::vector<mpo::EvaluationText>& texts) {
    auto& options = arguments.options;
    std::optional<mpo::OutputFolder> scratch;
    if (!texts.empty()) scratch.emplace(arguments.output);
    const mpo::EigenBackend backend;
    read_calibration(arguments, source);
    if (!arguments.profile.empty())
        arguments.calibration.shares =
            mpo::profile_shares(mpo::read_profile(arguments.profile), source, options,
                                arguments.floor, arguments.calibration.linear.max_flops_ratio);
    auto report = [&] {
        ProgressLine line("compress");
        options.progress = progress_to(line);
        return mpo::compress(source, arguments.output, options, arguments.calibration, backend);
    }();
    report.calibration->texts = arguments.calibrate;
    if (!scratch) return report;
    const auto sceptic = scratch->path() / "uniform_low_rank";
    {
        ProgressLine line("compress as uniform low rank");
        options.progress = progress_to(line);
        (void)mpo::compress_uniform_low_rank(source, sceptic, options, arguments.calibration,
                                             report, backend);
    }
    report.texts = compare_texts({arguments.model,
                                  {{mpo::ComparedForm::compressed, arguments.output},
                                   {mpo::ComparedForm::uniform_low_rank, sceptic}}},
                                 texts, arguments.texts);
    return report;
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
    auto report = arguments.calibrate.empty() ? compress_plain(arguments, source, texts)
                                              : compress_calibrated(arguments, source, texts);
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
                    "Windows of each of these texts, evenly spread over it (default 24)")
        ->needs(calibrate);
    auto* profile = sub->add_option("--profile", arguments->profile,
                                    "What mpo profile --json wrote: spreads the budget by it");
    profile->needs("--calibrate");
    sub->add_option("--floor", arguments->floor,
                    "Part of the common share that every linear keeps (default 0.5)")
        ->needs(profile);
    sub->add_option("--max-flops-ratio", arguments->calibration.linear.max_flops_ratio,
                    "Multiply-adds per token of a linear, relative to dense (default: no bound)")
        ->needs(calibrate);
    sub->add_option("--objective", arguments->objective, "before-healing (default), after-healing")
        ->check(CLI::IsMember(objectives))
        ->needs(calibrate);
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
    sub->add_option("--seed", options.seed, "Of randomized factorisations (default 1)")
        ->check(whole_number);
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

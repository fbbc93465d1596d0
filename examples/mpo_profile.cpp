// mpo profile: what every linear of a model means to it.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/profile.hpp"
#include "mpo/model/profile_json.hpp"
#include "mpo/model/profile_report.hpp"
#include "mpo/model/profile_texts.hpp"
#include "mpo/model/tokenizer.hpp"
#include "mpo/model/transformer_config.hpp"
#include "mpo_command.hpp"
#include "mpo_output.hpp"

namespace command {
namespace {

struct ProfileArguments {
    std::string model, tokenizer, json, report, command;
    std::vector<std::string> texts;
    std::optional<int> threads;
    mpo::ProfileWindowsOptions windows;
    mpo::ProfileOptions options;
};

/// Per kind and size the mean divergence, and the linear that does most harm.
void print_profile(const mpo::Profile& profile) {
    Table table(2);
    table.add({"kind", "shape", "size", "activation error", "KLD, mean", "largest", "in layer"});
    for (const auto& entry : mpo::detail::linear_kinds)
        for (std::size_t s = 0; s < profile.sizes.size(); ++s) {
            const mpo::LinearProfile* worst = nullptr;
            double error = 0, kld = 0;
            Index count = 0;
            for (const auto& linear : profile.linears) {
                if (mpo::to_string(linear.kind) != entry.name) continue;
                const auto& probe = linear.probes[s];
                error += probe.activation_error;
                kld += probe.kld.mean;
                ++count;
                if (!worst || worst->probes[s].kld.mean < probe.kld.mean) worst = &linear;
            }
            if (!worst) continue;
            const auto n = static_cast<double>(count);
            table.add(
                {s == 0 ? std::string(entry.name) : "",
                 s == 0 ? std::to_string(worst->rows) + "x" + std::to_string(worst->cols) : "",
                 text("%.2f", profile.sizes[s]), text("%.4f", error / n), text("%.5f", kld / n),
                 text("%.5f", worst->probes[s].kld.mean), std::to_string(worst->layer)});
        }
    table.print();
}

void run_profile(ProfileArguments& arguments) {
    if (arguments.threads) mpo::set_num_threads(*arguments.threads);
    const auto tokenizer =
        mpo::read_tokenizer(arguments.tokenizer.empty() ? arguments.model : arguments.tokenizer);
    const auto config = mpo::transformer_config(mpo::Checkpoint(arguments.model));
    mpo::require_fitting_vocabulary(tokenizer, config.vocab_size, arguments.model);
    auto windows = mpo::profile_windows({arguments.texts.begin(), arguments.texts.end()}, tokenizer,
                                        config, arguments.windows);
    catch_interrupts();
    TextOutput json(arguments.json), report(arguments.report);
    auto& options = arguments.options;
    if (!arguments.json.empty() && !json.takes_stdout()) options.state = arguments.json + ".state";
    auto profile = [&] {
        ProgressLine line("profile");
        options.progress = [&line](const mpo::Progress& progress) {
            line.show(progress);
            return reply();
        };
        return mpo::profile(arguments.model, std::move(windows.calibration),
                            std::move(windows.probing), options, mpo::EigenBackend{});
    }();
    profile.made_by.command = arguments.command;
    profile.texts = arguments.texts;
    json.write(mpo::to_json(profile));
    report.write(arguments.report.empty() ? std::string() : mpo::to_html(profile));
    if (!options.state.empty()) std::filesystem::remove(options.state);
    if (json.takes_stdout() || report.takes_stdout()) return;
    print_profile(profile);
    std::cout << profile.linears.size() << " linears alone, each at " << profile.sizes.size()
              << " sizes, on " << profile.probing.tokens << " tokens, in "
              << effort(profile.seconds) << '\n';
}

}  // namespace

void add_profile(CLI::App& app, const std::string& command_line) {
    auto* sub = app.add_subcommand("profile", "How sensitive a model is to each of its linears");
    const auto arguments = std::make_shared<ProfileArguments>();
    arguments->command = command_line;
    sub->add_option("model", arguments->model, "A .safetensors or .gguf file, or a folder")
        ->required();
    sub->add_option("--calibrate", arguments->texts, "A text that the model reads; repeatable")
        ->required()
        ->expected(1)
        ->take_all();
    sub->add_option("--sizes", arguments->options.sizes,
                    "Shares of a weight to keep, up to 3 (default 0.3,0.6,0.8)")
        ->delimiter(',');
    sub->add_option("--windows", arguments->windows.windows,
                    "Of every text, for the moments (default 12)");
    sub->add_option("--probe-windows", arguments->windows.probe_windows,
                    "Of every text, for the divergence (default 2)");
    sub->add_option("--window", arguments->windows.window, "Tokens of each (default 512)");
    sub->add_option("--tokenizer", arguments->tokenizer,
                    "A .gguf file, tokenizer.json or folder; default: beside the model");
    sub->add_option("--json", arguments->json,
                    "Write the profile to a file, or - for stdout; FILE.state keeps what is done");
    sub->add_option("--report", arguments->report, "Write the profile as a page of HTML");
    sub->add_option("--threads", arguments->threads, "Default: all of the machine");
    sub->callback([arguments] { run_profile(*arguments); });
}

}  // namespace command

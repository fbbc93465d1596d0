// mpo heal: what compress took away from a model is trained back.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/calibration_texts.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/heal.hpp"
#include "mpo/model/heal_json.hpp"
#include "mpo/model/heal_report.hpp"
#include "mpo/model/heal_results.hpp"
#include "mpo/model/heal_texts.hpp"
#include "mpo/model/heal_work.hpp"
#include "mpo/model/made_by.hpp"
#include "mpo/model/output_folder.hpp"
#include "mpo/model/tokenizer.hpp"
#include "mpo/model/training_windows.hpp"
#include "mpo/model/transformer_config.hpp"
#include "mpo_command.hpp"
#include "mpo_output.hpp"

namespace command {
namespace {

const std::map<std::string, mpo::HealChoice> choices{{"divergence", mpo::HealChoice::divergence},
                                                     {"loss", mpo::HealChoice::loss}};

struct HealArguments {
    std::string student, teacher, rival, output, work, json, report, command;
    std::string choose_by = "divergence";
    std::vector<std::string> texts;
    TextArguments evaluate;  // whose window, tokenizer and max_tokens are the training's, too
    Index windows = 0;
    std::optional<Index> look_every;
    std::uint64_t seed = 1;
    std::optional<int> threads;
    bool resume = false;
    mpo::HealBlocksOptions blocks;
    mpo::DistillOptions distillation;
    Index batch_windows = 4;
};

/// Peaks of memory at the last look of each stage.
struct Peaks {
    Index blocks = 0, distillation = 0;
};

/// "layer 3 (4/30) step 50/300: loss 0.1234, held out 0.1301, 812 tokens/s, 4211 s left".
[[nodiscard]] std::string shown(const mpo::HealProgress& now) {
    if (now.stage == mpo::HealStage::teacher)
        return text("teacher %td/%td windows: %.0f tokens/s, %.0f s left", now.step, now.steps,
                    now.tokens_per_second, now.seconds_left);
    std::string line = now.stage == mpo::HealStage::blocks
                           ? text("layer %td (%td/%td)", now.layer, now.layer + 1, now.num_layers)
                           : std::string("distillation");
    if (now.form == mpo::LayerForm::rival) line += " rival";
    line += text(" step %td/%td: ", now.step, now.steps);
    if (now.step > 0) line += text("loss %.4f, ", now.loss);
    line += text("held out %.4f", now.held_out);
    if (now.step > 0)
        line += text(", %.0f tokens/s, %.0f s left", now.tokens_per_second, now.seconds_left);
    return line;
}

/// "out/" is "out".
[[nodiscard]] std::filesystem::path output_folder(const HealArguments& arguments) {
    const std::filesystem::path output = arguments.output;
    return output.has_filename() ? output : output.parent_path();
}

/// Where a run keeps what makes it resumable, unless told.
[[nodiscard]] std::filesystem::path work_folder(const HealArguments& arguments) {
    if (!arguments.work.empty()) return arguments.work;
    return output_folder(arguments) += ".work";
}

/// Where the healed model lies until it is judged: a run that is killed meanwhile can still say what it did.
[[nodiscard]] std::filesystem::path healed_folder(const std::filesystem::path& work) {
    return work / "healed";
}

/// Gives the healed model its name; a folder on another disk is copied there.
void move_to_output(const std::filesystem::path& healed, const std::filesystem::path& output) {
    mpo::OutputFolder copy(output);  // refuses an output that is there
    std::error_code error;
    std::filesystem::rename(healed, output, error);
    if (!error) return;
    for (const auto& file : std::filesystem::directory_iterator(healed))
        copy.copy(file.path(), mpo::ReadMode::mapped);
    copy.commit();
    std::filesystem::remove_all(healed);
}

/// The same; what goes wrong here does so after hours, so that it is said where these are.
void give_name(const std::filesystem::path& healed, const std::filesystem::path& output) {
    const std::string kept = "; the healed model is " + healed.string() +
                             ", and --resume judges it again and goes on from there";
    try {
        move_to_output(healed, output);
    } catch (const mpo::FileError& error) {
        throw mpo::FileError(error.what() + kept);
    } catch (const mpo::ArgumentError& error) {
        throw mpo::ArgumentError(error.what() + kept);
    }
}

/// Refuses what would be found out after hours, and a work folder that nobody asked to go on with.
void require_free(const HealArguments& arguments, const std::filesystem::path& work) {
    const auto output = output_folder(arguments);
    const auto parent =
        output.has_parent_path() ? output.parent_path() : std::filesystem::path(".");
    if (output.empty()) throw mpo::ArgumentError("heal: the name of the output is empty");
    if (std::filesystem::exists(std::filesystem::symlink_status(output)))
        throw mpo::ArgumentError("heal: " + output.string() + " exists already; nothing was done");
    if (!std::filesystem::is_directory(parent))
        throw mpo::ArgumentError("heal: there is no folder " + parent.string() + " to put " +
                                 output.string() + " in");
    (void)mpo::OutputFolder(output);  // where it cannot be made, it is said now
    if (!arguments.resume && std::filesystem::exists(work))
        throw mpo::ArgumentError("heal: the work folder " + work.string() +
                                 " exists already; --resume goes on with it");
    if (mpo::is_within(work, output))
        throw mpo::ArgumentError("heal: the work folder " + work.string() +
                                 " lies within the output " + output.string());
    if (mpo::is_within(output, work))
        throw mpo::ArgumentError("heal: the output " + output.string() +
                                 " lies within the work folder " + work.string());
    for (const auto& model : {arguments.student, arguments.teacher, arguments.rival})
        if (!model.empty() && mpo::is_within(model, healed_folder(work)))
            throw mpo::ArgumentError("heal: " + model +
                                     " is what a run leaves in its work folder " + work.string() +
                                     " until it is judged; move it away first");
}

[[nodiscard]] mpo::HealOptions heal_options(const HealArguments& arguments) {
    mpo::HealOptions options;
    options.blocks.reset();
    options.distillation.reset();
    const auto set = [&](auto stage) {
        stage.batch_windows = arguments.batch_windows;
        stage.seed = arguments.seed;
        if (arguments.look_every) stage.evaluate_every = *arguments.look_every;
        return stage;
    };
    if (arguments.blocks.steps != 0) options.blocks = set(arguments.blocks);
    if (arguments.distillation.steps != 0) options.distillation = set(arguments.distillation);
    options.rival = arguments.rival;
    if (options.blocks) options.blocks->choose_by = choices.at(arguments.choose_by);
    return options;
}

[[nodiscard]] mpo::TrainingWindows read_windows(const HealArguments& arguments,
                                                const mpo::Checkpoint& teacher) {
    const auto& tokenizer_path = arguments.evaluate.tokenizer;
    const auto tokenizer = mpo::read_tokenizer(
        tokenizer_path.empty() ? teacher.path() : std::filesystem::path(tokenizer_path));
    const auto config = mpo::transformer_config(teacher);
    mpo::require_fitting_vocabulary(tokenizer, config.vocab_size, teacher.path().string());
    std::vector<mpo::CalibrationText> texts;
    for (const auto& file : arguments.texts) {
        mpo::CalibrationText text;
        text.path = file;
        text.max_tokens = arguments.evaluate.max_tokens;
        text.spread = arguments.windows;
        texts.push_back(std::move(text));
    }
    return mpo::training_windows(texts, tokenizer, config, arguments.evaluate.window);
}

/// Progress of all stages, and the memory that they took.
[[nodiscard]] mpo::HealReport heal(const HealArguments& arguments, mpo::HealOptions& options,
                                   const mpo::TrainingWindows& windows,
                                   const std::filesystem::path& work, Peaks& peaks) {
    ProgressLine line("heal");
    options.progress = [&](const mpo::HealProgress& now) {
        line.show(shown(now));
        if (now.stage == mpo::HealStage::blocks) peaks.blocks = peak_bytes();
        if (now.stage == mpo::HealStage::distillation) peaks.distillation = peak_bytes();
        return reply();
    };
    if (std::filesystem::exists(work)) {  // a run that was killed while it judged
        const mpo::WorkFolderLock held(work);
        std::filesystem::remove_all(healed_folder(work));
    }
    return mpo::heal(arguments.student, arguments.teacher, windows, healed_folder(work), work,
                     options, mpo::EigenBackend{});
}

/// The texts under every form that the run has left.
[[nodiscard]] std::vector<mpo::HealedText> evaluate(const HealArguments& arguments,
                                                    const mpo::HealOptions& options,
                                                    const std::vector<mpo::EvaluationText>& texts,
                                                    const std::filesystem::path& work) {
    std::vector<mpo::HealedPath> forms{{mpo::HealedForm::compressed, arguments.student}};
    if (options.blocks)
        forms.push_back({mpo::HealedForm::blocks,
                         options.distillation ? work / "blocks_model" : healed_folder(work)});
    if (options.distillation) forms.push_back({mpo::HealedForm::distilled, healed_folder(work)});
    ProgressLine line("evaluate");
    const auto progress = [&line](std::string_view what, Index done, Index count) {
        line.show(what, done, count);
        return reply();
    };
    const Index window = arguments.evaluate.window;
    return mpo::compare_healed(arguments.teacher, forms, texts, {window, window, progress},
                               mpo::EigenBackend{});
}

// -- what it prints ------------------------------------------------------------------------------

[[nodiscard]] std::string arrow(double before, double after) {
    return text("%.4f -> %.4f", before, after);
}

void print_costs(const mpo::HealResults& results) {
    Table table(1);
    table.add({"stage", "parameters", "steps", "tokens/step", "tokens seen", "s/step", "tokens/s",
               "peak memory"});
    for (const auto& cost : results.costs)
        table.add({cost.stage == mpo::HealStage::blocks ? "layers" : "distillation",
                   readable_count(cost.parameters), std::to_string(cost.steps),
                   std::to_string(cost.tokens_per_step), readable_count(cost.tokens_seen()),
                   text("%.3g", cost.seconds_per_step), text("%.0f", cost.tokens_per_second()),
                   cost.peak_bytes > 0 ? readable_bytes(cost.peak_bytes) : "-"});
    table.print();
}

/// "form of the layers: 2 of 30 the rival's (11, 12)".
void print_choice(const mpo::HealResults& results) {
    if (results.options.rival.empty()) return;
    const auto layers = mpo::layers_of_rival(results.report);
    std::cout << "form of the layers: " << layers.size() << " of " << results.report.blocks.size()
              << " the rival's";
    for (std::size_t k = 0; k < layers.size(); ++k)
        std::cout << (k == 0 ? " (" : ", ") << layers[k] << (k + 1 == layers.size() ? ")" : "");
    std::cout << '\n';
}

void print_losses(const mpo::HealResults& results) {
    const auto& report = results.report;
    if (!report.blocks.empty()) {
        const mpo::detail::LayerMeans means(report.blocks);
        std::cout << "held-out loss of the layers, mean: " << arrow(means.before, means.after)
                  << '\n';
    }
    print_choice(results);
    if (!report.distillation) return;
    const auto& curve = report.distillation->curve;
    const auto &first = curve.front(), &kept = curve[mpo::detail::kept_look(*report.distillation)];
    std::cout << "held-out divergence from the teacher, nats per token: "
              << arrow(first.divergence, kept.divergence)
              << ", cross-entropy: " << arrow(first.cross_entropy, kept.cross_entropy) << '\n';
}

void print_texts(const mpo::HealResults& results) {
    if (results.evaluation.empty()) return;
    Table table(2);
    table.add({"text", "model", "perplexity", "+-", "divergence", "+-", "99 %", "same choice"});
    for (const auto& one : results.evaluation) {
        const auto& teacher = one.forms.front().result.reference.perplexity;
        table.add({name(one.text), "teacher", text("%.4g", teacher.mean),
                   text("%.2g", teacher.standard_error)});
        for (const auto& [form, result] : one.forms)
            table.add({"", std::string(mpo::title_of(form)),
                       text("%.4g", result.model.perplexity.mean),
                       text("%.2g", result.model.perplexity.standard_error),
                       text("%.4f", result.kld.mean), text("%.4f", result.kld.standard_error),
                       text("%.4f", result.kld_99), text("%.2f %%", 100 * result.same_top.mean)});
    }
    table.print();
}

void print_results(const mpo::HealResults& results, const std::string& output) {
    print_costs(results);
    print_losses(results);
    print_texts(results);
    const auto& report = results.report;
    std::cout << output << ": healed on " << report.windows << " windows of "
              << report.tokens_per_window << " tokens, " << report.held_out << " held out, in "
              << effort(report.seconds) << '\n';
}

// -- mpo heal ------------------------------------------------------------------------------------

void require_other_texts(const HealArguments& arguments) {
    for (const auto& judged : arguments.evaluate.files)
        for (const auto& trained : arguments.texts) {
            std::error_code ignored;
            if (judged == trained || std::filesystem::equivalent(judged, trained, ignored))
                throw CLI::ValidationError("--evaluate", judged + " is trained on");
        }
}

/// Refuses a file to write that is read, or would be part of what is written.
void require_own_file(const HealArguments& arguments, const char* option, const std::string& file) {
    if (file.empty() || file == "-") return;
    auto others = arguments.texts;
    others.insert(others.end(), arguments.evaluate.files.begin(), arguments.evaluate.files.end());
    others.insert(others.end(), {arguments.student, arguments.teacher, arguments.rival,
                                 arguments.evaluate.tokenizer, output_folder(arguments).string(),
                                 work_folder(arguments).string()});
    for (const auto& other : others)
        if (!other.empty() && mpo::is_within(file, other))
            throw CLI::ValidationError(
                option, file + " is or lies in " + other + ", which the run has another use for");
}

void require_own_files(const HealArguments& arguments) {
    require_own_file(arguments, "--json", arguments.json);
    require_own_file(arguments, "--report", arguments.report);
    if (!arguments.report.empty() && !arguments.json.empty() &&
        mpo::is_within(arguments.report, arguments.json))
        throw CLI::ValidationError("--report", "names the same output as --json");
}

void run_heal(HealArguments& arguments) {
    require_other_texts(arguments);
    require_own_files(arguments);
    if (arguments.threads) mpo::set_num_threads(*arguments.threads);
    const auto work = work_folder(arguments);
    require_free(arguments, work);
    auto options = heal_options(arguments);
    const mpo::Checkpoint teacher(arguments.teacher);
    const auto windows = read_windows(arguments, teacher);
    const auto texts = read_texts(arguments.evaluate, teacher);
    catch_interrupts();
    TextOutput json(arguments.json), page(arguments.report);
    mpo::HealResults results;
    Peaks peaks;
    std::optional<mpo::WorkFolderLock> lock;
    options.lock = &lock;
    results.report = heal(arguments, options, windows, work, peaks);
    results.made_by = {mpo::version_text(), mpo::compiler_text(), arguments.command, arguments.seed,
                       mpo::num_threads()};
    results.student = arguments.student;
    results.teacher = arguments.teacher;
    results.texts = arguments.texts;
    results.options = options;
    const auto forms =
        arguments.rival.empty() ? std::filesystem::path(arguments.student) : healed_folder(work);
    results.costs = mpo::heal_costs(results.report, options, mpo::CompressedCheckpoint(forms));
    for (auto& cost : results.costs)
        cost.peak_bytes = cost.stage == mpo::HealStage::blocks ? peaks.blocks : peaks.distillation;
    results.evaluation = evaluate(arguments, options, texts, work);
    json.write(mpo::to_json(results));
    page.write(arguments.report.empty() ? std::string() : mpo::to_html(results));
    give_name(healed_folder(work), output_folder(arguments));
    if (arguments.work.empty()) std::filesystem::remove_all(work);
    if (!json.takes_stdout() && !page.takes_stdout()) print_results(results, arguments.output);
}

void add_stage_options(CLI::App& sub, HealArguments& arguments) {
    sub.add_option("--blocks-steps", arguments.blocks.steps,
                   "Of every layer (default 300); 0: no block stage");
    sub.add_option("--distill-steps", arguments.distillation.steps,
                   "Of all layers together (default 200); 0: no distillation");
    sub.add_option("--batch-windows", arguments.batch_windows, "Windows of a step (default 4)");
    sub.add_option("--learning-rate", arguments.blocks.learning_rate.peak,
                   "Of the block stage, at its highest, relative to the numbers (default 0.01)");
    sub.add_option("--distill-learning-rate", arguments.distillation.learning_rate.peak,
                   "Of distillation, at its highest, relative as well (default 0.001)");
    sub.add_option("--alpha", arguments.distillation.alpha,
                   "Share of the divergence, the rest is cross-entropy (default 0.9)");
    sub.add_option("--top", arguments.distillation.top,
                   "Tokens of the teacher that stand alone, the rest is one (default 64)");
    sub.add_option("--look-every", arguments.look_every,
                   "Steps between looks at held-out windows, each a snapshot (default 25)");
    sub.add_option("--seed", arguments.seed, "Of the order of the windows (default 1)")
        ->check(whole_number);
}

}  // namespace

void add_heal(CLI::App& app, const std::string& command_line) {
    auto* sub = app.add_subcommand("heal", "Train back what mpo compress took away");
    const auto arguments = std::make_shared<HealArguments>();
    arguments->command = command_line;
    sub->add_option("compressed", arguments->student, "A folder that mpo compress wrote")
        ->required();
    sub->add_option("--teacher", arguments->teacher, "The model that it was made of")->required();
    auto* rival =
        sub->add_option("--rival", arguments->rival,
                        "Another folder that mpo compress made of the teacher: every layer "
                        "is healed in both forms, and the better one is kept");
    sub->add_option("--text", arguments->texts, "A text to train on; repeatable")
        ->required()
        ->expected(1)
        ->take_all();
    sub->add_option("-o,--output", arguments->output, "A folder that does not exist yet")
        ->required();
    sub->add_option("--work", arguments->work,
                    "Folder of snapshots, kept; default: OUTPUT.work, removed at the end");
    sub->add_flag("--resume", arguments->resume, "Go on with the work folder that is there");
    add_stage_options(*sub, *arguments);
    sub->add_option("--trial-steps", arguments->blocks.trial_steps,
                    "After which the worse form stops, at a look (default: at the end)")
        ->needs(rival);
    sub->add_option("--choose-by", arguments->choose_by,
                    "What says which form is better: divergence (default; of held-out windows, the "
                    "layers behind being the teacher's), loss (of the layer's states)")
        ->check(CLI::IsMember(choices))
        ->needs(rival);
    sub->add_option("--windows", arguments->windows,
                    "Of every text, evenly spread over it; default: all that fit");
    sub->add_option("--window", arguments->evaluate.window, "Tokens of each (default 512)");
    sub->add_option("--max-tokens", arguments->evaluate.max_tokens, "Of every text; default: all");
    sub->add_option("--tokenizer", arguments->evaluate.tokenizer,
                    "A .gguf file, tokenizer.json or folder; default: beside the teacher");
    sub->add_option("--evaluate", arguments->evaluate.files,
                    "Another text, to judge every stage by; repeatable")
        ->expected(1)
        ->take_all();
    sub->add_option("--json", arguments->json, "Write the results to a file, or - for stdout");
    sub->add_option("--report", arguments->report,
                    "Write a page to look at (HTML) to a file, or - for stdout");
    sub->add_option("--threads", arguments->threads, "Default: all of the machine");
    sub->callback([arguments] { run_heal(*arguments); });
}

}  // namespace command

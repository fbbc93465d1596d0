// The command `mpo`: every subcommand is one call of the library and what it prints.
//
// Exit status: 0 done; 1 bad input or a failure; 2 wrong usage. Either of the latter two puts one
// line `mpo: error: ...` on stderr. Results go to stdout or the named file, progress to stderr.
// An interrupt (Ctrl-C, SIGTERM) is a failure; a second one ends the process at once.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <csignal>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "mpo/model.hpp"
#include "mpo_output.hpp"

namespace {

volatile std::sig_atomic_t interrupted = 0;

/// Asks the running job to stop after the linear it is at, so that it removes what it has half
/// written. Whoever cannot wait asks again.
void interrupt(int signal) {
    interrupted = 1;
    std::signal(signal, SIG_DFL);
}

/// From here on there is something to remove. What the parent has ignored (nohup) stays ignored.
void catch_interrupts() {
    for (const int signal : {SIGINT, SIGTERM})
        if (std::signal(signal, interrupt) == SIG_IGN) std::signal(signal, SIG_IGN);
}

/// A progress callback that prints, and cancels after an interrupt.
[[nodiscard]] mpo::ProgressCallback progress_to(command::ProgressLine& line) {
    return [&line](const mpo::Progress& progress) {
        line.show(progress);
        return interrupted != 0 ? mpo::ProgressReply::cancel : mpo::ProgressReply::go_on;
    };
}

/// Where --json goes, or --report: a file that is created before the work begins, or stdout.
class TextOutput {
  public:
    explicit TextOutput(const std::string& target) : to_stdout_(target == "-") {
        if (!target.empty() && !to_stdout_) file_.emplace(target);
    }
    [[nodiscard]] bool takes_stdout() const { return to_stdout_; }
    /// Nothing where no target was named.
    void write(const std::string& text) {
        if (to_stdout_) std::cout << text;
        if (!file_) return;
        file_->append(text);
        file_->commit();
    }

  private:
    bool to_stdout_;
    std::optional<mpo::AtomicFile> file_;
};

// -- mpo info -----------------------------------------------------------------------------------

enum class InfoStyle { table, json };

struct InfoArguments {
    std::string path;
    InfoStyle style = InfoStyle::table;
};

template <class Source>
void show(const Source& source, InfoStyle style) {
    if (style == InfoStyle::json)
        std::cout << mpo::to_json(source);
    else
        command::print_info(source);
}

/// Only headers are read, so nothing is mapped: a file may be larger than the address space, and
/// may be shortened meanwhile.
void run_info(const InfoArguments& arguments) {
    constexpr auto mode = mpo::ReadMode::buffered;
    if (mpo::is_compressed(arguments.path))
        show(mpo::CompressedCheckpoint(arguments.path, mode), arguments.style);
    else
        show(mpo::Checkpoint(arguments.path, mode), arguments.style);
}

void add_info(CLI::App& app) {
    auto* sub = app.add_subcommand("info", "What is in a checkpoint");
    const auto arguments = std::make_shared<InfoArguments>();
    sub->add_option("model", arguments->path, "A .safetensors or .gguf file, or a folder")
        ->required();
    sub->add_flag_callback(
        "--json", [arguments] { arguments->style = InfoStyle::json; }, "JSON instead of a table");
    sub->callback([arguments] { run_info(*arguments); });
}

// -- mpo compress -------------------------------------------------------------------------------

const std::map<std::string, mpo::DType> dtypes{
    {"bf16", mpo::DType::bf16}, {"f16", mpo::DType::f16}, {"f32", mpo::DType::f32}};

const std::map<std::string, mpo::CompressForm> forms{{"auto", mpo::CompressForm::automatic},
                                                     {"mpo", mpo::CompressForm::mpo},
                                                     {"low-rank", mpo::CompressForm::low_rank}};

struct CompressArguments {
    std::string model, output, json, report, dtype = "bf16", form = "auto", command;
    std::vector<std::string> layouts;
    std::optional<int> threads;
    mpo::CompressOptions options;
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

void run_compress(CompressArguments arguments) {
    auto& options = arguments.options;
    options.dtype = dtypes.at(arguments.dtype);
    options.form = forms.at(arguments.form);
    for (const auto& layout : arguments.layouts) add_layout(layout, options);
    if (arguments.threads) mpo::set_num_threads(*arguments.threads);
    if (!arguments.report.empty() && arguments.report == arguments.json)
        throw CLI::ValidationError("--report", "names the same output as --json");
    catch_interrupts();
    TextOutput json(arguments.json), page(arguments.report);
    const mpo::Checkpoint source(arguments.model);
    auto report = [&] {
        command::ProgressLine line("compress");
        options.progress = progress_to(line);
        return mpo::compress(source, arguments.output, options, mpo::EigenBackend{});
    }();
    report.made_by.command = arguments.command;
    json.write(mpo::to_json(report));
    page.write(mpo::to_html(report));
    if (!json.takes_stdout() && !page.takes_stdout()) command::print_report(report);
}

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
    sub->add_option("--only", options.only, "Only linears whose name this regex finds");
    sub->add_option("--skip", options.skip, "No linears whose name this regex finds");
    sub->add_option("--dtype", arguments->dtype, "Stored type: bf16 (default), f16, f32")
        ->check(CLI::IsMember(dtypes));
    sub->add_option("--json", arguments->json, "Write the report to a file, or - for stdout");
    sub->add_option("--report", arguments->report,
                    "Write a page to look at (HTML) to a file, or - for stdout");
    sub->add_option("--seed", options.seed, "Of randomized factorisations (default 1)");
    sub->add_option("--threads", arguments->threads, "Default: all of the machine");
    sub->callback([arguments] { run_compress(*arguments); });
}

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
        command::ProgressLine line("reconstruct");
        options.progress = progress_to(line);
        return mpo::reconstruct(source, arguments.output, options, mpo::EigenBackend{});
    }();
    std::cout << arguments.output << ": " << report.num_tensors << " tensors, "
              << report.num_linears << " of them made from cores, "
              << command::readable_bytes(report.bytes) << ", " << command::effort(report.seconds)
              << '\n';
}

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

// -- mpo tokenize -------------------------------------------------------------------------------

struct TokenizeArguments {
    std::string model, text, decode;
    mpo::EncodeOptions options;
};

/// visit(line, number) for every line of a text, without its newline.
template <class Visit>
void for_each_line(const std::string& text, Visit&& visit) {
    int number = 1;
    for (std::size_t begin = 0; begin < text.size(); ++number) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        visit(std::string_view(text).substr(begin, end - begin), number);
        begin = end + 1;
    }
}

/// Whole numbers with blanks between them.
[[nodiscard]] std::vector<mpo::Index> parse_ids(std::string_view line, const std::string& where) {
    std::vector<mpo::Index> ids;
    for (std::size_t at = 0; (at = line.find_first_not_of(" \t\r", at)) < line.size();) {
        const auto word = line.substr(at, line.find_first_of(" \t\r", at) - at);
        mpo::Index id = 0;
        const auto read = std::from_chars(word.data(), word.data() + word.size(), id);
        if (read.ec != std::errc() || read.ptr != word.data() + word.size())
            throw mpo::FormatError(where + ": '" + std::string(word) + "' is no token id");
        ids.push_back(id);
        at += word.size();
    }
    return ids;
}

void run_tokenize(const TokenizeArguments& arguments) {
    const auto tokenizer = mpo::read_tokenizer(arguments.model);
    if (!arguments.decode.empty())
        return for_each_line(
            mpo::read_text_file(arguments.decode), [&](std::string_view line, int number) {
                const auto where = arguments.decode + " line " + std::to_string(number);
                std::cout << tokenizer.decode(parse_ids(line, where)) << '\n';
            });
    for_each_line(mpo::read_text_file(arguments.text), [&](std::string_view line, int) {
        const char* blank = "";
        for (const mpo::Index id : tokenizer.encode(line, arguments.options)) {
            std::cout << blank << id;
            blank = " ";
        }
        std::cout << '\n';
    });
}

void add_tokenize(CLI::App& app) {
    auto* sub = app.add_subcommand("tokenize", "Text to token ids, line by line, and back");
    const auto arguments = std::make_shared<TokenizeArguments>();
    sub->add_option("model", arguments->model,
                    "A .gguf file, a tokenizer.json, or a folder with one of them")
        ->required();
    auto* source = sub->add_option_group("source", "Exactly one of these");
    source->add_option("--text", arguments->text, "A file: prints the ids of every line");
    source->add_option("--decode", arguments->decode, "A file of ids: prints their text");
    source->require_option(1);
    sub->add_flag_callback(
        "--special", [arguments] { arguments->options.special_tokens = mpo::SpecialTokens::parse; },
        "Names of control tokens are these tokens");
    sub->callback([arguments] { run_tokenize(*arguments); });
}

// -- mpo make-choices ---------------------------------------------------------------------------

struct MakeChoicesArguments {
    std::string model, text, output;
    mpo::MakeChoicesOptions options;
};

void run_make_choices(const MakeChoicesArguments& arguments) {
    const auto tokenizer = mpo::read_tokenizer(arguments.model);
    const auto items =
        mpo::make_choices(tokenizer, mpo::read_text_file(arguments.text), arguments.options);
    mpo::write_text_file(arguments.output, mpo::to_jsonl(items));
    std::cout << arguments.output << ": " << items.size()
              << " items, the true continuation of held-out text against three sampled ones\n";
}

void add_make_choices(CLI::App& app) {
    auto* sub = app.add_subcommand("make-choices", "Make a multiple-choice file from any text");
    const auto arguments = std::make_shared<MakeChoicesArguments>();
    auto& options = arguments->options;
    sub->add_option("model", arguments->model, "Whose tokens are counted; see mpo tokenize")
        ->required();
    sub->add_option("--text", arguments->text, "A text that the model has not seen")->required();
    sub->add_option("-o,--output", arguments->output, "The JSONL file to write")->required();
    sub->add_option("--context", options.context_tokens, "Tokens before the choices (default 64)");
    sub->add_option("--continuation", options.continuation_tokens,
                    "Tokens of every choice (default 24)");
    sub->add_option("--items", options.num_items, "At most so many; default: all of the text");
    sub->add_option("--seed", options.seed, "Of the sampled choices (default 1)");
    sub->callback([arguments] { run_make_choices(*arguments); });
}

// -- main ---------------------------------------------------------------------------------------

/// The one line that every failure prints.
int fail(std::string message, int status) {
    constexpr std::size_t max_bytes = 4096;
    for (char& c : message)
        if (c == '\n' || c == '\r') c = ' ';
    std::cerr << "mpo: error: " << mpo::detail::printable(message, max_bytes) << '\n';
    return status;
}

int run(int argc, char** argv) {
    CLI::App app("Matrix product operators for the linears of language models", "mpo");
    app.set_version_flag("--version",
                         mpo::detail::concat("mpo ", MPO_VERSION_MAJOR, ".", MPO_VERSION_MINOR, ".",
                                             MPO_VERSION_PATCH));
    app.require_subcommand(1);
    add_info(app);
    add_compress(app, command::command_line(argc, argv));
    add_reconstruct(app);
    add_tokenize(app);
    add_make_choices(app);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& asked) {  // --help, --version
        return app.exit(asked);
    } catch (const CLI::ParseError& error) {
        return fail(error.what(), 2);
    }
    std::cout.flush();
    return std::cout ? 0 : fail("stdout: not everything could be written", 1);
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGXFSZ, SIG_IGN);  // a file too large is a failed write, with its message
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        return fail(error.what(), 1);
    }
}

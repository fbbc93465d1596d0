// The command `mpo`: every subcommand is one call of the library and what it prints.
//
// Exit status: 0 done; 1 bad input or a failure; 2 wrong usage. Either of the latter two puts one
// line `mpo: error: ...` on stderr. Results go to stdout or the named file, progress to stderr.
// An interrupt (Ctrl-C, SIGTERM) is a failure; a second one ends the process at once.

#include <CLI/CLI.hpp>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <algorithm>
#include <charconv>
#include <csignal>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "mpo/io/text_file.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/describe.hpp"
#include "mpo/model/make_choices.hpp"
#include "mpo/model/tokenizer.hpp"
#include "mpo/version.hpp"
#include "mpo_command.hpp"
#include "mpo_output.hpp"

namespace {

using command::joined, command::name, command::readable_bytes, command::readable_count;
using command::Table, command::text;

volatile std::sig_atomic_t interrupted = 0;

/// Asks the running job to stop after the linear it is at, so that it removes what it has half
/// written. Whoever cannot wait asks again.
void interrupt(int signal) {
    interrupted = 1;
    std::signal(signal, SIG_DFL);
}

}  // namespace

namespace command {

void catch_interrupts() {
    for (const int signal : {SIGINT, SIGTERM})
        if (std::signal(signal, interrupt) == SIG_IGN) std::signal(signal, SIG_IGN);
}

mpo::ProgressReply reply() {
    return interrupted != 0 ? mpo::ProgressReply::cancel : mpo::ProgressReply::go_on;
}

}  // namespace command

namespace {

// -- mpo info ---------------------------------------------------------------------------------------

void print_info(const mpo::Checkpoint& checkpoint) {
    std::cout << checkpoint.path().string() << ": " << mpo::to_string(checkpoint.format()) << ", "
              << checkpoint.tensors().size() << " tensors, "
              << readable_count(checkpoint.num_parameters()) << " parameters, "
              << readable_bytes(checkpoint.bytes()) << '\n';
    if (const auto& model = checkpoint.hyperparameters(); model && !model->model_type.empty())
        std::cout << name(model->model_type) << ": " << model->num_hidden_layers
                  << " layers, hidden " << model->hidden_size << ", intermediate "
                  << model->intermediate_size << ", " << model->num_attention_heads << " heads ("
                  << model->num_key_value_heads << " for keys and values) of " << model->head_dim
                  << ", vocabulary " << model->vocab_size << '\n';
    Table table(3);
    table.add({"tensor", "type", "shape", "bytes"});
    for (const auto& tensor : checkpoint.tensors())
        table.add({name(tensor.name), mpo::to_string(tensor.type), name(joined(tensor.shape, "x")),
                   std::to_string(tensor.bytes)});
    table.print();
}

void print_info(const mpo::CompressedCheckpoint& compressed) {
    print_info(compressed.checkpoint());
    Table table(4);
    table.add({"\ncompressed linear", "was", "layout (out : in)", "bonds", "stored as",
               "relative error"});
    for (const auto& linear : compressed.linears())
        table.add({name(linear.name),
                   name(linear.original_dtype) + " " + joined(linear.original_shape, "x"),
                   mpo::to_string(linear.layout), joined(linear.bonds, " "),
                   std::string(mpo::to_string(linear.stored_as)),
                   text("%.4f", linear.relative_error)});
    table.print();
}

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
        print_info(source);
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
    sub->add_option("--seed", options.seed, "Of the sampled choices (default 1)")
        ->check(command::whole_number);
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
    const auto line = command::command_line(argc, argv);
    command::add_compress(app, line);
    command::add_reconstruct(app);
    command::add_evaluate(app, line);
    command::add_generate(app);
    command::add_profile(app, line);
    command::add_heal(app, line);
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

/// Arrays of a mebibyte go back to the system when they are freed. By default the C library keeps all below 32 MiB, and
/// layers that come and go leave holes between what stays: healing five layers in two forms took 677 MB instead of 483.
void give_memory_back() {
#ifdef __GLIBC__
    ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
    ::mallopt(M_TRIM_THRESHOLD, 8 << 20);
#endif
}

}  // namespace

int main(int argc, char** argv) {
    give_memory_back();
    std::signal(SIGXFSZ, SIG_IGN);  // a file too large is a failed write, with its message
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        return fail(error.what(), 1);
    }
}

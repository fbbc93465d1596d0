// What the parts of the command share: one part per translation unit, so that several compilers can work at them.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compress_report.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/progress.hpp"
#include "mpo_output.hpp"

namespace command {

// The subcommands; command_line is what a report says made it.
void add_compress(CLI::App& app, const std::string& command_line);
void add_reconstruct(CLI::App& app);
void add_evaluate(CLI::App& app, const std::string& command_line);
void add_generate(CLI::App& app);
void add_profile(CLI::App& app, const std::string& command_line);
void add_heal(CLI::App& app, const std::string& command_line);

/// From here on there is something to remove. What the parent has ignored (nohup) stays ignored.
void catch_interrupts();

/// Cancels after an interrupt.
[[nodiscard]] mpo::ProgressReply reply();

/// Digits alone, and no more than fit: CLI11 takes -1 for the largest number and cuts what is larger.
inline const CLI::Validator whole_number(
    [](const std::string& given) {
        std::uint64_t value = 0;
        const auto read = std::from_chars(given.data(), given.data() + given.size(), value);
        if (read.ec == std::errc() && read.ptr == given.data() + given.size()) return std::string();
        return "must be a whole number from 0 to 18446744073709551615, got " + given;
    },
    "");

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

/// Options of every subcommand that reads texts.
struct TextArguments {
    std::vector<std::string> files;
    std::string tokenizer;
    Index window = 512, max_tokens = 0;
    std::optional<Index> stride;  // none: the window

    [[nodiscard]] Index from_window_to_window() const { return stride.value_or(window); }
};

void add_text_options(CLI::App& sub, TextArguments& arguments);

/// What is to be judged by, ready before the work begins: texts that the model can read.
[[nodiscard]] std::vector<mpo::EvaluationText> read_texts(const TextArguments& arguments,
                                                          const mpo::Checkpoint& source);

/// What mpo compress did, for people.
void print_report(const mpo::CompressReport& report);

/// Judges the forms by the texts, with progress.
[[nodiscard]] std::vector<mpo::TextReport> compare_texts(
    const mpo::FormPaths& forms, const std::vector<mpo::EvaluationText>& texts,
    const TextArguments& arguments);

}  // namespace command

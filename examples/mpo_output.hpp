// What the command prints: tables on stdout, progress on stderr.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <string>
#include <vector>

#include "mpo/model.hpp"

namespace command {

using mpo::Index;
using mpo::readable_bytes;
using mpo::readable_count;

/// printf into a string.
template <class... Args>
[[nodiscard]] std::string text(const char* format, Args... args) {
    char buffer[256];
    std::snprintf(buffer, sizeof buffer, format, args...);
    return buffer;
}

/// "33.9 s, peak memory 553 MB", of the whole process.
[[nodiscard]] inline std::string effort(double seconds) {
    ::rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return text("%.1f s, peak memory ", seconds) + readable_bytes(Index{1024} * usage.ru_maxrss);
}

/// The arguments as a POSIX shell takes them back, quoted where it must be.
[[nodiscard]] inline std::string command_line(int argc, char** argv) {
    std::string line = "mpo";
    for (int k = 1; k < argc; ++k) {
        const std::string argument = argv[k];
        const bool plain = !argument.empty() &&
                           argument.find_first_not_of(
                               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "_-./:=,@%+") == std::string::npos;
        line += plain ? " " + argument : " '";
        if (plain) continue;
        for (const char c : argument) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
        line += '\'';
    }
    return line;
}

[[nodiscard]] inline std::string joined(const mpo::Shape& numbers, const char* between) {
    std::string result;
    for (const Index number : numbers)
        result += (result.empty() ? "" : between) + std::to_string(number);
    return result;
}

/// Rows of cells, aligned; the first `left` columns to the left, the others to the right.
class Table {
  public:
    explicit Table(std::size_t left) : left_(left) {}
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    void print() const {
        std::vector<std::size_t> widths;
        for (const auto& row : rows_)
            for (std::size_t c = 0; c < row.size(); ++c) {
                if (c == widths.size()) widths.push_back(0);
                widths[c] = std::max(widths[c], row[c].size());
            }
        for (const auto& row : rows_) {
            std::string line;
            for (std::size_t c = 0; c < row.size(); ++c) {
                const std::string pad(widths[c] - row[c].size(), ' ');
                line += (c == 0 ? "" : "  ") + (c < left_ ? row[c] + pad : pad + row[c]);
            }
            std::cout << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
        }
    }

  private:
    std::size_t left_;
    std::vector<std::vector<std::string>> rows_;
};

/// On a terminal one line that renews itself; elsewhere one line with a time stamp per linear.
class ProgressLine {
  public:
    explicit ProgressLine(std::string verb)
        : verb_(std::move(verb)), terminal_(::isatty(STDERR_FILENO) == 1) {}
    ~ProgressLine() {
        if (open_) std::fputs("\r\033[K", stderr);
    }
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;

    void show(const mpo::Progress& progress) {
        const double rate = static_cast<double>(progress.done) / std::max(progress.seconds, 1e-9);
        const std::string line = text("%s %td/%td ", verb_.c_str(), progress.done, progress.count) +
                                 std::string(progress.linear) +
                                 text(": %.1f linears/s, %.0f s left", rate, progress.seconds_left);
        if (terminal_)
            std::fprintf(stderr, "\r%s\033[K", line.c_str());
        else
            std::fprintf(stderr, "%s %s\n", time_stamp().c_str(), line.c_str());
        open_ = terminal_;
    }

  private:
    [[nodiscard]] static std::string time_stamp() {
        const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
        std::tm utc{};
        ::gmtime_r(&now, &utc);
        char buffer[32];
        std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%SZ", &utc);
        return buffer;
    }

    std::string verb_;
    bool terminal_;
    bool open_ = false;
};

// -- info ---------------------------------------------------------------------------------------

/// Names are those of the file: cut, and without what a terminal would obey. --json has them whole.
[[nodiscard]] inline std::string name(const std::string& text) {
    return mpo::detail::printable(text, 120);
}

inline void print_info(const mpo::Checkpoint& checkpoint) {
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

inline void print_info(const mpo::CompressedCheckpoint& compressed) {
    print_info(compressed.checkpoint());
    Table table(4);
    table.add({"\ncompressed linear", "was", "layout (out : in)", "bonds", "relative error"});
    for (const auto& linear : compressed.linears())
        table.add({name(linear.name),
                   name(linear.original_dtype) + " " + joined(linear.original_shape, "x"),
                   mpo::to_string(linear.layout), joined(linear.bonds, " "),
                   text("%.4f", linear.relative_error)});
    table.print();
}

// -- compress -----------------------------------------------------------------------------------

/// "low rank 576x1 : 1x576 (28/30)", or "dense".
[[nodiscard]] inline std::string form_of(const mpo::KindReport& kind) {
    const auto& typical = kind.typical;
    std::string form = "dense";
    if (typical.form != mpo::LinearForm::dense)
        form = (typical.form == mpo::LinearForm::low_rank ? "low rank " : "mpo ") +
               mpo::to_string(typical.layout);
    if (kind.typical_count < kind.count) form += text(" (%td/%td)", kind.typical_count, kind.count);
    return form;
}

[[nodiscard]] inline std::vector<std::string> size_cells(const mpo::SizeChange& size) {
    return {readable_count(size.parameters_before), readable_count(size.parameters),
            readable_bytes(size.bytes_before), readable_bytes(size.bytes),
            text("%.2f", static_cast<double>(size.multiply_adds) /
                             static_cast<double>(size.multiply_adds_before))};
}

inline void print_kinds(const mpo::CompressReport& report) {
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

/// "note: .." in lines of at most 100 letters.
inline void print_note(const std::string& note) {
    constexpr std::size_t most = 94;
    std::string rest = note, begin = "note: ";
    for (; rest.size() > most; begin = "      ") {
        const auto blank = rest.rfind(' ', most);
        if (blank == std::string::npos) break;
        std::cout << begin << rest.substr(0, blank) << '\n';
        rest.erase(0, blank + 1);
    }
    std::cout << begin << rest << '\n';
}

inline void print_report(const mpo::CompressReport& report) {
    print_kinds(report);
    std::cout << "whole model: " << report.num_tensors << " tensors, "
              << readable_bytes(report.bytes_before) << " before, " << readable_bytes(report.bytes)
              << " after as " << mpo::to_string(report.dtype) << "; " << report.linears.size()
              << " linears in " << effort(report.seconds) << '\n';
    for (const auto& note : mpo::notes(report)) print_note(note);
}

}  // namespace command

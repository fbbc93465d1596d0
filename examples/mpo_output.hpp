// How the command prints: tables on stdout, progress on stderr.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/printable.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/model/readable.hpp"

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

/// Names are those of the file: cut, and without what a terminal would obey. --json has them whole.
[[nodiscard]] inline std::string name(const std::string& text) {
    return mpo::detail::printable(text, 120);
}

/// The most memory that the process has had.
[[nodiscard]] inline Index peak_bytes() {
    ::rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return Index{1024} * usage.ru_maxrss;
}

/// "33.9 s, peak memory 553 MB", of the whole process.
[[nodiscard]] inline std::string effort(double seconds) {
    return text("%.1f s, peak memory ", seconds) + readable_bytes(peak_bytes());
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

/// On a terminal one line that renews itself; elsewhere one line with a time stamp per step.
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
        print(text("%s %td/%td ", verb_.c_str(), progress.done, progress.count) +
              std::string(progress.linear) +
              text(": %.1f linears/s, %.0f s left", rate, progress.seconds_left));
    }
    /// Anything, behind the verb.
    void show(const std::string& what) { print(verb_ + " " + what); }
    /// Of what, how much of how much: tokens or items.
    void show(std::string_view what, Index done, Index count) {
        print(text("%s %td/%td ", verb_.c_str(), done, count) + name(std::string(what)));
    }

  private:
    void print(const std::string& line) {
        if (terminal_)
            std::fprintf(stderr, "\r%s\033[K", line.c_str());
        else
            std::fprintf(stderr, "%s %s\n", time_stamp().c_str(), line.c_str());
        open_ = terminal_;
    }

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

}  // namespace command

// Processes for tests of what ends a process, or changes what it may do. POSIX.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "mpo/core/parallel.hpp"

namespace mpo::test {

/// How a process ended.
struct Ended {
    int status = -1;  // of exit; -1: a signal ended it
    int signal = 0;   // that ended it; 0: none did
    std::string out, err;
};

/// Waits for a child.
[[nodiscard]] inline Ended wait_for(pid_t child) {
    int code = 0;
    while (::waitpid(child, &code, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(code)) return {-1, WTERMSIG(code), {}, {}};
    return {WIFEXITED(code) ? WEXITSTATUS(code) : -1, 0, {}, {}};
}

/// A file without a name that a child writes and its parent reads.
class Channel {
  public:
    Channel() : file_(std::tmpfile(), std::fclose) {
        if (!file_) throw std::runtime_error("Channel: no temporary file");
    }
    [[nodiscard]] int number() const { return ::fileno(file_.get()); }
    [[nodiscard]] std::string text() const {
        std::string result;
        char buffer[4096];
        for (::off_t at = 0;;) {
            const auto got = ::pread(number(), buffer, sizeof buffer, at);
            if (got <= 0) return result;
            result.append(buffer, static_cast<std::size_t>(got));
            at += got;
        }
    }

  private:
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

/// Signals end a child as they end a program: neither Catch nor a sanitizer stands between.
inline void forget_signal_handlers() {
    for (const int signal : {SIGBUS, SIGSEGV, SIGABRT, SIGTERM, SIGINT, SIGFPE, SIGILL})
        std::signal(signal, SIG_DFL);
}

/// Forks. The child calls body() on its one thread and exits with 0, or with 1 where it throws, and
/// does nothing else of its parent's.
template <class Body>
[[nodiscard]] pid_t start_child(Body&& body) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    forget_signal_handlers();
    set_num_threads(1);  // the threads of the pool were not forked
    int status = 0;
    try {
        body();
    } catch (...) {
        status = 1;
    }
    ::_exit(status);
}

/// body() in a child; what it returns is `out`, what it throws is `err`.
template <class Body>
[[nodiscard]] Ended in_child(Body&& body) {
    const Channel out, err;
    const auto say = [](const Channel& channel, const std::string& text) {
        for (std::size_t at = 0; at < text.size();) {
            const auto put = ::write(channel.number(), text.data() + at, text.size() - at);
            if (put <= 0) ::_exit(9);
            at += static_cast<std::size_t>(put);
        }
    };
    const pid_t child = start_child([&] {
        try {
            say(out, body());
        } catch (const std::exception& error) {
            say(err, error.what());
            throw;
        }
    });
    auto ended = wait_for(child);
    ended.out = out.text();
    ended.err = err.text();
    return ended;
}

/// Starts `program` in `folder` after prepare(), with `err` as its stderr.
template <class Prepare>
[[nodiscard]] pid_t start_program(const char* program, std::vector<std::string> arguments,
                                  const std::filesystem::path& folder, int out, int err,
                                  Prepare&& prepare) {
    const int file = ::open(program, O_RDONLY | O_CLOEXEC);  // prepare() may give up the right to
    const pid_t child = start_child([&] {
        ::dup2(out, STDOUT_FILENO);
        ::dup2(err, STDERR_FILENO);
        if (::chdir(folder.c_str()) != 0) ::_exit(125);
        prepare();
        std::vector<char*> argv{const_cast<char*>("mpo")};
        for (auto& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        ::fexecve(file, argv.data(), environ);
        ::_exit(126);
    });
    ::close(file);
    return child;
}

/// Runs `program` to its end.
template <class Prepare>
[[nodiscard]] Ended run_program(const char* program, std::vector<std::string> arguments,
                                const std::filesystem::path& folder, Prepare&& prepare) {
    const Channel out, err;
    auto ended = wait_for(
        start_program(program, std::move(arguments), folder, out.number(), err.number(), prepare));
    ended.out = out.text();
    ended.err = err.text();
    return ended;
}
[[nodiscard]] inline Ended run_program(const char* program, std::vector<std::string> arguments,
                                       const std::filesystem::path& folder) {
    return run_program(program, std::move(arguments), folder, [] {});
}

/// Fails where the last line is not the only one that begins as the command's errors do.
inline void check_one_error_line(const std::string& err) {
    INFO("stderr: " << err);
    const auto at = err.find("mpo: error: ");
    REQUIRE(at != std::string::npos);
    CHECK((at == 0 || err[at - 1] == '\n'));
    CHECK(err.find('\n', at) == err.size() - 1);
    CHECK(err.find("mpo: error: ", at + 1) == std::string::npos);
}

}  // namespace mpo::test

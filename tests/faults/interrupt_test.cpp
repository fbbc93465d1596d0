// Ctrl-C and SIGTERM, as the command `mpo` answers them.
//
// The moment is no matter of luck: the command is interrupted while it waits for somebody to read its
// progress, which does not fit into the pipe.

#include <poll.h>

#include "support/child.hpp"
#include "support/jobs.hpp"

#ifdef MPO_COMMAND

namespace {

using namespace mpo;
using namespace mpo::test;

constexpr int pipe_bytes = 4096;  // progress of some 50 linears

constexpr int layers = 30;  // of seven linears: progress in plenty

[[nodiscard]] std::vector<std::string> arguments(const Sources& sources, const std::string& verb) {
    if (verb == "reconstruct") return {verb, sources.small.string(), "-o", "out"};
    return {verb, sources.model.string(), "-o", "out", "--budget", "0.5", "--json", "report.json"};
}

/// The command with a pipe as its stderr.
class Running {
  public:
    template <class Prepare>
    Running(std::vector<std::string> arguments, const std::filesystem::path& folder,
            Prepare&& prepare) {
        REQUIRE(::pipe2(ends_, O_CLOEXEC) == 0);
        REQUIRE(::fcntl(ends_[0], F_SETPIPE_SZ, pipe_bytes) == pipe_bytes);
        child_ = start_program(MPO_COMMAND, std::move(arguments), folder, out_.number(), ends_[1],
                               prepare);
        ::close(ends_[1]);
    }
    ~Running() { ::close(ends_[0]); }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

    /// Waits for the first progress, and signals; most of the work is still to come.
    void signal(int number) const {
        ::pollfd ready{ends_[0], POLLIN, 0};
        REQUIRE(::poll(&ready, 1, 60'000) == 1);
        REQUIRE(::kill(child_, number) == 0);
    }
    /// Waits until a child of one thread sleeps: the pipe is full, and it cannot go on by itself.
    void wait_until_blocked() const {
        const auto status = "/proc/" + std::to_string(child_) + "/stat";
        for (char state = 'R'; state != 'S';) {
            const auto text = read_file(status);
            state = text.at(text.rfind(')') + 2);
            REQUIRE(state != 'Z');
        }
    }
    /// Reads the progress to its end, and waits for the child's.
    [[nodiscard]] Ended finish() const {
        std::string err;
        char buffer[4096];
        for (::ssize_t got = 1; got > 0; err.append(buffer, static_cast<std::size_t>(got)))
            got = std::max<::ssize_t>(0, ::read(ends_[0], buffer, sizeof buffer));
        auto ended = wait_for(child_);
        ended.out = out_.text();
        ended.err = err;
        return ended;
    }

  private:
    Channel out_;
    int ends_[2]{};
    pid_t child_ = 0;
};

}  // namespace

TEST_CASE("interrupt: status 1, one line that says how far it came, and nothing stays") {
    const Sources sources(layers);
    for (const std::string verb : {"compress", "reconstruct"})
        for (const int number : {SIGINT, SIGTERM})
            for (const std::string threads : {"1", "2"}) {
                INFO("mpo " << verb << ", signal " << number << ", threads " << threads);
                const TemporaryFolder folder;
                auto words = arguments(sources, verb);
                words.insert(words.end(), {"--threads", threads});
                const Running running(words, folder.path(), [] {});
                running.signal(number);
                const auto ended = running.finish();
                CHECK(ended.signal == 0);
                CHECK(ended.status == 1);
                CHECK(ended.out.empty());
                check_one_error_line(ended.err);
                CHECK(ended.err.find("mpo: error: " + verb + ": cancelled after ") !=
                      std::string::npos);
                CHECK(ended.err.find(" of 210 linears") != std::string::npos);
                CHECK(folder.names().empty());
            }
}

TEST_CASE("interrupt: the second one ends the process at once, and nothing has the final name") {
    const Sources sources(layers);
    const TemporaryFolder folder;
    auto words = arguments(sources, "compress");
    words.insert(words.end(), {"--threads", "1"});
    const Running running(words, folder.path(), [] {});
    running.signal(0);  // it has begun
    running.wait_until_blocked();
    running.signal(SIGINT);
    running.wait_until_blocked();  // again: the first one was heard
    running.signal(SIGINT);
    CHECK(running.finish().signal == SIGINT);
    CHECK(final_names(folder).empty());
}

TEST_CASE("interrupt: what the parent ignores stays ignored") {
    const Sources sources(layers);
    const TemporaryFolder folder;
    const Running running(arguments(sources, "compress"), folder.path(),
                          [] { std::signal(SIGINT, SIG_IGN); });
    running.signal(SIGINT);
    const auto ended = running.finish();
    CHECK(ended.status == 0);
    CHECK(folder.names() == std::vector<std::string>{"out", "report.json"});
}

#else

TEST_CASE("interrupt: the command is not built here") {
    SUCCEED("MPO_BUILD_EXAMPLES is off");
}

#endif

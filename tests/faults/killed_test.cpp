// kill -9 while an output is written: afterwards there is the old one or the new one, complete, and
// what was left over is in nobody's way.
//
// What a kill can leave is decided by the system calls that were made before it. So a child is led
// from one system call to the next, and killed between two of them: moments that can be repeated,
// all of them for one file. The command, which has threads, is killed by the clock.

#include <sys/ptrace.h>

#include <chrono>
#include <random>
#include <thread>

#include "mpo/io/atomic_file.hpp"
#include "support/child.hpp"
#include "support/jobs.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// A child that runs body() from stop to stop: before and after every system call.
template <class Body>
class LedChild {
  public:
    explicit LedChild(Body& body)
        : child_(start_child([&] {
              if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(2);
              ::raise(SIGSTOP);
              body();
          })) {
        int code = 0;
        REQUIRE(::waitpid(child_, &code, 0) == child_);
        REQUIRE(WIFSTOPPED(code));
    }
    ~LedChild() {
        if (child_ == 0) return;
        ::kill(child_, SIGKILL);
        (void)wait_for(child_);
    }
    LedChild(const LedChild&) = delete;
    LedChild& operator=(const LedChild&) = delete;

    /// On to the next stop; false where the child ended before.
    [[nodiscard]] bool step() {
        int code = 0;
        REQUIRE(::ptrace(PTRACE_SYSCALL, child_, nullptr, nullptr) == 0);
        REQUIRE(::waitpid(child_, &code, 0) == child_);
        if (WIFSTOPPED(code)) return true;
        CHECK((WIFEXITED(code) && WEXITSTATUS(code) == 0));
        child_ = 0;
        return false;
    }

  private:
    pid_t child_;  // 0: has ended
};

/// Runs body() in a child until its moment-th stop, and kills it there.
template <class Body>
void kill_at(int moment, Body body) {
    LedChild<Body> child(body);
    for (int k = 0; k < moment; ++k)
        if (!child.step()) return;
}

/// Number of stops until body() has ended.
template <class Body>
[[nodiscard]] int count_moments(Body body) {
    LedChild<Body> child(body);
    int moments = 0;
    while (child.step()) ++moments;
    return moments;
}

/// The first moment, the last one, and 20 random ones between them.
[[nodiscard]] std::vector<int> some_moments(int count) {
    std::mt19937 random(20);
    std::vector<int> moments{1, count};
    for (int k = 0; k < 20; ++k)
        moments.push_back(static_cast<int>(random() % static_cast<unsigned>(count)));
    return moments;
}

}  // namespace

TEST_CASE("killed: a file is the old one or the new one, at every moment") {
    const TemporaryFolder folder;
    const std::string old_text(70'000, 'o'), new_text(50'000, 'n');
    const auto write = [&] {
        AtomicFile file(folder / "out");
        for (int k = 0; k < 10; ++k) file.append(new_text.substr(0, 5000));
        file.commit();
    };
    write_file(folder / "out", old_text);
    const int moments = count_moments(write);
    REQUIRE(moments > 20);
    REQUIRE(read_file(folder / "out") == new_text);
    int kept = 0, replaced = 0;
    for (int moment = 0; moment <= moments; ++moment) {
        INFO("moment " << moment << " of " << moments);
        write_file(folder / "out", old_text);
        kill_at(moment, write);
        const auto text = read_file(folder / "out");
        CHECK((text == old_text || text == new_text));
        ++(text == new_text ? replaced : kept);
        CHECK(final_names(folder) == std::vector<std::string>{"out"});
    }
    CHECK(kept > 20);
    CHECK(replaced > 0);
    const auto leftovers = folder.names().size() - 1;
    CHECK(leftovers > 20);
    write();
    CHECK(read_file(folder / "out") == new_text);
    CHECK(folder.names().size() - 1 == leftovers);  // what is not ours to judge is left alone
}

TEST_CASE("killed: every output is there completely or not at all, and the next run succeeds") {
    const Sources sources;
    const auto all = jobs(sources);
    const auto good = good_outputs(all);
    for (const auto& job : all) {
        const TemporaryFolder folder;
        const auto run = [&] { job.run(folder / "out"); };
        const int count = count_moments(run);
        REQUIRE(everything(folder / "out") == good.at(job.name));
        int absent = 0, complete = 0;
        for (const int moment : some_moments(count)) {
            INFO(job.name << ", moment " << moment << " of " << count);
            std::filesystem::remove_all(folder / "out");
            kill_at(moment, run);
            const auto output = everything(folder / "out");
            CHECK((output.empty() || output == good.at(job.name)));
            ++(output.empty() ? absent : complete);
        }
        INFO(job.name);
        CHECK(absent > 0);
        CHECK(complete > 0);
        std::filesystem::remove_all(folder / "out");
        run();
        CHECK(everything(folder / "out") == good.at(job.name));
        CHECK(final_names(folder) == std::vector<std::string>{"out"});
    }
}

#ifdef MPO_COMMAND

TEST_CASE("killed: the command at 20 random times, and then it succeeds") {
    using Clock = std::chrono::steady_clock;
    const Sources sources;
    const auto model = sources.model.string();
    const std::vector<std::string> command{"compress", model, "-o",        "out",
                                           "--budget", "0.5", "--threads", "2"};
    const TemporaryFolder folder;
    const auto begin = Clock::now();
    REQUIRE(run_program(MPO_COMMAND, command, folder.path()).status == 0);
    const auto duration = Clock::now() - begin;
    const auto expected = everything(folder / "out");
    REQUIRE(expected.size() > 2);
    std::mt19937 random(21);
    int killed = 0;
    for (int k = 0; k < 20; ++k) {
        std::filesystem::remove_all(folder / "out");
        const auto delay = duration * (k == 0 ? 0 : random() % 1000) / 1000;
        INFO("after " << std::chrono::duration<double>(delay).count() << " s");
        const Channel out, err;
        const auto child =
            start_program(MPO_COMMAND, command, folder.path(), out.number(), err.number(), [] {});
        std::this_thread::sleep_for(delay);
        ::kill(child, SIGKILL);
        killed += wait_for(child).signal == SIGKILL ? 1 : 0;
        const auto output = everything(folder / "out");
        CHECK((output.empty() || output == expected));
    }
    CHECK(killed > 0);
    std::filesystem::remove_all(folder / "out");
    CHECK(run_program(MPO_COMMAND, command, folder.path()).status == 0);
    CHECK(everything(folder / "out") == expected);
    CHECK(final_names(folder) == std::vector<std::string>{"out"});
}

#endif

// A write that the system refuses at any byte, without a disk of one's own: the largest size that a
// file may have.

#include "support/child.hpp"
#include "support/jobs.hpp"
#include "support/limits.hpp"

using namespace mpo;
using namespace mpo::test;

TEST_CASE("write error: wherever it comes, nothing has the final name, and then it succeeds") {
    const Sources sources;
    const auto all = jobs(sources);
    const auto good = good_outputs(all);
    for (const auto& job : all) {
        const TemporaryFolder folder;
        int failures = 0;
        for (rlim_t bytes = 0;; bytes += bytes < 200 ? 23 : 3001) {
            INFO(job.name << ", files of at most " << bytes << " bytes");
            REQUIRE(bytes < 1'000'000);
            try {
                const FileSizeLimit limit(bytes);
                job.run(folder / "out");
            } catch (const FileError& error) {
                ++failures;
                const std::string message = error.what();
                CHECK(message.find("File too large") != std::string::npos);
                CHECK(message.find(" at byte ") != std::string::npos);
                CHECK(message.find(folder.path().string()) != std::string::npos);
                CHECK(folder.names().empty());
                continue;
            }
            break;
        }
        CHECK(failures > 10);
        CHECK(everything(folder / "out") == good.at(job.name));
        CHECK(folder.names() == std::vector<std::string>{"out"});
    }
}

#ifdef MPO_COMMAND

TEST_CASE("write error: the command ends with status 1, one line, and no output") {
    const Sources sources;
    const TemporaryFolder folder;
    const auto model = sources.model.string();
    const auto small = sources.small.string();
    const std::vector<std::vector<std::string>> commands{
        {"compress", model, "-o", "out", "--budget", "0.5"}, {"reconstruct", small, "-o", "out"}};
    for (const auto& command : commands)
        for (const rlim_t bytes : {rlim_t{0}, rlim_t{4096}, rlim_t{66'000}}) {
            INFO(command.front() << ", " << bytes);
            const auto ended = run_program(MPO_COMMAND, command, folder.path(), [bytes] {
                std::signal(SIGXFSZ, SIG_DFL);  // the command must see to this itself
                const ::rlimit limit{bytes, bytes};
                ::setrlimit(RLIMIT_FSIZE, &limit);
            });
            CHECK(ended.signal == 0);
            CHECK(ended.status == 1);
            CHECK(ended.out.empty());
            if (bytes > 0) check_one_error_line(ended.err);  // else there is no room for it
            CHECK(folder.names().empty());
        }
}

#endif

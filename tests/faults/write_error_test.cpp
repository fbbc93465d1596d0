// A write that the system refuses at any byte, without a disk of one's own: the largest size that a
// file may have.

#include "mpo/core/random.hpp"
#include "mpo/io/safetensors_writer.hpp"
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

TEST_CASE("write error: a safetensors file whose data were half moved must be written anew") {
    const TemporaryFolder folder;
    const auto tensor = normal_tensor<float>({100, 100}, 1);
    {
        SafetensorsWriter writer(folder / "out", {.reserved_header_bytes = 0});
        writer.append("tensor", tensor);
        {
            const FileSizeLimit limit(40'010);  // the data fit, but not behind their header
            check_throws<FileError>([&] { writer.finish(); }, {"out", "File too large"});
        }
        check_throws<ArgumentError>([&] { writer.finish(); }, {"out", "written anew"});
        check_throws<ArgumentError>([&] { writer.append("next", tensor); }, {"written anew"});
    }
    CHECK(folder.names().empty());
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

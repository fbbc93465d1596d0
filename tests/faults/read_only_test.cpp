// A folder that may not be written: by its permissions, seen by a user who is not root.

#include <grp.h>
#include <sys/stat.h>

#include "support/child.hpp"
#include "support/jobs.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// In a child only: permission bits count for root as well from here on.
void drop_privileges() {
    constexpr unsigned nobody = 65534;
    if (::geteuid() != 0) return;
    if (::setgroups(0, nullptr) != 0 || ::setresgid(nobody, nobody, nobody) != 0 ||
        ::setresuid(nobody, nobody, nobody) != 0)
        throw std::runtime_error("privileges cannot be dropped");
}

/// A folder that nobody may write into, with an older file.
struct ReadOnlyFolder {
    ReadOnlyFolder() {
        write_file(folder / "out", std::string("old"));
        ::chmod(folder.path().c_str(), 0555);
        ::chmod((folder / "out").c_str(), 0666);  // the file itself might be written
    }
    ~ReadOnlyFolder() { ::chmod(folder.path().c_str(), 0755); }
    TemporaryFolder folder;
};

}  // namespace

TEST_CASE("read-only folder: one exception with path and reason, and nothing is written") {
    const Sources sources;
    const ReadOnlyFolder shut;
    for (const auto& job : jobs(sources))
        for (const char* name : {"out", "new"}) {
            if (job.name != "text file" && job.name != "safetensors file" && name[0] == 'o')
                continue;  // a folder that exists is refused whatever its permissions
            INFO(job.name << " to " << name);
            const auto ended = in_child([&]() -> std::string {
                drop_privileges();
                return message_of<FileError>([&] { job.run(shut.folder / name); });
            });
            CHECK(ended.status == 0);
            CHECK(ended.err == "");
            CHECK(ended.out == "create " + (shut.folder / name).string() + ": Permission denied");
            CHECK(shut.folder.names() == std::vector<std::string>{"out"});
            CHECK(read_file(shut.folder / "out") == "old");
        }
}

#ifdef MPO_COMMAND

TEST_CASE("read-only folder: the command ends with status 1 and one line before any work") {
    const Sources sources;
    const ReadOnlyFolder shut;
    const auto model = sources.model.string();
    const auto small = sources.small.string();
    const std::vector<std::vector<std::string>> commands{
        {"compress", model, "-o", "new", "--budget", "0.5"},
        {"compress", model, "-o", "/proc/new", "--budget", "0.5"},
        {"compress", model, "-o", "/sys/new", "--budget", "0.5"},
        {"compress", model, "-o", "/tmp/../proc/self/new", "--budget", "0.5", "--json", "-"},
        {"reconstruct", small, "-o", "new"}};
    for (const auto& command : commands) {
        INFO(command.front() << " to " << command[3]);
        const auto ended =
            run_program(MPO_COMMAND, command, shut.folder.path(), [] { drop_privileges(); });
        CHECK(ended.status == 1);
        CHECK(ended.out.empty());
        CHECK(ended.err.starts_with("mpo: error: create "));
        check_one_error_line(ended.err);
        CHECK(shut.folder.names() == std::vector<std::string>{"out"});
    }
}

#endif

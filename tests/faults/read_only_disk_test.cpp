// A disk that can only be read, by root as well: mounted by a child for itself.

#include "mpo/io/atomic_file.hpp"
#include "support/child.hpp"
#include "support/jobs.hpp"
#include "support/mounts.hpp"

using namespace mpo;
using namespace mpo::test;

TEST_CASE("read-only disk: one exception with path and reason, and an older file stays") {
    const Sources sources;
    const auto all = jobs(sources);
    const TemporaryFolder disk;
    const auto ended = in_child([&]() -> std::string {
        own_mounts();
        mount_disk(disk.path(), "size=64k");
        write_file(disk / "out", std::string("old"));
        make_disk_read_only(disk.path());
        std::string faults;
        for (const auto& job : all) {
            const auto message = message_of<FileError>([&] { job.run(disk / "new"); });
            if (message != "create " + (disk / "new").string() + ": Read-only file system")
                faults += job.name + ": " + message + "\n";
        }
        const auto message =
            message_of<FileError>([&] { write_text_file(disk / "out", std::string("new")); });
        if (!message.ends_with("Read-only file system")) faults += "over a file: " + message;
        if (read_file(disk / "out") != "old") faults += "the old file changed\n";
        if (disk.names() != std::vector<std::string>{"out"}) faults += "something was written\n";
        return faults;
    });
    if (ended.err.starts_with("MPO_SKIPPED")) {
        WARN(ended.err);  // ctest reports the test as skipped
        return;
    }
    CHECK(ended.status == 0);
    CHECK(ended.err == "");
    CHECK(ended.out == "");
}

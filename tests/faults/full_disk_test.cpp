// A disk that is full at any moment: real ones, small, mounted by a child for itself.

#include <sys/statvfs.h>

#include "mpo/core/random.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/safetensors.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "support/child.hpp"
#include "support/jobs.hpp"
#include "support/mounts.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// What a child found wrong: one line each.
struct Faults {
    void require(bool holds, const std::string& what) {
        if (!holds) text += what + "\n";
    }
    std::string text;
};

[[nodiscard]] bool contains(const std::string& text, const std::string& piece) {
    return text.find(piece) != std::string::npos;
}

/// Runs `attempt` on disks with room for 0, 1, 2, .. things (pages or names) until it succeeds.
/// attempt(faults) returns the text of its failure, or nothing.
template <class Attempt>
std::string on_disks_of_every_size(const TemporaryFolder& disk, const std::string& option,
                                   Attempt&& attempt) {
    Faults faults;
    own_mounts();
    mount_disk(disk.path(), "size=4k,nr_inodes=1000");
    int failures = 0;
    for (int room = 1; room < 200; ++room) {
        resize_disk(disk.path(), option == "size" ? "size=" + std::to_string(4 * room) + "k"
                                                  : "size=4m,nr_inodes=" + std::to_string(room));
        const std::string where = option + " " + std::to_string(room) + ": ";
        const std::string failure = attempt(faults);
        if (failure.empty()) return failures == 0 ? "no disk was full" : faults.text;
        ++failures;
        faults.require(contains(failure, "No space left on device"), where + failure);
        faults.require(contains(failure, disk.path().string()) || contains(failure, "out"),
                       where + "no path: " + failure);
        if (option == "size")
            faults.require(contains(failure, " at byte "), where + "no byte: " + failure);
        faults.require(disk.names().empty(), where + "something was left");
    }
    return "never succeeded\n" + faults.text;
}

void check_no_fault(const Ended& ended) {
    if (ended.err.starts_with("MPO_SKIPPED")) {  // ctest reports the test as skipped
        WARN(ended.err);
        return;
    }
    CHECK(ended.signal == 0);
    CHECK(ended.err == "");
    CHECK(ended.out == "");
}

}  // namespace

TEST_CASE("full disk: one exception with file and byte, and nothing has the final name") {
    const Sources sources;
    const auto all = jobs(sources);
    const auto good = good_outputs(all);
    for (const auto& job : all)
        for (const char* option : {"size", "nr_inodes"}) {
            INFO(job.name << ", " << option);
            const TemporaryFolder disk;
            check_no_fault(in_child([&] {
                return on_disks_of_every_size(disk, option, [&](Faults& faults) -> std::string {
                    try {
                        job.run(disk / "out");
                    } catch (const FileError& error) {
                        return error.what();
                    }
                    faults.require(everything(disk / "out") == good.at(job.name), "other bytes");
                    return "";
                });
            }));
        }
}

TEST_CASE(
    "full disk: an older file stays whole, and the next attempt succeeds once there is room") {
    const TemporaryFolder disk;
    check_no_fault(in_child([&]() -> std::string {
        Faults faults;
        own_mounts();
        mount_disk(disk.path(), "size=64k");
        write_text_file(disk / "out", std::string(30'000, 'o'));
        const std::string text(50'000, 'n');
        const auto message = message_of<FileError>([&] { write_text_file(disk / "out", text); });
        faults.require(contains(message, "out at byte 32768: No space left"), message);
        faults.require(read_file(disk / "out") == std::string(30'000, 'o'), "the old file changed");
        resize_disk(disk.path(), "size=256k");
        write_text_file(disk / "out", text);
        faults.require(read_file(disk / "out") == text, "the new file is wrong");
        faults.require(disk.names() == std::vector<std::string>{"out"}, "something was left");
        return faults.text;
    }));
}

TEST_CASE("full disk: a safetensors file that could not be finished can be, once there is room") {
    const TemporaryFolder disk;
    check_no_fault(in_child([&]() -> std::string {
        Faults faults;
        own_mounts();
        mount_disk(disk.path(), "size=640k");  // 160 pages
        const auto tensor = normal_tensor<float>({400, 400}, 1);
        SafetensorsWriter writer(disk / "out", {.reserved_header_bytes = 5000});
        writer.append("tensor", tensor);  // 157 pages, and a gap of one in front of them
        write_file(disk / "other", std::string(std::size_t{3} << 12, 'x'));
        const auto message = message_of<FileError>([&] { writer.finish(); });
        faults.require(contains(message, "out at byte 0: No space left"), message);
        faults.require(disk.names().size() == 2, "the file has a name, or is gone");
        std::filesystem::remove(disk / "other");
        writer.finish();
        const SafetensorsFile file(disk / "out");
        faults.require(file.tensors().size() == 1, "not one tensor");
        const auto read = file.read<float>("tensor");
        faults.require(std::equal(read.data(), read.data() + read.size(), tensor.data()),
                       "other numbers");
        return faults.text;
    }));
}

#ifdef MPO_COMMAND

TEST_CASE("full disk: the command ends with status 1, one line, and no output") {
    const Sources sources;
    const auto model = sources.model.string();
    const auto small = sources.small.string();
    const std::vector<std::vector<std::string>> commands{
        {"compress", model, "-o", "out", "--budget", "0.5", "--threads", "2"},
        {"reconstruct", small, "-o", "out", "--threads", "2"}};
    for (const auto& command : commands)
        for (const char* option : {"size", "nr_inodes"}) {
            INFO(command.front() << ", " << option);
            const TemporaryFolder disk;
            check_no_fault(in_child([&] {
                return on_disks_of_every_size(disk, option, [&](Faults& faults) -> std::string {
                    const auto ended = run_program(MPO_COMMAND, command, disk.path());
                    if (ended.status == 0) return "";
                    faults.require(ended.status == 1, "not status 1");
                    faults.require(ended.out.empty(), "stdout: " + ended.out);
                    const auto at = ended.err.find("mpo: error: ");
                    if (at == std::string::npos) return "no error line: " + ended.err;
                    faults.require(ended.err.find('\n', at) == ended.err.size() - 1, "two lines");
                    return ended.err.substr(at);
                });
            }));
        }
}

#endif

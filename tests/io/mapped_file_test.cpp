#include "mpo/io/mapped_file.hpp"

#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/refused.hpp"

namespace {

using namespace mpo;
using test::both_modes;
using test::check_throws;
using test::write_file;

/// Byte k is a hash of k, so that a shifted read shows.
[[nodiscard]] std::string pattern(std::size_t size) {
    std::string data(size, '\0');
    for (std::size_t k = 0; k < size; ++k) data[k] = static_cast<char>(k * 2654435761u >> 13);
    return data;
}

[[nodiscard]] std::string text_of(const FileBytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.size())};
}

}  // namespace

TEST_CASE("any range of a file reads the same in both modes, again and again") {
    const test::TemporaryFolder folder;
    const std::string data = pattern((std::size_t{3} << 20) + 17);
    write_file(folder / "data", data);
    const auto size = static_cast<Index>(data.size());
    for (const auto mode : both_modes) {
        const MappedFile file(folder / "data", mode);
        REQUIRE(file.size() == size);
        CHECK(file.path() == folder / "data");
        const std::vector<std::array<Index, 2>> ranges{
            {0, 0}, {0, 1}, {0, size}, {size, 0}, {size - 1, 1}, {4095, 2}, {1, (2 << 20) + 3}};
        for (int round = 0; round < 2; ++round)  // the second one finds pages that were given back
            for (const auto& [offset, count] : ranges) {
                const auto expected =
                    data.substr(static_cast<std::size_t>(offset), static_cast<std::size_t>(count));
                CHECK(text_of(file.bytes(offset, count)) == expected);
                std::string copy(expected.size(), '\0');
                file.read(offset, std::as_writable_bytes(std::span(copy)));
                CHECK(copy == expected);
            }
    }
}

TEST_CASE("windows and files can be moved, and threads may share a file") {
    const test::TemporaryFolder folder;
    const std::string data = pattern(std::size_t{5} << 20);
    write_file(folder / "data", data);
    for (const auto mode : both_modes) {
        MappedFile first(folder / "data", mode);
        FileBytes window = first.bytes(3, 5);
        const MappedFile file = std::move(first);
        FileBytes other;
        other = std::move(window);
        CHECK(text_of(other) == data.substr(3, 5));
        std::array<int, 4> wrong{};
        std::vector<std::thread> threads;
        for (std::size_t t = 0; t < wrong.size(); ++t)
            threads.emplace_back([&, t] {
                for (std::size_t k = 0; k < 20; ++k) {
                    const std::size_t at = (t * 1237 + k * 150001) % (std::size_t{3} << 20);
                    const auto bytes = file.bytes(static_cast<Index>(at), Index{2} << 20);
                    if (text_of(bytes) != data.substr(at, std::size_t{2} << 20)) ++wrong[t];
                }
            });
        for (auto& thread : threads) thread.join();
        CHECK(wrong == std::array<int, 4>{});
    }
}

TEST_CASE("more files may be mapped than a process may have open") {
    const test::TemporaryFolder folder;
    ::rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    auto low = before;
    low.rlim_cur = 64;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
    std::vector<MappedFile> files;
    for (int k = 0; k < 100; ++k) {
        const auto path = folder / std::to_string(k);
        write_file(path, std::to_string(k));
        files.emplace_back(path);
    }
    CHECK(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(text_of(files[73].bytes(0, 2)) == "73");
}

TEST_CASE("an empty file opens and has no bytes") {
    const test::TemporaryFolder folder;
    write_file(folder / "empty", std::string());
    for (const auto mode : both_modes) {
        const MappedFile file(folder / "empty", mode);
        CHECK(file.size() == 0);
        CHECK(file.bytes(0, 0).size() == 0);
        check_throws<ArgumentError>([&] { static_cast<void>(file.bytes(0, 1)); }, {"1 bytes at 0"});
    }
}

TEST_CASE("ranges outside the file are refused with their numbers") {
    const test::TemporaryFolder folder;
    write_file(folder / "data", pattern(100));
    const Index huge = std::numeric_limits<Index>::max();
    const std::vector<std::array<Index, 2>> ranges{{101, 0}, {100, 1},  {0, 101},     {-1, 1},
                                                   {0, -1},  {1, huge}, {huge, huge}, {huge, 1}};
    for (const auto mode : both_modes) {
        const MappedFile file(folder / "data", mode);
        for (const auto& range : ranges)
            check_throws<ArgumentError>(
                [&] { static_cast<void>(file.bytes(range[0], range[1])); },
                {std::to_string(range[1]) + " bytes at " + std::to_string(range[0]), "100 bytes"});
    }
}

TEST_CASE("what is no readable file is refused with path and reason") {
    const test::TemporaryFolder folder;
    for (const auto mode : both_modes) {
        check_throws<FileError>([&] { MappedFile file(folder / "none", mode); },
                                {"open", (folder / "none").string(), "No such file"});
        check_throws<FileError>([&] { MappedFile file(folder.path(), mode); },
                                {folder.path().string(), "not a regular file"});
    }
    const auto pipe = folder / "pipe";  // nobody writes to it: opening must not wait
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    check_throws<FileError>([&] { MappedFile file(pipe); }, {pipe.string(), "not a regular file"});
}

TEST_CASE("a file that is shortened while it is read is an error, not zeros") {
    const test::TemporaryFolder folder;
    write_file(folder / "data", pattern(1000));
    const MappedFile file(folder / "data", ReadMode::buffered);
    std::filesystem::resize_file(folder / "data", 400);
    check_throws<FileError>([&] { static_cast<void>(file.bytes(300, 200)); },
                            {"data", "at byte 400", "100 bytes early"});
}

#include "mpo/io/atomic_file.hpp"

#include <utility>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/limits.hpp"

namespace {

using namespace mpo;
using test::check_throws;
using test::write_file;
using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a file appears under its name when it is committed, whole") {
    const test::TemporaryFolder folder;
    write_file(folder / "out", std::string("old"));
    {
        AtomicFile file(folder / "out");
        file.append("hello ");
        file.append("world");
        file.write_at(0, std::as_bytes(std::span("J", 1)));
        CHECK(file.size() == 11);
        CHECK(test::read_file(folder / "out") == "old");
        file.commit();
        CHECK(test::read_file(folder / "out") == "Jello world");
        check_throws<ArgumentError>([&] { file.commit(); }, {"out", "committed before"});
    }
    CHECK(folder.names() == Names{"out"});
    write_text_file(folder / "text", "abc");
    CHECK(test::read_file(folder / "text") == "abc");
}

TEST_CASE("what is not committed leaves nothing behind") {
    const test::TemporaryFolder folder;
    {
        AtomicFile file(folder / "out");
        file.append("hello");
        AtomicFile moved = std::move(file);
        AtomicFile other(folder / "other");
        other = std::move(moved);
        CHECK(folder.names().size() == 2);
    }
    CHECK(folder.names().empty());
}

TEST_CASE("two writers of one name do not meet, and the last commit wins") {
    const test::TemporaryFolder folder;
    AtomicFile first(folder / "out"), second(folder / "out");
    first.append("first");
    second.append("second");
    second.commit();
    first.commit();
    CHECK(test::read_file(folder / "out") == "first");
    CHECK(folder.names() == Names{"out"});
}

TEST_CASE("the name can be chosen at the end, and may be long") {
    const test::TemporaryFolder folder;
    const std::string name(250, 'n');
    AtomicFile file(folder / name);
    file.append("x");
    file.commit_as(folder / "short");
    CHECK(file.path() == folder / "short");
    CHECK(folder.names() == Names{"short"});
}

TEST_CASE("data moves forwards and backwards over itself") {
    const test::TemporaryFolder folder;
    const Index size = (Index{2} << 20) + 12345;  // more than two of the pieces that shift moves
    std::string data(static_cast<std::size_t>(size), '\0');
    for (std::size_t k = 0; k < data.size(); ++k) data[k] = static_cast<char>(k * 2654435761u >> 9);
    const std::vector<std::pair<Index, Index>> moves{{8, 16}, {8, 1 << 20}, {100, 0},
                                                     {7, 7},  {3 << 20, 5}, {0, 1}};
    for (const auto& [from, to] : moves) {
        AtomicFile file(folder / "out");
        file.write_at(from, std::as_bytes(std::span(data)));
        file.shift(from, to);
        CHECK(file.size() == to + size);
        file.commit();
        CHECK(test::read_file(folder / "out").substr(static_cast<std::size_t>(to)) == data);
    }
}

TEST_CASE("a disk that is full is an error with path, byte and reason, and nothing stays") {
    const test::TemporaryFolder folder;
    write_file(folder / "out", std::string("old"));
    {
        const test::FileSizeLimit limit(1000);
        AtomicFile file(folder / "out");
        const std::string text(600, 'x');
        file.append(text);
        check_throws<FileError>([&] { file.append(text); },
                                {"write", (folder / "out").string(), "at byte 1000", "too large"});
        check_throws<FileError>([&] { file.resize(5000); }, {"resize", "out", "5000"});
    }
    CHECK(folder.names() == Names{"out"});
    CHECK(test::read_file(folder / "out") == "old");
}

TEST_CASE("what cannot become a file is refused before anything is written") {
    const test::TemporaryFolder folder;
    check_throws<FileError>([&] { AtomicFile file(folder / "none" / "out"); },
                            {"create", "none", "No such file"});
    check_throws<FileError>([&] { AtomicFile file(folder.path()); },
                            {folder.path().string(), "not a regular file"});
    check_throws<FileError>([&] { AtomicFile file("/dev/full"); },
                            {"/dev/full", "not a regular file"});
    check_throws<FileError>([&] { AtomicFile file(""); }, {"not the name of a file"});
    AtomicFile file(folder / "out");
    std::filesystem::create_directory(folder / "out");
    check_throws<FileError>([&] { file.commit(); }, {"out", "not a regular file"});
}

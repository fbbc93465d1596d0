#include "mpo/model/output_folder.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace mpo;
using namespace mpo::test;

TEST_CASE("output folder: has its name after commit, and goes away without") {
    TemporaryFolder folder;
    {
        OutputFolder output(folder / "out/");
        write_file(output.path() / "a", "1");
        CHECK_FALSE(std::filesystem::exists(folder / "out"));
        output.commit();
    }
    CHECK(read_file(folder / "out" / "a") == "1");
    {
        const OutputFolder output(folder / "lost");
        write_file(output.path() / "a", "1");
    }
    CHECK(folder.names() == std::vector<std::string>{"out"});
}

TEST_CASE("output folder: never replaces anything") {
    TemporaryFolder folder;
    write_file(folder / "file", "x");
    std::filesystem::create_directory(folder / "empty");
    std::filesystem::create_symlink("nowhere", folder / "dangling");
    const auto names = folder.names();
    for (const auto& name : names)
        check_throws<ArgumentError>([&] { const OutputFolder output(folder / name); },
                                    {name, "exists already"});
    check_throws<ArgumentError>([] { const OutputFolder output(""); }, {"empty"});
    check_throws<FileError>([&] { const OutputFolder output(folder / "file" / "out"); },
                            {"Not a directory"});
    {
        OutputFolder late(folder / "late");
        std::filesystem::create_directory(folder / "late");
        check_throws<ArgumentError>([&] { late.commit(); }, {"late", "exists already"});
    }
    std::filesystem::remove(folder / "late");
    CHECK(folder.names() == names);
}

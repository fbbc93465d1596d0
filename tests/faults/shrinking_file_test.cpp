// A file that somebody shortens while it is read. Mapped: SIGBUS, as SECURITY.md says. Buffered: an
// exception.

#include "mpo/io/mapped_file.hpp"
#include "support/child.hpp"
#include "support/jobs.hpp"
#include "support/thread_count.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

constexpr Index size = Index{1} << 16;

/// Opens `path`, shortens it by what lies behind its first `kept` bytes, and sums all its bytes.
[[nodiscard]] int sum_after_shortening(const std::filesystem::path& path, ReadMode mode,
                                       std::uintmax_t kept) {
    const MappedFile file(path, mode);
    std::filesystem::resize_file(path, kept);
    int sum = 0;
    const auto bytes = file.bytes(0, size);
    for (const auto byte : bytes.span()) sum += static_cast<int>(byte);
    return sum;
}

/// Compresses the lone file in `folder`, which after its first linear loses half its bytes.
void compress_while_it_shrinks(const TemporaryFolder& folder, ReadMode mode) {
    const auto path = folder / "model.safetensors";
    const auto shorten = [&](const Progress&) {
        std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
        return ProgressReply::go_on;
    };
    compress_model(path, folder / "out", shorten, mode);
}

/// A folder with nothing but a model.safetensors.
struct LoneModel {
    LoneModel() {
        write_layers(folder / "made", 2);
        std::filesystem::rename(folder / "made" / "model.safetensors",
                                folder / "model.safetensors");
        std::filesystem::remove_all(folder / "made");
    }
    TemporaryFolder folder;
};

}  // namespace

TEST_CASE("shrinking file: mapped, it ends the process with SIGBUS; nothing else does") {
    const TemporaryFolder folder;
    const auto path = folder / "file";
    for (const std::uintmax_t kept : {std::uintmax_t{0}, std::uintmax_t{size / 2}}) {
        write_file(path, std::string(size, '\1'));
        const auto ended = in_child(
            [&] { return std::to_string(sum_after_shortening(path, ReadMode::mapped, kept)); });
        CHECK(ended.signal == SIGBUS);
    }
    write_file(path, std::string(size, '\1'));
    CHECK(sum_after_shortening(path, ReadMode::mapped, size) == size);
}

TEST_CASE("shrinking file: buffered, it is an exception with path and byte") {
    const TemporaryFolder folder;
    const auto path = folder / "file";
    for (const Index end : {Index{0}, Index{1}, size / 2, size - 1}) {
        const auto kept = static_cast<std::uintmax_t>(end);
        write_file(path, std::string(size, '\1'));
        check_throws<FileError>(
            [&] { (void)sum_after_shortening(path, ReadMode::buffered, kept); },
            {path.string(), detail::concat("at byte ", kept), "shortened meanwhile"});
    }
    write_file(path, std::string(size, '\1'));
    CHECK(sum_after_shortening(path, ReadMode::buffered, size) == size);
}

TEST_CASE("shrinking file: buffered, compress ends in an exception and leaves nothing") {
    for (const int threads : {1, 2}) {
        const LoneModel model;
        const ThreadCount scope(threads);
        check_throws<FileError>(
            [&] { compress_while_it_shrinks(model.folder, ReadMode::buffered); },
            {"model.safetensors", "shortened meanwhile"});
        CHECK(model.folder.names() == std::vector<std::string>{"model.safetensors"});
    }
}

TEST_CASE("shrinking file: mapped, compress ends by SIGBUS, and its output has no name") {
    const LoneModel model;
    const auto ended = in_child([&]() -> std::string {
        compress_while_it_shrinks(model.folder, ReadMode::mapped);
        return "went on";
    });
    CHECK(ended.signal == SIGBUS);
    CHECK(ended.out == "");
    CHECK(final_names(model.folder) == std::vector<std::string>{"model.safetensors"});
}

// A file that exists under its name completely or not at all: it is written to a unique temporary
// sibling, and renamed when all of it is on the disk. An older file of that name, perhaps mapped by
// somebody, stays whole until then. POSIX.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/mapped_file.hpp"

namespace mpo {

/// Every failure, a full disk included, is a FileError naming path, byte and reason; the temporary
/// file goes with the object.
class AtomicFile {
  public:
    /// Creates the temporary file. Throws FileError where the folder cannot be written, or where
    /// `path` is something else than a regular file.
    explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
        require_replaceable(path_);
        std::random_device random;
        const std::string stem = "." + path_.filename().string().substr(0, 200) + ".";
        for (int error = EEXIST; error == EEXIST;) {
            temporary_ = path_.parent_path() / (stem + std::to_string(random()) + ".tmp");
            descriptor_ = detail::Descriptor(
                ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
            if (descriptor_.number() >= 0) return;
            error = errno;
            if (error != EEXIST) throw detail::file_error("create", path_, error);
        }
    }
    /// Takes the file over; the other one has none afterwards.
    AtomicFile(AtomicFile&& other) noexcept
        : path_(std::move(other.path_)),
          temporary_(std::exchange(other.temporary_, {})),
          descriptor_(std::move(other.descriptor_)),
          size_(other.size_) {}
    /// Exchanges the two files.
    AtomicFile& operator=(AtomicFile&& other) noexcept {
        std::swap(path_, other.path_);
        std::swap(temporary_, other.temporary_);
        std::swap(descriptor_, other.descriptor_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~AtomicFile() {
        if (!temporary_.empty()) ::unlink(temporary_.c_str());
    }

    /// The final name.
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// Bytes written so far, gaps included.
    [[nodiscard]] Index size() const { return size_; }

    /// Writes behind the last byte. Throws FileError where the system refuses.
    void append(std::span<const std::byte> bytes) { write_at(size_, bytes); }
    /// The same for text.
    void append(std::string_view text) {
        append(std::as_bytes(std::span(text.data(), text.size())));
    }

    /// Writes `bytes` at `offset`; a gap before it reads as zeros. Throws FileError where the system
    /// refuses.
    void write_at(Index offset, std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const auto put = ::pwrite(descriptor_.number(), bytes.data(), bytes.size(), offset);
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) throw detail::file_error("write", path_, errno, offset);
            offset += put;
            bytes = bytes.subspan(static_cast<std::size_t>(put));
            size_ = (std::max)(size_, offset);
        }
    }

    /// Moves the bytes [from, size) so that they begin at `to`; what lies between is undefined.
    void shift(Index from, Index to) {
        constexpr Index piece = Index{1} << 20;
        const std::unique_ptr<std::byte[]> buffer(new std::byte[piece]);
        const Index length = size_ - from;
        for (Index done = 0; done < length;) {
            const Index count = (std::min)(piece, length - done);
            const Index at = to < from ? done : length - done - count;  // never over unread bytes
            const std::span bytes(buffer.get(), static_cast<std::size_t>(count));
            detail::read_fully(descriptor_.number(), path_, from + at, bytes);
            write_at(to + at, bytes);
            done += count;
        }
        resize(to + length);
    }

    /// Cuts the file, or extends it by zeros.
    void resize(Index size) {
        if (::ftruncate(descriptor_.number(), size) != 0)
            throw detail::file_error("resize", path_, errno, size);
        size_ = size;
    }

    /// Returns when all of it is on the disk.
    void flush() {
        if (::fsync(descriptor_.number()) != 0) throw detail::file_error("flush", path_, errno);
    }

    /// Flushes, and gives the file its name. Throws ArgumentError the second time.
    void commit() { commit_as(path_); }

    /// The same under another name in the same folder. After any throw nothing has that name.
    void commit_as(const std::filesystem::path& path) {
        if (temporary_.empty())
            detail::raise<ArgumentError>({"AtomicFile: ", path_.string(), " was committed before"});
        require_replaceable(path);
        auto name = path;  // copies are made before the renaming: nothing behind it may throw
        const auto folder = name.has_parent_path() ? name.parent_path() : ".";
        flush();
        if (::close(descriptor_.release()) != 0) throw detail::file_error("close", path, errno);
        if (::rename(temporary_.c_str(), path.c_str()) != 0)
            throw detail::file_error("rename to", path, errno);
        temporary_.clear();
        path_ = std::move(name);
        flush_folder(folder);
    }

  private:
    static void require_replaceable(const std::filesystem::path& path) {
        if (path.filename().empty())
            detail::raise<FileError>({"create '", path.string(), "': not the name of a file"});
        struct ::stat status {};
        if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
            detail::raise<FileError>(
                {"create ", path.string(), ": exists, and is not a regular file"});
    }

    /// Makes the new name survive a power cut, where the file system can: not an error otherwise.
    static void flush_folder(const std::filesystem::path& folder) {
        const detail::Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (opened.number() >= 0) static_cast<void>(::fsync(opened.number()));
    }

    std::filesystem::path path_;
    std::filesystem::path temporary_;  // empty after commit
    detail::Descriptor descriptor_;
    Index size_ = 0;
};

/// Writes a small file at once.
inline void write_text_file(const std::filesystem::path& path, std::string_view text) {
    AtomicFile file(path);
    file.append(text);
    file.commit();
}

}  // namespace mpo

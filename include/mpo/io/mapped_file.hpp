// A file to read from: mapped into memory, or read piece by piece.
//
// Mapping is the fast default. Reading is for network file systems and for files that somebody may
// shorten meanwhile: a mapped page that vanishes ends the process with SIGBUS, a failed read
// throws. Both are safe from many threads at once. POSIX.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// mapped: the pages of the file; buffered: copies, safe where the file may shrink meanwhile.
enum class ReadMode { mapped, buffered };

namespace detail {

/// "open model.gguf: No such file or directory"
[[nodiscard]] inline FileError file_error(const char* call, const std::filesystem::path& path,
                                          int error, Index byte = -1) {
    const std::string where = byte < 0 ? "" : concat(" at byte ", byte);
    return FileError(concat(call, " ", path.string(), where, ": ",
                            std::error_code(error, std::generic_category()).message()));
}

/// Owns a file descriptor.
class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    [[nodiscard]] int number() const { return number_; }
    [[nodiscard]] int release() { return std::exchange(number_, -1); }

  private:
    int number_ = -1;
};

/// Fills `target` from `offset`. Throws FileError where the file ends early or cannot be read.
inline void read_fully(int descriptor, const std::filesystem::path& path, Index offset,
                       std::span<std::byte> target) {
    while (!target.empty()) {
        const auto got = ::pread(descriptor, target.data(), target.size(), offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw file_error("read", path, errno, offset);
        if (got == 0)
            raise<FileError>({"read ", path.string(), " at byte ", offset, ": the file ended ",
                              target.size(), " bytes early; was it shortened meanwhile?"});
        offset += got;
        target = target.subspan(static_cast<std::size_t>(got));
    }
}

}  // namespace detail

/// Consecutive bytes of a file: a window on its mapping, or a copy of its own. A mapped window must
/// not outlive its MappedFile.
class FileBytes {
  public:
    /// No bytes.
    FileBytes() = default;
    /// A window on memory of somebody else.
    explicit FileBytes(std::span<const std::byte> window) : bytes_(window) {}
    /// Owns the `size` bytes of `copy`.
    FileBytes(std::unique_ptr<std::byte[]> copy, Index size)
        : copy_(std::move(copy)), bytes_(copy_.get(), static_cast<std::size_t>(size)) {}
    /// Takes the bytes over; the other one has none afterwards.
    FileBytes(FileBytes&& other) noexcept
        : copy_(std::move(other.copy_)), bytes_(std::exchange(other.bytes_, {})) {}
    /// Exchanges the two.
    FileBytes& operator=(FileBytes&& other) noexcept {
        std::swap(copy_, other.copy_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~FileBytes() { forget(); }

    /// The first byte; not aligned to anything.
    [[nodiscard]] const std::byte* data() const { return bytes_.data(); }
    /// Number of bytes.
    [[nodiscard]] Index size() const { return static_cast<Index>(bytes_.size()); }
    /// All of them.
    [[nodiscard]] std::span<const std::byte> span() const { return bytes_; }

  private:
    /// Gives the pages of a large window back, so that walking over a file of any size keeps one
    /// tensor in memory. They stay in the system's cache, and another reader gets them again.
    void forget() {
        constexpr std::size_t worthwhile = std::size_t{1} << 20;
        if (copy_ || bytes_.size() < worthwhile) return;
        const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
        const auto begin = reinterpret_cast<std::uintptr_t>(bytes_.data());
        const std::uintptr_t first = (begin + page - 1) / page * page;
        const std::uintptr_t last = (begin + bytes_.size()) / page * page;
        ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
    }

    std::unique_ptr<std::byte[]> copy_;
    std::span<const std::byte> bytes_;
};

/// A read-only file. Const calls are safe from many threads.
class MappedFile {
  public:
    /// Throws FileError where the file cannot be opened, mapped, or is not a regular file.
    explicit MappedFile(std::filesystem::path path, ReadMode mode = ReadMode::mapped)
        : path_(std::move(path)),
          descriptor_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {  // pipes: refused
        if (descriptor_.number() < 0) throw detail::file_error("open", path_, errno);
        struct ::stat status {};
        if (::fstat(descriptor_.number(), &status) != 0)
            throw detail::file_error("stat", path_, errno);
        if (!S_ISREG(status.st_mode))
            detail::raise<FileError>({"open ", path_.string(), ": not a regular file"});
        size_ = static_cast<Index>(status.st_size);
        if (mode == ReadMode::buffered || size_ == 0) return;
        void* address = ::mmap(nullptr, static_cast<std::size_t>(size_), PROT_READ, MAP_PRIVATE,
                               descriptor_.number(), 0);
        if (address == MAP_FAILED) throw detail::file_error("mmap", path_, errno);
        mapping_ = static_cast<const std::byte*>(address);
    }
    /// Takes the file over; the other one is closed afterwards.
    MappedFile(MappedFile&& other) noexcept
        : path_(std::move(other.path_)),
          descriptor_(std::move(other.descriptor_)),
          size_(std::exchange(other.size_, 0)),
          mapping_(std::exchange(other.mapping_, nullptr)) {}
    /// Exchanges the two files.
    MappedFile& operator=(MappedFile&& other) noexcept {
        std::swap(path_, other.path_);
        std::swap(descriptor_, other.descriptor_);
        std::swap(size_, other.size_);
        std::swap(mapping_, other.mapping_);
        return *this;
    }
    ~MappedFile() {
        if (mapping_) ::munmap(const_cast<std::byte*>(mapping_), static_cast<std::size_t>(size_));
    }

    /// The path it was opened with.
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// Bytes of the file when it was opened.
    [[nodiscard]] Index size() const { return size_; }

    /// Copies the bytes from `offset` on into `target`. Throws ArgumentError outside the file and
    /// FileError where reading fails.
    void read(Index offset, std::span<std::byte> target) const {
        require_inside(offset, static_cast<Index>(target.size()));
        if (mapping_)
            std::copy_n(mapping_ + offset, target.size(), target.data());
        else
            detail::read_fully(descriptor_.number(), path_, offset, target);
    }

    /// Bytes [offset, offset + size). Throws as read does.
    [[nodiscard]] FileBytes bytes(Index offset, Index size) const {
        require_inside(offset, size);
        const auto count = static_cast<std::size_t>(size);
        if (mapping_) return FileBytes(std::span(mapping_ + offset, count));
        std::unique_ptr<std::byte[]> copy(new std::byte[count]);
        read(offset, {copy.get(), count});
        return FileBytes(std::move(copy), size);
    }

  private:
    void require_inside(Index offset, Index size) const {
        if (offset < 0 || size < 0 || offset > size_ || size > size_ - offset)
            detail::raise<ArgumentError>({"MappedFile: ", size, " bytes at ", offset,
                                          " do not lie inside ", path_.string(), " of ", size_,
                                          " bytes"});
    }

    std::filesystem::path path_;
    detail::Descriptor descriptor_;
    Index size_ = 0;
    const std::byte* mapping_ = nullptr;
};

}  // namespace mpo

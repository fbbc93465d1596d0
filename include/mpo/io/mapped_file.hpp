// A file to read from: mapped into memory, or read piece by piece.
//
// Mapping is the fast default. Reading is for network file systems and for files that somebody may
// shorten meanwhile: a mapped page that vanishes ends the process with SIGBUS, a failed read
// throws. Both are safe from many threads at once. A mapped file holds no descriptor. POSIX.
#pragma once

#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// mapped: the pages of the file; buffered: copies, safe where the file may shrink meanwhile.
enum class ReadMode { mapped, buffered };

namespace detail {

/// "open model.gguf: No such file or directory"
[[nodiscard]] FileError file_error(const char* call, const std::filesystem::path& path, int error,
                                   Index byte = -1);

/// Owns a file descriptor.
class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept;
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    [[nodiscard]] int number() const { return number_; }
    [[nodiscard]] int release() { return std::exchange(number_, -1); }

  private:
    int number_ = -1;
};

/// Fills `target` from `offset`. Throws FileError where the file ends early or cannot be read.
void read_fully(int descriptor, const std::filesystem::path& path, Index offset,
                std::span<std::byte> target);

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
    FileBytes& operator=(FileBytes&& other) noexcept;
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
    void forget();

    std::unique_ptr<std::byte[]> copy_;
    std::span<const std::byte> bytes_;
};

/// A read-only file. Const calls are safe from many threads.
class MappedFile {
  public:
    /// Throws FileError where the file cannot be opened, mapped, or is not a regular file.
    explicit MappedFile(std::filesystem::path path, ReadMode mode = ReadMode::mapped);
    /// Takes the file over; the other one is closed afterwards.
    MappedFile(MappedFile&& other) noexcept;
    /// Exchanges the two files.
    MappedFile& operator=(MappedFile&& other) noexcept;
    ~MappedFile() {
        if (mapping_) ::munmap(const_cast<std::byte*>(mapping_), static_cast<std::size_t>(size_));
    }

    /// The path it was opened with.
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// Bytes of the file when it was opened.
    [[nodiscard]] Index size() const { return size_; }

    /// Copies the bytes from `offset` on into `target`. Throws ArgumentError outside the file and
    /// FileError where reading fails.
    void read(Index offset, std::span<std::byte> target) const;

    /// Bytes [offset, offset + size). Throws as read does.
    [[nodiscard]] FileBytes bytes(Index offset, Index size) const;

  private:
    void require_inside(Index offset, Index size) const;

    std::filesystem::path path_;
    detail::Descriptor descriptor_;
    Index size_ = 0;
    const std::byte* mapping_ = nullptr;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/mapped_file_inl.hpp"
#endif

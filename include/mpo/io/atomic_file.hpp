// A file that exists under its name completely or not at all: it is written to a unique temporary
// sibling, and renamed when all of it is on the disk. An older file of that name, perhaps mapped by
// somebody, stays whole until then. POSIX.
#pragma once

#include <unistd.h>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "mpo/core/tensor.hpp"
#include "mpo/io/mapped_file.hpp"

namespace mpo {

/// Every failure, a full disk included, is a FileError naming path, byte and reason; the temporary
/// file goes with the object.
class AtomicFile {
  public:
    /// Creates the temporary file. Throws FileError where the folder cannot be written, or where
    /// `path` is something else than a regular file.
    explicit AtomicFile(std::filesystem::path path);
    /// Takes the file over; the other one has none afterwards.
    AtomicFile(AtomicFile&& other) noexcept;
    /// Exchanges the two files.
    AtomicFile& operator=(AtomicFile&& other) noexcept;
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
    void write_at(Index offset, std::span<const std::byte> bytes);

    /// Moves the bytes [from, size) so that they begin at `to`; what lies between is undefined.
    void shift(Index from, Index to);

    /// Cuts the file, or extends it by zeros.
    void resize(Index size);

    /// Returns when all of it is on the disk.
    void flush() {
        if (::fsync(descriptor_.number()) != 0) throw detail::file_error("flush", path_, errno);
    }

    /// Flushes, and gives the file its name. Throws ArgumentError the second time.
    void commit() { commit_as(path_); }

    /// The same under another name in the same folder. After any throw nothing has that name.
    void commit_as(const std::filesystem::path& path);

  private:
    static void require_replaceable(const std::filesystem::path& path);

    /// Makes the new name survive a power cut, where the file system can: not an error otherwise.
    static void flush_folder(const std::filesystem::path& folder);

    std::filesystem::path path_;
    std::filesystem::path temporary_;  // empty after commit
    detail::Descriptor descriptor_;
    Index size_ = 0;
};

/// Writes a small file at once.
void write_text_file(const std::filesystem::path& path, std::string_view text);

namespace detail {

/// Whether a folder can be begun with a first file of that name: it is not there, or has nothing but what a process leaves
/// that was killed while it wrote that file.
[[nodiscard]] bool can_begin(const std::filesystem::path& folder, std::string_view name);

}  // namespace detail

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/atomic_file_inl.hpp"
#endif

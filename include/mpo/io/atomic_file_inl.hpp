// The bodies of io/atomic_file.hpp that are no templates.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/inline.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(std::move(path)) {
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

MPO_DETAIL_MODEL_INLINE AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      descriptor_(std::move(other.descriptor_)),
      size_(other.size_) {}

MPO_DETAIL_MODEL_INLINE AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(temporary_, other.temporary_);
    std::swap(descriptor_, other.descriptor_);
    std::swap(size_, other.size_);
    return *this;
}

MPO_DETAIL_MODEL_INLINE void AtomicFile::write_at(Index offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto put = ::pwrite(descriptor_.number(), bytes.data(), bytes.size(), offset);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) throw detail::file_error("write", path_, errno, offset);
        offset += put;
        bytes = bytes.subspan(static_cast<std::size_t>(put));
        size_ = (std::max)(size_, offset);
    }
}

MPO_DETAIL_MODEL_INLINE void AtomicFile::shift(Index from, Index to) {
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

MPO_DETAIL_MODEL_INLINE void AtomicFile::resize(Index size) {
    if (::ftruncate(descriptor_.number(), size) != 0)
        throw detail::file_error("resize", path_, errno, size);
    size_ = size;
}

MPO_DETAIL_MODEL_INLINE void AtomicFile::commit_as(const std::filesystem::path& path) {
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

MPO_DETAIL_MODEL_INLINE void AtomicFile::require_replaceable(const std::filesystem::path& path) {
    if (path.filename().empty())
        detail::raise<FileError>({"create '", path.string(), "': not the name of a file"});
    struct ::stat status {};
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
        detail::raise<FileError>({"create ", path.string(), ": exists, and is not a regular file"});
}

MPO_DETAIL_MODEL_INLINE void AtomicFile::flush_folder(const std::filesystem::path& folder) {
    const detail::Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (opened.number() >= 0) static_cast<void>(::fsync(opened.number()));
}

MPO_DETAIL_MODEL_INLINE void write_text_file(const std::filesystem::path& path,
                                             std::string_view text) {
    AtomicFile file(path);
    file.append(text);
    file.commit();
}

namespace detail {

MPO_DETAIL_MODEL_INLINE bool can_begin(const std::filesystem::path& folder, std::string_view name) {
    if (!std::filesystem::exists(folder)) return true;
    if (!std::filesystem::is_directory(folder)) return false;
    const auto stem = concat('.', name, '.');
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const auto left = entry.path().filename().string();
        if (!left.starts_with(stem) || !left.ends_with(".tmp")) return false;
    }
    return true;
}

}  // namespace detail
}  // namespace mpo

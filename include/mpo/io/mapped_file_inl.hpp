// The bodies of io/mapped_file.hpp that are no templates.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <cerrno>
#include <string>
#include <system_error>

#include "mpo/io/inline.hpp"
#include "mpo/io/mapped_file.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE FileError file_error(const char* call, const std::filesystem::path& path,
                                             int error, Index byte) {
    const std::string where = byte < 0 ? "" : concat(" at byte ", byte);
    return FileError(concat(call, " ", path.string(), where, ": ",
                            std::error_code(error, std::generic_category()).message()));
}

MPO_DETAIL_MODEL_INLINE Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
}

MPO_DETAIL_MODEL_INLINE void read_fully(int descriptor, const std::filesystem::path& path,
                                        Index offset, std::span<std::byte> target) {
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

MPO_DETAIL_MODEL_INLINE FileBytes& FileBytes::operator=(FileBytes&& other) noexcept {
    std::swap(copy_, other.copy_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

MPO_DETAIL_MODEL_INLINE void FileBytes::forget() {
    constexpr std::size_t worthwhile = std::size_t{1} << 20;
    if (copy_ || bytes_.size() < worthwhile) return;
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<std::uintptr_t>(bytes_.data());
    const std::uintptr_t first = (begin + page - 1) / page * page;
    const std::uintptr_t last = (begin + bytes_.size()) / page * page;
    ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

MPO_DETAIL_MODEL_INLINE MappedFile::MappedFile(std::filesystem::path path, ReadMode mode)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {  // pipes: refused
    if (descriptor_.number() < 0) throw detail::file_error("open", path_, errno);
    struct ::stat status {};
    if (::fstat(descriptor_.number(), &status) != 0) throw detail::file_error("stat", path_, errno);
    if (!S_ISREG(status.st_mode))
        detail::raise<FileError>({"open ", path_.string(), ": not a regular file"});
    size_ = static_cast<Index>(status.st_size);
    if (mode == ReadMode::buffered || size_ == 0) return;
    void* address = ::mmap(nullptr, static_cast<std::size_t>(size_), PROT_READ, MAP_PRIVATE,
                           descriptor_.number(), 0);
    if (address == MAP_FAILED) throw detail::file_error("mmap", path_, errno);
    mapping_ = static_cast<const std::byte*>(address);
    descriptor_ = detail::Descriptor();  // pages need none: many files may be open at once
}

MPO_DETAIL_MODEL_INLINE MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::move(other.descriptor_)),
      size_(std::exchange(other.size_, 0)),
      mapping_(std::exchange(other.mapping_, nullptr)) {}

MPO_DETAIL_MODEL_INLINE MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
    std::swap(size_, other.size_);
    std::swap(mapping_, other.mapping_);
    return *this;
}

MPO_DETAIL_MODEL_INLINE void MappedFile::read(Index offset, std::span<std::byte> target) const {
    require_inside(offset, static_cast<Index>(target.size()));
    if (mapping_)
        std::copy_n(mapping_ + offset, target.size(), target.data());
    else
        detail::read_fully(descriptor_.number(), path_, offset, target);
}

MPO_DETAIL_MODEL_INLINE FileBytes MappedFile::bytes(Index offset, Index size) const {
    require_inside(offset, size);
    const auto count = static_cast<std::size_t>(size);
    if (mapping_) return FileBytes(std::span(mapping_ + offset, count));
    std::unique_ptr<std::byte[]> copy(new std::byte[count]);
    read(offset, {copy.get(), count});
    return FileBytes(std::move(copy), size);
}

MPO_DETAIL_MODEL_INLINE void MappedFile::require_inside(Index offset, Index size) const {
    if (offset < 0 || size < 0 || offset > size_ || size > size_ - offset)
        detail::raise<ArgumentError>({"MappedFile: ", size, " bytes at ", offset,
                                      " do not lie inside ", path_.string(), " of ", size_,
                                      " bytes"});
}

}  // namespace mpo

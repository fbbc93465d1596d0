// A whole file as text, for the small ones: what is larger than its use is worth is refused unread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/mapped_file.hpp"

namespace mpo {

/// The bytes of a file. Throws FileError where it cannot be read, FormatError where it has more than
/// `max_bytes`.
[[nodiscard]] inline std::string read_text_file(const std::filesystem::path& path,
                                                Index max_bytes = Index{1} << 30) {
    const MappedFile file(path, ReadMode::buffered);
    if (file.size() > max_bytes)
        detail::raise<FormatError>(
            {path.string(), ": ", file.size(), " bytes exceed the limit of ", max_bytes});
    std::string text(static_cast<std::size_t>(file.size()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

}  // namespace mpo

// The bodies of io/text_file.hpp that are no templates.
#pragma once

#include <cstddef>
#include <span>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/io/text_file.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::string read_text_file(const std::filesystem::path& path,
                                                   Index max_bytes) {
    const MappedFile file(path, ReadMode::buffered);
    if (file.size() > max_bytes)
        detail::raise<FormatError>(
            {path.string(), ": ", file.size(), " bytes exceed the limit of ", max_bytes});
    std::string text(static_cast<std::size_t>(file.size()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

}  // namespace mpo

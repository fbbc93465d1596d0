// A whole file as text, for the small ones: what is larger than its use is worth is refused unread.
#pragma once

#include <filesystem>
#include <string>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// The bytes of a file. Throws FileError where it cannot be read, FormatError where it has more than
/// `max_bytes`.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& path,
                                         Index max_bytes = Index{1} << 30);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/text_file_inl.hpp"
#endif

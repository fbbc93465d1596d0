// The tokenizer in Hugging Face's tokenizer.json: byte-level BPE with one of the pre-tokenisers that are
// known. Whatever would change the tokens and is not known is refused by name, never ignored.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "mpo/model/vocabulary.hpp"

namespace mpo {

/// The vocabulary in the text of a tokenizer.json. Throws FormatError, naming `source`, where it is none or
/// has a member that is not supported; ids must be 0 .. n - 1.
[[nodiscard]] Vocabulary parse_tokenizer_json(std::string_view text, const std::string& source);

/// The same from a file of at most 32 MiB. Throws FileError where it cannot be read.
[[nodiscard]] Vocabulary read_tokenizer_json(const std::filesystem::path& path);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/vocabulary_json_inl.hpp"
#endif

// The tokenizer in a GGUF file's metadata, keys "tokenizer.ggml.*": model "gpt2" is byte-level BPE,
// "llama" BPE with scores. Other models and pre-tokenisers are refused by name.
#pragma once

#include <string_view>

#include "mpo/io/gguf.hpp"
#include "mpo/model/vocabulary.hpp"

namespace mpo {

/// The vocabulary of a GGUF file. Throws FormatError where the metadata has none, or one of a kind or
/// type that is not known. Tokens, merges and scores are copies.
[[nodiscard]] Vocabulary gguf_vocabulary(const GgufFile& file);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/vocabulary_gguf_inl.hpp"
#endif

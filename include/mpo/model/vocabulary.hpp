// What a tokenizer is made of, as its file spells it, and the rules that it must keep. A vocabulary comes
// from the metadata of a GGUF file (vocabulary_gguf.hpp) or from a tokenizer.json (vocabulary_json.hpp).
//
//   1. There are tokens; each has a text and a type, and no two of one type have the same text.
//   2. Byte-level BPE (GPT-2): a normal token spells its bytes in 256 printable characters, the byte
//      alphabet. There are merges; a merge names two tokens whose texts joined are a token, and no
//      merge occurs twice. Its position is its rank.
//   3. BPE with scores (SentencePiece): a normal token spells a blank as U+2581; a byte token is
//      <0x0A>; every token has a score that is a number.
//   4. The ids of special tokens are ids of tokens.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/pre_tokenizer.hpp"

namespace mpo {

/// How text becomes tokens.
enum class TokenizerModel {
    byte_level_bpe,    // words of bytes, merged by rank: GPT-2, LLaMA 3, Qwen 2, SmolLM
    sentencepiece_bpe  // characters, merged by score, bytes where no token fits: LLaMA 2
};

/// What a token is for; the numbers are GGUF's.
enum class TokenType {
    normal = 1,
    unknown = 2,
    control = 3,
    user_defined = 4,
    unused = 5,
    byte = 6
};

/// What is done to a text before it is cut.
enum class Normalization {
    none,  // nothing: bytes are what they are
    nfc    // Unicode's normal form C: what is decoded is the normal form
};

/// Two tokens that become one, by their texts.
using TokenPair = std::pair<std::string, std::string>;

/// A tokenizer's data before anything is checked; Tokenizer checks it.
struct Vocabulary {
    std::string source = {};                                // of messages: the file
    TokenizerModel model = TokenizerModel::byte_level_bpe;  // see there
    Normalization normalization = Normalization::none;      // byte-level only
    PreTokenizer pre_tokenizer = PreTokenizer::gpt2;        // byte-level only
    std::vector<std::string> tokens = {};                   // by id, as the file spells them
    std::vector<TokenType> types = {};                      // by id
    std::vector<float> scores = {};                         // by id; SentencePiece only
    std::vector<TokenPair> merges = {};                     // by rank; byte-level only
    std::optional<Index> bos = {};                          // begins a text
    std::optional<Index> eos = {};                          // ends a text
    bool add_bos = false;                                   // trained with bos before a text
    bool add_eos = false;                                   // trained with eos behind it
    bool add_space_prefix = false;                          // SentencePiece: a blank before a text
    bool ignore_merges = false;  // byte-level: a word that is a token stays whole
};

namespace detail {

/// Tokens, and merges, of one vocabulary; the largest published ones have 300,000 of either. Limits of
/// ours, so that a small file cannot ask for gigabytes.
inline constexpr Index max_num_tokens = Index{1} << 20;

/// GPT-2's byte alphabet: printable bytes of Latin-1 are themselves, the others the characters from
/// U+0100 on, in order.
[[nodiscard]] const std::array<std::uint32_t, 256>& byte_alphabet();

/// The bytes that a token of byte-level BPE spells; nothing where it has a character outside the
/// alphabet.
[[nodiscard]] std::optional<std::string> bytes_of_spelling(std::string_view spelling);

inline constexpr std::string_view sentencepiece_blank = "\xe2\x96\x81";  // U+2581

/// The text of a normal token of SentencePiece, blanks as blanks.
[[nodiscard]] std::string with_blanks(std::string_view spelling);

/// The byte of <0x0A>; nothing where it is spelled otherwise.
[[nodiscard]] std::optional<char> byte_of_token(std::string_view spelling);

/// Whether text is turned into such a token: all others are there when asked for.
[[nodiscard]] constexpr bool is_ordinary(TokenType type) {
    return type == TokenType::normal || type == TokenType::byte;
}

/// Rules 1, 3 and 4; those of merges are checked when they are looked up.
void require_consistent(const Vocabulary& vocabulary);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/vocabulary_inl.hpp"
#endif

// Text to token ids and back, as the model was trained: byte-level BPE (GPT-2, LLaMA 3, Qwen 2, SmolLM)
// and BPE with scores and byte fallback (SentencePiece, LLaMA 2). Any bytes are a text; what encode
// accepts, decode gives back byte by byte, or in normal form C where the vocabulary asks for that.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/merge_symbols.hpp"
#include "mpo/model/vocabulary.hpp"

namespace mpo {

/// What `<|im_end|>` in a text means: ten characters, or the control token of that name. A text of
/// somebody else should not be able to end a conversation.
enum class SpecialTokens { as_text, parse };

/// Whether the tokens that a text began and ended with in training are added.
enum class Boundaries { none, as_trained };

/// What to do with a byte that no token of the vocabulary spells (SmolLM2 lacks 21 of 256; in UTF-8
/// they are six control characters and the planes 4 to 11).
enum class Unspellable { refuse, drop };

/// How encode works.
struct EncodeOptions {
    SpecialTokens special_tokens = SpecialTokens::as_text;  // control and user-defined tokens
    Boundaries boundaries = Boundaries::none;               // bos and eos
    Unspellable unspellable = Unspellable::refuse;          // drop: what is decoded is shorter
};

/// A vocabulary made ready. Const calls are safe from many threads.
class Tokenizer {
  public:
    /// Throws FormatError, naming the vocabulary's source, where it breaks a rule of
    /// model/vocabulary.hpp.
    explicit Tokenizer(Vocabulary vocabulary);

    /// Takes the other's tables over; a copy would refer to another's texts.
    Tokenizer(Tokenizer&& other) = default;
    /// The same; `other` is left empty.
    Tokenizer& operator=(Tokenizer&& other) = default;

    /// What it was made of.
    [[nodiscard]] const Vocabulary& vocabulary() const { return vocabulary_; }
    /// Number of tokens; ids are 0 .. size() - 1.
    [[nodiscard]] Index size() const { return static_cast<Index>(vocabulary_.tokens.size()); }

    /// The bytes of one token; a control token's are its name. They need not be whole characters.
    /// Throws ArgumentError where the id is none.
    [[nodiscard]] std::string_view piece(Index id) const {
        return pieces_[static_cast<std::size_t>(require_token(id))];
    }

    /// The id of the control or user-defined token of that name, or nothing.
    [[nodiscard]] std::optional<Index> special_token(std::string_view name) const;

    /// The tokens of a text; O(n log n) in its bytes at worst. Throws ArgumentError, with the byte's
    /// position, where no token spells a byte and options do not drop it.
    [[nodiscard]] std::vector<Index> encode(std::string_view text,
                                            const EncodeOptions& options = {}) const;

    /// The bytes that the tokens spell, control tokens by their names; the blank that a SentencePiece
    /// vocabulary adds before a text is taken away again. Throws ArgumentError where an id is none.
    [[nodiscard]] std::string decode(std::span<const Index> ids) const;

  private:
    struct FoundSpecial {
        std::size_t at;
        Index token;
    };
    struct Encoding {
        std::vector<Index> ids;
        detail::SymbolMerger merger;
        std::string_view text;
        const EncodeOptions& options;
    };

    [[nodiscard]] bool is_byte_level() const {
        return vocabulary_.model == TokenizerModel::byte_level_bpe;
    }
    [[nodiscard]] bool is_ordinary(Index id) const {
        return detail::is_ordinary(vocabulary_.types[static_cast<std::size_t>(id)]);
    }
    [[nodiscard]] Index require_token(Index id) const;

    // -- construction

    [[nodiscard]] std::string piece_of(std::size_t id) const;

    /// Pieces, the tokens of single bytes, the lists of ordinary and of special tokens.
    void name_tokens();

    [[nodiscard]] bool spells_one_byte(std::size_t id) const;

    void index_piece(Index id);

    [[nodiscard]] static std::uint64_t pair_key(Index left, Index right) {
        return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
    }

    /// The id of a text that merge `rank` names or makes.
    [[nodiscard]] Index token_of_merge(std::size_t rank, const std::string& text) const;

    void rank_merges();

    // -- encoding

    /// The first special token from `at` on, the longest of those that begin there.
    [[nodiscard]] FoundSpecial next_special(std::string_view text, std::size_t at) const;

    void encode_plain(Encoding& encoding, std::size_t begin, std::size_t end) const;

    void encode_word(Encoding& encoding, std::size_t begin, std::string_view word) const;

    /// Characters merge to tokens, the best score first. U+2581, which spells a blank in the
    /// vocabulary, is no token here, so that it goes through the bytes and comes back as it was.
    void encode_sentence(Encoding& encoding, std::size_t begin, std::string_view plain) const;

    void append(Encoding& encoding, Index token, std::size_t at, char byte) const;

    Vocabulary vocabulary_;
    std::vector<std::string> pieces_;                       // by id
    std::array<Index, 256> byte_tokens_{};                  // -1: none
    std::vector<Index> ordinary_;                           // ids of what plain text becomes
    std::vector<std::vector<Index>> specials_;              // by first byte, the longest first
    std::unordered_map<std::string_view, Index> by_text_;   // while merges are ranked
    std::unordered_map<std::string_view, Index> by_piece_;  // pieces are those of pieces_
    std::unordered_map<std::uint64_t, detail::Merged> merges_;
};

/// The tokenizer of a model: in a .gguf file, a tokenizer.json, a folder with tokenizer.json or
/// tokenizer.gguf, or beside a .safetensors file. Throws FileError where there is none, FormatError
/// where it cannot be used.
[[nodiscard]] Tokenizer read_tokenizer(const std::filesystem::path& path);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/tokenizer_inl.hpp"
#endif

// Where byte-level BPE may not merge: a text is first cut into words by the pattern that belongs to the
// vocabulary. The patterns are those that the models were trained with, as hand-written scanners:
// linear, without a regex engine, and on any bytes. A byte that begins no well-formed UTF-8 is a
// character of its own that is neither letter, number nor blank.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "mpo/model/unicode_classes.hpp"
#include "mpo/model/utf8.hpp"

namespace mpo {

/// The patterns that are known. \\p{L}: letters, \\p{N}: numbers, \\s: blanks of Unicode 15.1.
enum class PreTokenizer {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    gpt2,
    /// Every `\p{N}` alone first, and gpt2's pattern in what is between.
    smollm,
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
    /// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    llama_bpe,
    /// The same with `\p{N}` instead of `\p{N}{1,3}`.
    qwen2
};

namespace detail {

/// Cuts a text into words, one after another.
class WordScanner {
  public:
    WordScanner(std::string_view text, PreTokenizer kind) : text_(text), kind_(kind) {}

    /// The next word, or nothing at the end. Words are not empty, and joined they are the text.
    [[nodiscard]] std::optional<std::string_view> next();

  private:
    using Class = CharacterClass;

    [[nodiscard]] Character at(std::size_t position, std::size_t end) const {
        return character_at(text_.substr(0, end), position);
    }

    /// Where the run of that class ends which may begin at `from`; at most `count` characters.
    [[nodiscard]] std::size_t end_of_run(std::size_t from, std::size_t end, Class kind,
                                         std::size_t count = ~std::size_t{0}) const;

    /// 's 't 'm 'd 're 've 'll: their bytes, or 0.
    template <class Lower>
    [[nodiscard]] std::size_t contraction(std::size_t from, std::size_t end, Lower lower) const {
        if (text_[from] != '\'' || from + 1 >= end) return 0;
        const char first = lower(text_[from + 1]);
        if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
        if (from + 2 >= end) return 0;
        const char second = lower(text_[from + 2]);
        const bool three =
            ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
        return three ? 3 : 0;
    }

    /// \s+(?!\S)|\s+: a run of blanks, all but the last where something follows them.
    [[nodiscard]] std::size_t end_of_blanks(std::size_t from, std::size_t end) const;

    [[nodiscard]] std::size_t end_of_gpt2(std::size_t from, std::size_t end) const;

    /// A number, or gpt2's word in the piece before the next number: that it does not see.
    [[nodiscard]] std::size_t end_of_smollm(std::size_t from);

    [[nodiscard]] std::size_t end_of_llama(std::size_t from, std::size_t max_digits) const;

    /// [\r\n]*
    [[nodiscard]] std::size_t past_line_ends(std::size_t from) const;

    /// \s*[\r\n]+ in a run of blanks: past the last end of a line, or `from`.
    [[nodiscard]] std::size_t end_of_lines(std::size_t from, std::size_t end) const;

    std::string_view text_;
    PreTokenizer kind_;
    std::size_t at_ = 0;
    std::size_t number_ = 0;  // smollm: where the next number begins
};

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/pre_tokenizer_inl.hpp"
#endif

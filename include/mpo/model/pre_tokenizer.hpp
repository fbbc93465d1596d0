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
    [[nodiscard]] std::optional<std::string_view> next() {
        if (at_ >= text_.size()) return std::nullopt;
        const std::size_t begin = at_;
        switch (kind_) {
            case PreTokenizer::gpt2:
                at_ = end_of_gpt2(begin, text_.size());
                break;
            case PreTokenizer::smollm:
                at_ = end_of_smollm(begin);
                break;
            case PreTokenizer::llama_bpe:
                at_ = end_of_llama(begin, 3);
                break;
            case PreTokenizer::qwen2:
                at_ = end_of_llama(begin, 1);
                break;
        }
        return text_.substr(begin, at_ - begin);
    }

  private:
    using Class = CharacterClass;

    [[nodiscard]] Character at(std::size_t position, std::size_t end) const {
        return character_at(text_.substr(0, end), position);
    }

    /// Where the run of that class ends which may begin at `from`; at most `count` characters.
    [[nodiscard]] std::size_t end_of_run(std::size_t from, std::size_t end, Class kind,
                                         std::size_t count = ~std::size_t{0}) const {
        for (Character next = at(from, end); next.kind == kind && count > 0; --count) {
            from += next.size;
            next = at(from, end);
        }
        return from;
    }

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
    [[nodiscard]] std::size_t end_of_blanks(std::size_t from, std::size_t end) const {
        std::size_t last = from, past = from;
        for (Character next = at(from, end); next.kind == Class::blank; next = at(past, end)) {
            last = past;
            past += next.size;
        }
        return past < end && last > from ? last : past;
    }

    [[nodiscard]] std::size_t end_of_gpt2(std::size_t from, std::size_t end) const {
        if (const auto size = contraction(from, end, [](char c) { return c; })) return from + size;
        const std::size_t begin = text_[from] == ' ' ? from + 1 : from;
        const auto kind = at(begin, end).kind;
        if (kind == Class::blank || kind == Class::none) return end_of_blanks(from, end);
        return end_of_run(begin, end, kind);
    }

    /// A number, or gpt2's word in the piece before the next number: that it does not see.
    [[nodiscard]] std::size_t end_of_smollm(std::size_t from) {
        if (from >= number_) {
            number_ = from;
            Character next = at(number_, text_.size());
            if (next.kind == Class::number) return number_ = from + next.size;
            while (next.kind != Class::number && next.kind != Class::none) {
                number_ += next.size;
                next = at(number_, text_.size());
            }
        }
        return end_of_gpt2(from, number_);
    }

    [[nodiscard]] std::size_t end_of_llama(std::size_t from, std::size_t max_digits) const {
        const std::size_t end = text_.size();
        const auto lower = [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        };
        if (const auto size = contraction(from, end, lower)) return from + size;
        const auto first = at(from, end);
        const bool line_end = first.code == '\r' || first.code == '\n';
        if (first.kind == Class::number) return end_of_run(from, end, Class::number, max_digits);
        if (first.kind == Class::letter) return end_of_run(from, end, Class::letter);
        if (!line_end && at(from + first.size, end).kind == Class::letter)
            return end_of_run(from + first.size, end, Class::letter);
        const std::size_t begin = first.code == ' ' ? from + 1 : from;
        if (at(begin, end).kind == Class::other)
            return past_line_ends(end_of_run(begin, end, Class::other));
        const auto lines = end_of_lines(from, end_of_run(from, end, Class::blank));
        return lines > from ? lines : end_of_blanks(from, end);
    }

    /// [\r\n]*
    [[nodiscard]] std::size_t past_line_ends(std::size_t from) const {
        while (from < text_.size() && (text_[from] == '\r' || text_[from] == '\n')) ++from;
        return from;
    }

    /// \s*[\r\n]+ in a run of blanks: past the last end of a line, or `from`.
    [[nodiscard]] std::size_t end_of_lines(std::size_t from, std::size_t end) const {
        const auto last = text_.substr(from, end - from).find_last_of("\r\n");
        return last == std::string_view::npos ? from : from + last + 1;
    }

    std::string_view text_;
    PreTokenizer kind_;
    std::size_t at_ = 0;
    std::size_t number_ = 0;  // smollm: where the next number begins
};

}  // namespace detail
}  // namespace mpo

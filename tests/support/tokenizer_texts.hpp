// Texts that try a tokenizer, the same for every run: prose, code, digits, many scripts, emoji, bytes that
// are no UTF-8, long runs of blanks, pieces of the vocabulary itself, and mixtures.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/printable.hpp"
#include "mpo/core/random.hpp"

namespace mpo::test {

/// The code point as UTF-8.
inline void append_utf8(std::string& text, std::uint32_t code) {
    const auto tail = [&](int shift) {
        text += static_cast<char>(0x80 | ((code >> shift) & 0x3f));
    };
    if (code < 0x80) {
        text += static_cast<char>(code);
    } else if (code < 0x800) {
        text += static_cast<char>(0xc0 | (code >> 6));
        tail(0);
    } else if (code < 0x10000) {
        text += static_cast<char>(0xe0 | (code >> 12));
        tail(6), tail(0);
    } else {
        text += static_cast<char>(0xf0 | (code >> 18));
        tail(12), tail(6), tail(0);
    }
}

/// Every byte that is no UTF-8 becomes U+FFFD, as readers do that know only characters.
[[nodiscard]] inline std::string with_replacements(std::string_view text) {
    std::string result;
    for (std::size_t at = 0; at < text.size();) {
        const auto size = detail::utf8_length(text, at);
        result += size > 0 ? text.substr(at, size) : std::string_view("\xef\xbf\xbd");
        at += size > 0 ? size : 1;
    }
    return result;
}

/// A stream of texts. `pieces` are what tokens spell.
class TokenizerTexts {
  public:
    TokenizerTexts(std::uint64_t seed, std::vector<std::string> pieces)
        : random_(seed), pieces_(std::move(pieces)) {}

    [[nodiscard]] std::string next() {
        constexpr Index kinds = 9;
        const Index kind = random_.below(kinds + 2);
        if (kind < kinds) return text_of(kind);
        std::string text;
        for (Index k = 2 + random_.below(4); k > 0; --k) text += text_of(random_.below(kinds));
        return text;
    }

  private:
    using Words = std::vector<std::string_view>;

    [[nodiscard]] std::string_view pick(const Words& words) {
        return words[static_cast<std::size_t>(random_.below(static_cast<Index>(words.size())))];
    }
    [[nodiscard]] std::uint32_t between(std::uint32_t first, std::uint32_t last) {
        return first + static_cast<std::uint32_t>(random_.below(Index{last} - Index{first} + 1));
    }

    [[nodiscard]] std::string text_of(Index kind) {
        switch (kind) {
            case 0:
                return prose();
            case 1:
                return code();
            case 2:
                return digits();
            case 3:
                return script();
            case 4:
                return emoji();
            case 5:
                return broken();
            case 6:
                return blanks();
            case 7:
                return of_pieces();
            default:
                return any_characters();
        }
    }

    [[nodiscard]] std::string prose() {
        static const Words words{"the",
                                 "It",
                                 "isn't",
                                 "we've",
                                 "They'll",
                                 "I'm",
                                 "he'd",
                                 "you're",
                                 "captain's",
                                 "WON'T",
                                 "SHE'S",
                                 "'tis",
                                 "rock'n'roll",
                                 "truth",
                                 "universally",
                                 "acknowledged",
                                 "single",
                                 "man",
                                 "possession",
                                 "fortune",
                                 "naïve",
                                 "façade",
                                 "Dvořák",
                                 "Þórr",
                                 "œuvre",
                                 "mother-in-law",
                                 "well-known",
                                 "e.g.",
                                 "U.S.A.",
                                 "Mr.",
                                 "antidisestablishmentarianism",
                                 "tensor",
                                 "network",
                                 "o'clock",
                                 "rhythm",
                                 "don’t",
                                 "“quoted”",
                                 "1984",
                                 "3.14",
                                 "50%",
                                 "$20",
                                 "C++",
                                 "Ångström"};
        static const Words ends{". ", "? ", "! ", ", ", "; ", "... ", " — ", ".\n", ".\n\n", ": "};
        std::string text;
        for (Index k = 1 + random_.below(18); k > 0; --k) {
            text += pick(words);
            text += random_.below(6) == 0 ? pick(ends) : std::string_view(" ");
        }
        if (random_.below(2) == 0) text.pop_back();
        return text;
    }

    [[nodiscard]] std::string code() {
        static const Words lines{"for (int i = 0; i < n; ++i) {\n",
                                 "    return x->y[i] += 0x1F;\n",
                                 "\t\tif (!ok && a != b) throw;\n",
                                 "def f(self, *args, **kwargs):\n",
                                 "        yield from range(10)\r\n",
                                 "#include <vector>\n",
                                 "SELECT * FROM t WHERE id='42';\n",
                                 "std::cout << \"a\\tb\\n\";",
                                 "}\n\n\n",
                                 "const auto& [k, v] = *it;",
                                 "<div class=\"x\">&nbsp;</div>",
                                 "{\"key\": [1, 2.5e-3, null]}",
                                 "a_long_identifier_42 = camelCaseName;",
                                 "https://example.org/a?b=c&d=%20#e",
                                 "$ cd ~/x && ls -la | grep '^d'\n",
                                 "x = y if z else lambda w: w**2\n",
                                 "/* comment */ // !!! ???\n",
                                 "\\begin{equation} \\alpha_{i} \\end{equation}"};
        std::string text;
        for (Index k = 1 + random_.below(5); k > 0; --k) text += pick(lines);
        return text;
    }

    [[nodiscard]] std::string digits() {
        static const Words between_them{"",  "",  "",    " ",  ".", ",", "-", ":",
                                        "/", "e", " + ", "\n", "²", "½", "٣"};
        std::string text;
        for (Index k = 1 + random_.below(6); k > 0; --k) {
            for (Index d = 1 + random_.below(9); d > 0; --d)
                text += static_cast<char>('0' + random_.below(10));
            text += pick(between_them);
        }
        return text;
    }

    [[nodiscard]] std::string script() {
        using Range = std::pair<std::uint32_t, std::uint32_t>;
        static constexpr std::array<Range, 32> scripts{
            {{0xa1, 0x17f},    {0x180, 0x24f},     {0x250, 0x2af},     {0x300, 0x36f},
             {0x370, 0x3ff},   {0x400, 0x4ff},     {0x530, 0x58f},     {0x590, 0x5ff},
             {0x600, 0x6ff},   {0x700, 0x74f},     {0x900, 0x97f},     {0x980, 0x9ff},
             {0xb80, 0xbff},   {0xe00, 0xe7f},     {0xf00, 0xfff},     {0x1000, 0x109f},
             {0x10a0, 0x10ff}, {0x1200, 0x137f},   {0x13a0, 0x13ff},   {0x1780, 0x17ff},
             {0x1e00, 0x1fff}, {0x2000, 0x20cf},   {0x2100, 0x2bff},   {0x3000, 0x30ff},
             {0x3100, 0x33ff}, {0x4e00, 0x9fff},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
             {0xfe70, 0xffef}, {0x10000, 0x1047f}, {0x1d400, 0x1d7ff}, {0x20000, 0x323af}}};
        std::string text;
        for (Index runs = 1 + random_.below(3); runs > 0; --runs) {
            const auto [first, last] = scripts[static_cast<std::size_t>(
                random_.below(static_cast<Index>(scripts.size())))];
            for (Index k = 1 + random_.below(12); k > 0; --k) {
                append_utf8(text, between(first, last));
                if (random_.below(5) == 0) text += ' ';
            }
        }
        return text;
    }

    [[nodiscard]] std::string emoji() {
        static const Words words{"\u2764\ufe0f",
                                 "👩‍👩‍👧‍👦",
                                 "👍🏽",
                                 "🇩🇪",
                                 "🏳️‍🌈",
                                 "1️⃣",
                                 "🙂",
                                 "🤷🏿‍♀️",
                                 "©️",
                                 " ",
                                 "ok ",
                                 "!"};
        std::string text;
        for (Index k = 1 + random_.below(8); k > 0; --k)
            if (random_.below(3) == 0)
                append_utf8(text, between(0x1f300, 0x1faff));
            else
                text += pick(words);
        return text;
    }

    /// Bytes that are no UTF-8, among such that are. Not longer than need be: readers differ there.
    [[nodiscard]] std::string broken() {
        static const Words words{"\x80", "\xff",     "\xfe\xfe", "\xe2\x82", "\xf0\x9f\x98",
                                 "\xc3", "\xbf\xbf", "a",        " b",       "é",
                                 "漢",   "\n",       " ",        "9"};
        std::string text;
        for (Index k = 1 + random_.below(10); k > 0; --k) text += pick(words);
        return text;
    }

    [[nodiscard]] std::string blanks() {
        static const Words blanks{" ",      "\n", "\r\n", "\t",     "\u00a0", "\u3000",
                                  "\u2009", "\r", "\v\f", "\u0085", "\u2028"};
        static const Words words{"x", "end", "1", "!", "", "'s", "é"};
        std::string text;
        for (Index runs = 1 + random_.below(4); runs > 0; --runs) {
            const auto blank = pick(blanks);
            const Index length =
                random_.below(4) == 0 ? 1 + random_.below(200) : 1 + random_.below(5);
            for (Index k = length; k > 0; --k)
                text += random_.below(12) == 0 ? pick(blanks) : blank;
            text += pick(words);
        }
        return text;
    }

    [[nodiscard]] std::string of_pieces() {
        std::string text;
        for (Index k = 1 + random_.below(16); k > 0; --k)
            text += pieces_[static_cast<std::size_t>(
                random_.below(static_cast<Index>(pieces_.size())))];
        return text;
    }

    [[nodiscard]] std::string any_characters() {
        std::string text;
        for (Index k = 1 + random_.below(20); k > 0; --k) {
            std::uint32_t code = 0;
            do code = between(1, random_.below(2) == 0 ? 0x3ffff : 0x17f);
            while (code >= 0xd800 && code < 0xe000);
            append_utf8(text, code);
        }
        return text;
    }

    Random random_;
    std::vector<std::string> pieces_;
};

}  // namespace mpo::test

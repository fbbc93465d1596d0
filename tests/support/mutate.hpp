// Files made wrong by chance, the same on every run.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>

namespace mpo::test {

/// Turns one text into others of about its length.
class Mutator {
  public:
    explicit Mutator(std::uint64_t seed) : random_(seed) {}

    /// One to four changes, most of them where headers stand: in front.
    [[nodiscard]] std::string operator()(std::string text) {
        for (auto count = below(4) + 1; count > 0; --count) change(text);
        return text;
    }

  private:
    [[nodiscard]] std::size_t below(std::size_t bound) {
        return static_cast<std::size_t>(random_() % bound);  // distributions differ by library
    }

    void change(std::string& text) {
        if (text.empty()) text = "x";
        const std::size_t front = std::min<std::size_t>(text.size(), below(2) ? 64 : 4096);
        const std::size_t at = below(8) ? below(front) : below(text.size());
        const std::size_t length = std::min(below(24) + 1, text.size() - at);
        switch (below(8)) {
            case 0:
                text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
                break;
            case 1:
                text[at] = static_cast<char>(below(256));
                break;
            case 2:
                overwrite(text, at);
                break;
            case 3:
                text.erase(at, length);
                break;
            case 4:
                text.insert(below(front), text.substr(at, length));
                break;
            case 5:
                text.resize(at);
                break;
            case 6:
                text.insert(at, tokens[below(std::size(tokens))]);
                break;
            default:
                text.replace(at, length, tokens[below(std::size(tokens))]);
        }
    }

    /// A number of 4 or 8 bytes that is near a limit.
    void overwrite(std::string& text, std::size_t at) {
        const std::uint64_t value = (std::uint64_t{1} << below(64)) + below(3) - 1;
        const std::size_t size = std::min<std::size_t>(below(2) ? 8 : 4, text.size() - at);
        for (std::size_t k = 0; k < size; ++k) text[at + k] = static_cast<char>(value >> (8 * k));
    }

    static constexpr const char* tokens[] = {
        "{",    "}",     "[",      "]",       ",",
        ":",    "\"",    "\\",     "-1",      "18446744073709551615",
        "null", "1e9",   "[[[[[[", "\\u0000", "\xff",
        "0",    "1e999", "{}",     "\"a\":",  "9223372036854775807"};

    std::mt19937_64 random_;
};

}  // namespace mpo::test

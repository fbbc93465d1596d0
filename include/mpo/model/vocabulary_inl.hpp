// The bodies of model/vocabulary.hpp that are no templates.
#pragma once

#include <cmath>
#include <cstddef>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/vocabulary.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE const std::array<std::uint32_t, 256>& byte_alphabet() {
    static const auto alphabet = [] {
        std::array<std::uint32_t, 256> result{};
        std::uint32_t next = 256;
        for (std::uint32_t byte = 0; byte < 256; ++byte) {
            const bool printable = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
            result[byte] = printable ? byte : next++;
        }
        return result;
    }();
    return alphabet;
}

MPO_DETAIL_MODEL_INLINE std::optional<std::string> bytes_of_spelling(std::string_view spelling) {
    static const auto bytes = [] {
        std::array<int, 324> result{};  // the alphabet ends at U+0143
        result.fill(-1);
        for (std::size_t byte = 0; byte < 256; ++byte)
            result[byte_alphabet()[byte]] = static_cast<int>(byte);
        return result;
    }();
    std::string result;
    result.reserve(spelling.size());
    for (std::size_t at = 0; at < spelling.size();) {
        const auto next = character_at(spelling, at);
        if (next.code >= bytes.size() || bytes[next.code] < 0) return std::nullopt;
        result += static_cast<char>(bytes[next.code]);
        at += next.size;
    }
    return result;
}

MPO_DETAIL_MODEL_INLINE std::string with_blanks(std::string_view spelling) {
    std::string result;
    for (std::size_t at = 0; at < spelling.size();) {
        const auto blank = spelling.find(sentencepiece_blank, at);
        result += spelling.substr(at, blank - at);
        if (blank == std::string_view::npos) break;
        result += ' ';
        at = blank + sentencepiece_blank.size();
    }
    return result;
}

MPO_DETAIL_MODEL_INLINE std::optional<char> byte_of_token(std::string_view spelling) {
    if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling[5] != '>')
        return std::nullopt;
    int value = 0;
    for (const char digit : spelling.substr(3, 2)) {
        const auto at = std::string_view("0123456789ABCDEF").find(digit);
        if (at == std::string_view::npos) return std::nullopt;
        value = 16 * value + static_cast<int>(at);
    }
    return static_cast<char>(value);
}

MPO_DETAIL_MODEL_INLINE void require_consistent(const Vocabulary& vocabulary) {
    const auto& source = vocabulary.source;
    const auto count = vocabulary.tokens.size();
    const auto same_count = [&](const char* what, std::size_t got) {
        if (got != count)
            raise<FormatError>({source, ": ", got, " ", what, " for ", count, " tokens"});
    };
    if (count == 0) raise<FormatError>({source, ": the tokenizer has no tokens"});
    if (count > static_cast<std::size_t>(max_num_tokens))
        raise<FormatError>({source, ": ", count, " tokens exceed the limit of ", max_num_tokens});
    same_count("token types", vocabulary.types.size());
    for (std::size_t id = 0; id < count; ++id)
        if (vocabulary.tokens[id].empty())
            raise<FormatError>({source, ": token ", id, " has an empty text"});
    const auto inside = [&](const char* what, const std::optional<Index>& id) {
        if (id && (*id < 0 || static_cast<std::size_t>(*id) >= count))
            raise<FormatError>(
                {source, ": the ", what, " token ", *id, " is none of the ", count, " tokens"});
    };
    inside("begin-of-text", vocabulary.bos);
    inside("end-of-text", vocabulary.eos);
    if ((vocabulary.add_bos && !vocabulary.bos) || (vocabulary.add_eos && !vocabulary.eos))
        raise<FormatError>({source, ": texts are to begin or end with a token that is not named"});
    if (vocabulary.model == TokenizerModel::byte_level_bpe) {
        if (vocabulary.merges.empty())
            raise<FormatError>({source, ": a byte-level tokenizer of ", count,
                                " tokens must have merges, and has none"});
        return;
    }
    same_count("scores", vocabulary.scores.size());
    for (std::size_t id = 0; id < count; ++id)
        if (!std::isfinite(vocabulary.scores[id]))
            raise<FormatError>({source, ": the score of token ", id, " ",
                                in_quotes(vocabulary.tokens[id]), " is not finite"});
}

}  // namespace mpo::detail

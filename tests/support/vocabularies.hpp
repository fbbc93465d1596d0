// A small vocabulary of each kind, and its GGUF file. Nothing of the test framework: tests/fuzz uses it too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gguf_bytes.hpp"
#include "mpo/model/vocabulary.hpp"

namespace mpo::test {

/// All bytes, the words "the", " the" and "ab", and two control tokens.
[[nodiscard]] inline Vocabulary small_byte_level() {
    Vocabulary result;
    result.source = "small.gguf";
    for (const auto code : detail::byte_alphabet()) {
        std::string& text = result.tokens.emplace_back();
        if (code >= 0x80) text += static_cast<char>(0xc0 | (code >> 6));
        text += static_cast<char>(code < 0x80 ? code : 0x80 | (code & 0x3f));
    }
    result.merges = {{"t", "h"}, {"th", "e"}, {"\xc4\xa0", "the"}, {"a", "b"}};
    for (const auto& [left, right] : result.merges) result.tokens.push_back(left + right);
    result.types.assign(result.tokens.size(), TokenType::normal);
    for (const char* control : {"<s>", "</s>"}) {
        result.tokens.emplace_back(control);
        result.types.push_back(TokenType::control);
    }
    result.bos = 260;
    result.eos = 261;
    return result;
}

/// Three control tokens, all bytes, and a few words with scores.
[[nodiscard]] inline Vocabulary small_sentencepiece() {
    Vocabulary result;
    result.source = "small.gguf";
    result.model = TokenizerModel::sentencepiece_bpe;
    const auto add = [&](const std::string& text, TokenType type, float score) {
        result.tokens.push_back(text);
        result.types.push_back(type);
        result.scores.push_back(score);
    };
    add("<unk>", TokenType::unknown, 0);
    add("<s>", TokenType::control, 0);
    add("</s>", TokenType::control, 0);
    for (int byte = 0; byte < 256; ++byte) {
        constexpr const char* digits = "0123456789ABCDEF";
        add(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", TokenType::byte, 0);
    }
    float score = 0;
    for (const char* text : {"\xe2\x96\x81t", "he", "\xe2\x96\x81the", "in", "er", "\xe2\x96\x81",
                             "t", "h", "e", "i", "n", "r", "a", "\xc3\xa9"})
        add(text, TokenType::normal, score -= 1);
    result.bos = 1;
    result.eos = 2;
    result.add_bos = true;
    result.add_space_prefix = true;
    return result;
}

/// The pairs of a GGUF file that say it.
[[nodiscard]] inline std::vector<Bytes> tokenizer_pairs(const Vocabulary& vocabulary) {
    const auto array = [](const std::string& key, std::uint32_t type, std::size_t count,
                          const Bytes& elements) {
        return Bytes()
            .string("tokenizer.ggml." + key)
            .number(std::uint32_t{9})
            .number(type)
            .number(std::uint64_t{count})
            .text(elements.data());
    };
    const bool scored = vocabulary.model == TokenizerModel::sentencepiece_bpe;
    static constexpr const char* names[] = {"gpt-2", "smollm", "llama-bpe", "qwen2"};
    Bytes tokens, types, merges, scores;
    for (const auto& token : vocabulary.tokens) tokens.string(token);
    for (const auto type : vocabulary.types) types.number(static_cast<std::int32_t>(type));
    for (const auto& [left, right] : vocabulary.merges) merges.string(left + " " + right);
    for (const float score : vocabulary.scores) scores.number(score);
    std::vector<Bytes> pairs{gguf_text("tokenizer.ggml.model", scored ? "llama" : "gpt2"),
                             array("tokens", 8, vocabulary.tokens.size(), tokens),
                             array("token_type", 5, vocabulary.types.size(), types)};
    if (scored) {
        pairs.push_back(array("scores", 6, vocabulary.scores.size(), scores));
    } else {
        const auto* name = names[static_cast<std::size_t>(vocabulary.pre_tokenizer)];
        pairs.push_back(gguf_text("tokenizer.ggml.pre", name));
        pairs.push_back(array("merges", 8, vocabulary.merges.size(), merges));
    }
    if (vocabulary.bos)
        pairs.push_back(
            gguf_u32("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(*vocabulary.bos)));
    if (vocabulary.eos)
        pairs.push_back(
            gguf_u32("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(*vocabulary.eos)));
    return pairs;
}

}  // namespace mpo::test

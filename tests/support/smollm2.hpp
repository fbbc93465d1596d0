// The vocabulary of SmolLM2 from its fixture (fixtures/make_tokens.py).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/model/vocabulary.hpp"
#include "oracle.hpp"

namespace mpo::test {

/// The 49,152 tokens and 48,900 merges of SmolLM2; all but the first 252 tokens are what merges make.
[[nodiscard]] inline Vocabulary smollm2_vocabulary(
    PreTokenizer pre_tokenizer = PreTokenizer::smollm) {
    const SafetensorsFile file(fixture("smollm2_vocabulary.safetensors"));
    Vocabulary result;
    result.source = "SmolLM2";
    result.pre_tokenizer = pre_tokenizer;
    result.ignore_merges = pre_tokenizer == PreTokenizer::llama_bpe;
    const auto base = stored_numbers<char>(file, "base");
    std::string_view names(base.data(), base.size());
    for (std::size_t end = 0; end != std::string_view::npos; names.remove_prefix(end + 1)) {
        end = names.find('\n');
        result.tokens.emplace_back(names.substr(0, end));
        if (end == std::string_view::npos) break;
    }
    result.types.assign(17, TokenType::control);
    const auto pairs = stored_numbers<std::uint16_t>(file, "merges");
    for (std::size_t k = 0; k < pairs.size(); k += 2) {
        result.merges.emplace_back(result.tokens[pairs[k]], result.tokens[pairs[k + 1]]);
        result.tokens.push_back(result.merges.back().first + result.merges.back().second);
    }
    result.types.resize(result.tokens.size(), TokenType::normal);
    result.bos = 1;
    result.eos = 2;
    return result;
}

}  // namespace mpo::test

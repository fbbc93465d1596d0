// Tokenizers that break one rule each, and what the refusal must say. The fuzz targets begin with them.
#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "vocabularies.hpp"

namespace mpo::test {

[[nodiscard]] inline Bytes tokenizer_gguf(const Vocabulary& vocabulary,
                                          const std::vector<Bytes>& more = {}) {
    auto pairs = tokenizer_pairs(vocabulary);
    pairs.insert(pairs.end(), more.begin(), more.end());
    return gguf_file(pairs, {}, "");
}

/// small_byte_level or small_sentencepiece with one thing changed.
[[nodiscard]] inline std::vector<Lie> lying_vocabularies() {
    std::vector<Lie> lies;
    const auto lie = [&](const std::string& what, Vocabulary vocabulary, auto edit,
                         std::vector<std::string> message) {
        edit(vocabulary);
        lies.push_back({what, tokenizer_gguf(vocabulary), std::move(message)});
    };
    const auto bytes = small_byte_level();
    const auto scored = small_sentencepiece();
    lie("a type too few", bytes, [](auto& v) { v.types.pop_back(); },
        {"261 token types", "262 tokens"});
    lie("no tokens", bytes, [](auto& v) { v.tokens.clear(), v.types.clear(); }, {"no tokens"});
    lie("an empty token", bytes, [](auto& v) { v.tokens[7].clear(); }, {"token 7", "empty"});
    lie("a token twice", bytes, [](auto& v) { v.tokens[97] = "b"; }, {"97", "98", "both 'b'"});
    lie("a control token twice", bytes, [](auto& v) { v.tokens[261] = "<s>"; },
        {"260", "261", "both '<s>'"});
    lie("no merges", bytes, [](auto& v) { v.merges.clear(); }, {"262 tokens", "merges"});
    lie("a merge of what is no token", bytes, [](auto& v) { v.merges[1].second = "zz"; },
        {"merge 1", "'th'", "'zz' is no token"});
    lie("a merge to what is no token", bytes, [](auto& v) { v.merges[3].second = "c"; },
        {"merge 3", "'ac' is no token"});
    lie("a merge of a control token", bytes, [](auto& v) { v.merges[3].first = "<s>"; },
        {"merge 3", "'<s>' is no token"});
    lie("a merge twice", bytes, [](auto& v) { v.merges[3] = v.merges[0]; },
        {"merges 0 and 3", "'t'", "'h'"});
    lie("a merge of three texts", bytes, [](auto& v) { v.merges[2].second = "a b"; },
        {"'tokenizer.ggml.merges'", "position 2", "blank between"});
    lie("half a merge", bytes, [](auto& v) { v.merges[2].first = ""; }, {"position 2"});
    lie("a type that does not exist", bytes, [](auto& v) { v.types[5] = TokenType{7}; },
        {"'tokenizer.ggml.token_type'", "token 5 is 7"});
    lie("bos beyond the tokens", bytes, [](auto& v) { v.bos = 262; },
        {"begin-of-text token 262", "262 tokens"});
    lie("eos beyond the tokens", scored, [](auto& v) { v.eos = 1000; }, {"end-of-text token 1000"});
    lie("a score too few", scored, [](auto& v) { v.scores.pop_back(); }, {"272 scores", "273"});
    lie("a score that is no number", scored,
        [](auto& v) { v.scores[260] = std::numeric_limits<float>::quiet_NaN(); },
        {"token 260", "'he'", "not finite"});
    lie("a byte spelled otherwise", scored, [](auto& v) { v.tokens[13] = "<0xg0>"; },
        {"token 13", "'<0xg0>'", "<0x0A>"});
    lie("two tokens of one spelling", scored, [](auto& v) { v.tokens[260] = " t"; },
        {"259", "260", "both spell ' t'"});
    return lies;
}

/// Metadata of the wrong kind, or none.
[[nodiscard]] inline std::vector<Lie> lying_tokenizer_metadata() {
    const auto without = [](const std::string& key) {
        std::vector<Bytes> pairs;
        for (const auto& pair : tokenizer_pairs(small_byte_level()))
            if (pair.data().find("tokenizer.ggml." + key) == std::string::npos)
                pairs.push_back(pair);
        return pairs;
    };
    const auto file = [&](const std::string& key, const std::vector<Bytes>& instead) {
        auto pairs = without(key);
        pairs.insert(pairs.end(), instead.begin(), instead.end());
        return gguf_file(pairs, {}, "");
    };
    const auto text = [](const std::string& key, const std::string& value) {
        return std::vector<Bytes>{gguf_text("tokenizer.ggml." + key, value)};
    };
    const auto number = [](const std::string& key) {
        return std::vector<Bytes>{gguf_u32("tokenizer.ggml." + key, 1)};
    };
    return {
        {"no tokenizer at all", gguf_file({}, {}, ""), {"'tokenizer.ggml.model' is missing"}},
        {"another model", file("model", text("model", "bert")), {"'bert'", "gpt2 and llama"}},
        {"the model is a number", file("model", number("model")), {"model' must be text"}},
        {"no pre-tokeniser", file("pre", {}), {"'tokenizer.ggml.pre' is missing"}},
        {"another pre-tokeniser", file("pre", text("pre", "falcon")), {"'falcon'", "smollm"}},
        {"no tokens", file("tokens", {}), {"'tokenizer.ggml.tokens' is missing"}},
        {"tokens are a number", file("tokens", number("tokens")), {"must be an array of texts"}},
        {"no merges", file("merges", {}), {"'tokenizer.ggml.merges' is missing"}},
        {"bos is text", file("bos_token_id", text("bos_token_id", "1")), {"must be an integer"}},
        {"add_bos is text", file("none", text("add_bos_token", "no")), {"must be a boolean"}},
        {"scores of none", file("model", text("model", "llama")), {"scores' is missing"}},
        {"bos is to be added, and not named",
         file("bos_token_id", {gguf_pair("tokenizer.ggml.add_bos_token", 7, std::uint8_t{1})}),
         {"not named"}}};
}

/// A tokenizer.json that says what small_byte_level() does.
[[nodiscard]] inline nlohmann::json tokenizer_json(const Vocabulary& vocabulary) {
    nlohmann::json json;
    auto& model = json["model"];
    model["type"] = "BPE";
    json["added_tokens"] = nlohmann::json::array();
    for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id)
        if (vocabulary.types[id] == TokenType::normal)
            model["vocab"][vocabulary.tokens[id]] = id;
        else
            json["added_tokens"].push_back(
                {{"id", id}, {"content", vocabulary.tokens[id]}, {"special", true}});
    for (const auto& [left, right] : vocabulary.merges)
        model["merges"].push_back(left + " " + right);
    json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
    return json;
}

/// small_byte_level's JSON with one thing changed.
[[nodiscard]] inline std::vector<Lie> lying_tokenizer_json() {
    std::vector<Lie> lies;
    const auto lie = [&](const std::string& what, auto edit, std::vector<std::string> message) {
        auto json = tokenizer_json(small_byte_level());
        edit(json);
        lies.push_back({what, Bytes().text(json.dump()), std::move(message)});
    };
    using Json = nlohmann::json;
    const auto pre = [](Json& j) -> Json& { return j["pre_tokenizer"]; };
    lie("no object", [](Json& j) { j = Json::array(); }, {"must be an object"});
    lie("no model", [](Json& j) { j.erase("model"); }, {"'model' must be an object"});
    lie("another model", [](Json& j) { j["model"]["type"] = "Unigram"; }, {"'Unigram'", "BPE"});
    lie("bytes in tokens", [](Json& j) { j["model"]["byte_fallback"] = true; },
        {"'byte_fallback'", "GGUF"});
    lie("a prefix", [](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; },
        {"'continuing_subword_prefix'"});
    lie("chance", [](Json& j) { j["model"]["dropout"] = 0.1; }, {"'dropout'"});
    lie("no merges", [](Json& j) { j["model"].erase("merges"); }, {"'merges' is missing"});
    lie("half a merge", [](Json& j) { j["model"]["merges"][1] = "th"; }, {"merge 1", "th"});
    lie("a merge of numbers", [](Json& j) { j["model"]["merges"][1] = {1, 2}; }, {"merge 1"});
    lie("a negative id", [](Json& j) { j["model"]["vocab"]["a"] = -1; }, {"'a'", "-1"});
    lie("an id far away", [](Json& j) { j["model"]["vocab"]["a"] = 100000; }, {"'a'", "100000"});
    lie("an id too large", [](Json& j) { j["model"]["vocab"]["a"] = 1e300; }, {"'a'", "4194304"});
    lie("two of one id", [](Json& j) { j["model"]["vocab"]["a"] = 98; }, {"id 98", "'a'", "'b'"});
    lie("an id left out", [](Json& j) { j["model"]["vocab"].erase("!"); }, {"id 33", "262"});
    lie("an added token without id", [](Json& j) { j["added_tokens"][1].erase("id"); },
        {"'</s>'", "no id"});
    lie("an added token that strips", [](Json& j) { j["added_tokens"][1]["lstrip"] = true; },
        {"'</s>'", "'lstrip'"});
    lie("a normaliser",
        [](Json& j) {
            j["normalizer"] = {{"type", "Lowercase"}};
        },
        {"'Lowercase'", "normalizer"});
    lie("no pre-tokeniser", [](Json& j) { j.erase("pre_tokenizer"); }, {"pre_tokenizer"});
    lie("another pre-tokeniser", [&](Json& j) { pre(j)["type"] = "Whitespace"; }, {"'Whitespace'"});
    lie("a blank before the text", [&](Json& j) { pre(j)["add_prefix_space"] = true; },
        {"add_prefix_space"});
    lie("no pattern", [&](Json& j) { pre(j)["use_regex"] = false; }, {"not supported"});
    lie("another post-processor",
        [](Json& j) {
            j["post_processor"] = {{"type", "Bert"}};
        },
        {"post_processor", "'Bert'"});
    lie("what is added does not exist",
        [](Json& j) {
            j["post_processor"] = {{"type", "TemplateProcessing"},
                                   {"single", {{{"SpecialToken", {{"id", "<x>"}}}}}}};
        },
        {"'<x>'", "no added token"});
    lie("another pattern",
        [&](Json& j) {
            const Json split = {
                {"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", "."}}}};
            pre(j)["use_regex"] = false;
            pre(j) = {{"type", "Sequence"}, {"pretokenizers", {split, pre(j)}}};
        },
        {"pattern", "'.'"});
    return lies;
}

}  // namespace mpo::test

// Tokenizers that break one rule each, and what the refusal must say. The fuzz targets begin with them.
#pragma once

#include <limits>
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

/// "a|b" as {"a", "b"}: lists of strings cost seconds of compile time.
[[nodiscard]] inline std::vector<std::string> pieces_of(std::string_view joined) {
    std::vector<std::string> pieces;
    for (std::size_t end = 0; end != std::string_view::npos; joined.remove_prefix(end + 1)) {
        end = joined.find('|');
        pieces.emplace_back(joined.substr(0, end));
        if (end == std::string_view::npos) break;
    }
    return pieces;
}

/// small_byte_level or small_sentencepiece with one thing changed.
[[nodiscard]] inline std::vector<Lie> lying_vocabularies() {
    std::vector<Lie> lies;
    const auto lie = [&](const char* what, Vocabulary vocabulary, void (*edit)(Vocabulary&),
                         const char* message) {
        edit(vocabulary);
        lies.push_back({what, tokenizer_gguf(vocabulary), pieces_of(message)});
    };
    const auto bytes = small_byte_level();
    const auto scored = small_sentencepiece();
    lie(
        "a type too few", bytes, [](Vocabulary& v) { v.types.pop_back(); },
        "261 token types|262 tokens");
    lie(
        "no tokens", bytes, [](Vocabulary& v) { v.tokens.clear(), v.types.clear(); }, "no tokens");
    lie(
        "an empty token", bytes, [](Vocabulary& v) { v.tokens[7].clear(); }, "token 7|empty");
    lie(
        "a token twice", bytes, [](Vocabulary& v) { v.tokens[97] = "b"; }, "97|98|both 'b'");
    lie(
        "a control token twice", bytes, [](Vocabulary& v) { v.tokens[261] = "<s>"; },
        "260|261|both '<s>'");
    lie(
        "no merges", bytes, [](Vocabulary& v) { v.merges.clear(); }, "262 tokens|merges");
    lie(
        "a merge of what is no token", bytes, [](Vocabulary& v) { v.merges[1].second = "zz"; },
        "merge 1|'th'|'zz' is no token");
    lie(
        "a merge to what is no token", bytes, [](Vocabulary& v) { v.merges[3].second = "c"; },
        "merge 3|'ac' is no token");
    lie(
        "a merge of a control token", bytes, [](Vocabulary& v) { v.merges[3].first = "<s>"; },
        "merge 3|'<s>' is no token");
    lie(
        "a merge twice", bytes, [](Vocabulary& v) { v.merges[3] = v.merges[0]; },
        "merges 0 and 3|'t'|'h'");
    lie(
        "a merge of three texts", bytes, [](Vocabulary& v) { v.merges[2].second = "a b"; },
        "'tokenizer.ggml.merges'|position 2|blank between");
    lie(
        "half a merge", bytes, [](Vocabulary& v) { v.merges[2].first = ""; }, "position 2");
    lie(
        "a type that does not exist", bytes, [](Vocabulary& v) { v.types[5] = TokenType{7}; },
        "'tokenizer.ggml.token_type'|token 5 is 7");
    lie(
        "bos beyond the tokens", bytes, [](Vocabulary& v) { v.bos = 262; },
        "begin-of-text token 262|262 tokens");
    lie(
        "eos beyond the tokens", scored, [](Vocabulary& v) { v.eos = 1000; },
        "end-of-text token 1000");
    lie(
        "a score too few", scored, [](Vocabulary& v) { v.scores.pop_back(); }, "272 scores|273");
    lie(
        "a score that is no number", scored,
        [](Vocabulary& v) { v.scores[260] = std::numeric_limits<float>::quiet_NaN(); },
        "token 260|'he'|not finite");
    lie(
        "a byte spelled otherwise", scored, [](Vocabulary& v) { v.tokens[13] = "<0xg0>"; },
        "token 13|'<0xg0>'|<0x0A>");
    lie(
        "two tokens of one spelling", scored, [](Vocabulary& v) { v.tokens[260] = " t"; },
        "259|260|both spell ' t'");
    return lies;
}

/// Metadata of the wrong kind, or none.
[[nodiscard]] inline std::vector<Lie> lying_tokenizer_metadata() {
    std::vector<Lie> lies;
    // the pairs of small_byte_level without one key, and one pair instead
    const auto lie = [&](const char* what, const char* without, const Bytes& instead,
                         const char* message) {
        std::vector<Bytes> pairs{instead};
        for (const auto& pair : tokenizer_pairs(small_byte_level()))
            if (pair.data().find(without) == std::string::npos) pairs.push_back(pair);
        lies.push_back({what, gguf_file(pairs, {}, ""), pieces_of(message)});
    };
    const auto text = [](const std::string& key, const std::string& value) {
        return gguf_text("tokenizer.ggml." + key, value);
    };
    const auto number = [](const std::string& key) { return gguf_u32("tokenizer.ggml." + key, 1); };
    const auto nothing = gguf_u32("other", 1);
    const auto adds_bos = gguf_pair("tokenizer.ggml.add_bos_token", 7, std::uint8_t{1});
    lie("no tokenizer at all", "tokenizer", nothing, "'tokenizer.ggml.model' is missing");
    lie("another model", ".model", text("model", "bert"), "'bert'|gpt2 and llama");
    lie("the model is a number", ".model", number("model"), "model' must be text");
    lie("no pre-tokeniser", ".pre", nothing, "'tokenizer.ggml.pre' is missing");
    lie("another pre-tokeniser", ".pre", text("pre", "falcon"), "'falcon'|smollm");
    lie("no tokens", ".tokens", nothing, "'tokenizer.ggml.tokens' is missing");
    lie("tokens are a number", ".tokens", number("tokens"), "must be an array of texts");
    lie("no merges", ".merges", nothing, "'tokenizer.ggml.merges' is missing");
    lie("bos is text", ".bos", text("bos_token_id", "1"), "must be an integer");
    lie("add_bos is text", "(none)", text("add_bos_token", "no"), "must be a boolean");
    lie("no scores", ".model", text("model", "llama"), "scores' is missing");
    lie("bos is to be added, and not named", ".bos", adds_bos, "not named");
    return lies;
}

/// A tokenizer.json that says what small_byte_level() does.
[[nodiscard]] inline std::string tokenizer_json(const Vocabulary& vocabulary) {
    const auto quoted = [](const std::string& text) {
        const bool escape = text == "\"" || text == "\\";
        return "\"" + std::string(escape ? "\\" : "") + text + "\"";
    };
    std::string vocab, merges, added;
    const auto append = [](std::string& list, const std::string& entry) {
        list += (list.empty() ? "" : ",") + entry;
    };
    for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
        const auto token = quoted(vocabulary.tokens[id]);
        const auto number = std::to_string(id);
        if (vocabulary.types[id] == TokenType::normal)
            append(vocab, token + ":" + number);
        else
            append(added, R"({"id":)" + number + R"(,"content":)" + token + R"(,"special":true})");
    }
    for (const auto& [left, right] : vocabulary.merges) append(merges, quoted(left + " " + right));
    return R"({"normalizer":null,"added_tokens":[)" + added + R"(],"post_processor":null,)" +
           R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},)" +
           R"("model":{"type":"BPE","dropout":null,"vocab":{)" + vocab + R"(},"merges":[)" +
           merges + "]}}";
}

/// `text` with the first `from` replaced.
[[nodiscard]] inline std::string replaced(std::string text, const std::string& from,
                                          const std::string& to) {
    const auto at = text.find(from);
    return at == std::string::npos ? "no " + from : text.replace(at, from.size(), to);
}

/// small_byte_level's JSON with one thing changed.
[[nodiscard]] inline std::vector<Lie> lying_tokenizer_json() {
    struct Change {
        const char *what, *from, *to, *message;
    };
    const char* bytes = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})";
    const char* split =
        R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"."},)"
        R"("behavior":"Isolated"},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})";
    const char* adds =
        R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<x>"}}]})";
    const Change changes[]{
        {"no object", "{", "[{", "breaks off"},
        {"no model", R"("model":{)", R"("modem":{)", "'model' must be an object"},
        {"another model", "BPE", "Unigram", "'Unigram'|BPE"},
        {"bytes in tokens", R"("dropout")", R"("byte_fallback":true,"dropout")", "'byte_fallback'"},
        {"a prefix", R"("dropout")", R"("continuing_subword_prefix":"##","dropout")",
         "'continuing_subword_prefix'"},
        {"chance", R"("dropout":null)", R"("dropout":0.1)", "'dropout'"},
        {"ids of a text", R"("vocab":{)", R"("vocab":{"x":"y",)", "'x'|y"},
        {"no merges", R"("merges")", R"("mergers")", "'merges' is missing"},
        {"half a merge", R"("th e")", R"("th")", "merge 1|th"},
        {"a merge of numbers", R"("th e")", "[1,2]", "merge 1"},
        {"a merge of what is no token", R"("th e")", R"(["th","zz"])", "merge 1|'zz'"},
        {"a negative id", R"("a":97)", R"("a":-1)", "'a'|-1"},
        {"an id far away", R"("a":97)", R"("a":100000)", "'a'|100000"},
        {"an id too large", R"("a":97)", R"("a":1e300)", "'a'|1048576"},
        {"two of one id", R"("a":97)", R"("a":98)", "id 98|'a'|'b'"},
        {"a token twice", R"("a":97)", R"("a":97,"a":97)", "'a'|twice"},
        {"an id left out", R"("!":33,)", "", "id 33|262"},
        {"an added token without id", R"("id":261,)", "", "'</s>'|no id"},
        {"an added token that strips", R"("id":261,)", R"("id":261,"lstrip":true,)",
         "'</s>'|'lstrip'"},
        {"a normaliser", R"("normalizer":null)", R"("normalizer":{"type":"Lowercase"})",
         "'Lowercase'|normalizer"},
        {"truncation", R"("normalizer")", R"("truncation":{"max_length":5},"normalizer")",
         "'truncation'"},
        {"padding", R"("normalizer")", R"("padding":{"length":5},"normalizer")", "'padding'"},
        {"no pre-tokeniser", R"("pre_tokenizer")", R"("pre")", "pre_tokenizer"},
        {"another pre-tokeniser", "ByteLevel", "Whitespace", "'Whitespace'"},
        {"a blank before the text", R"("add_prefix_space":false)", R"("add_prefix_space":true)",
         "add_prefix_space"},
        {"no pattern", R"("use_regex":true)", R"("use_regex":false)", "not supported"},
        {"no boolean", R"("use_regex":true)", R"("use_regex":1)", "'use_regex'|boolean"},
        {"another pattern", bytes, split, "pattern|'.'"},
        {"another post-processor", R"("post_processor":null)",
         R"("post_processor":{"type":"Bert"})", "post_processor|'Bert'"},
        {"what is added does not exist", R"("post_processor":null)", adds, "'<x>'|no added token"}};
    std::vector<Lie> lies;
    const auto text = tokenizer_json(small_byte_level());
    for (const auto& [what, from, to, message] : changes)
        lies.push_back({what, Bytes().text(replaced(text, from, to)), pieces_of(message)});
    lies.push_back({"a list", Bytes().text("[]"), pieces_of("must be an object")});
    return lies;
}

}  // namespace mpo::test

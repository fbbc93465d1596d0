// The bodies of model/vocabulary_gguf.hpp that are no templates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/vocabulary_gguf.hpp"

namespace mpo {
namespace detail {

/// The keys of a tokenizer; a key of the wrong type is a FormatError that names it.
class GgufTokenizerFields {
  public:
    explicit GgufTokenizerFields(const GgufFile& file) : file_(file) {}

    [[noreturn]] void fail(const std::string& key, std::string_view problem) const {
        raise<FormatError>(
            {file_.path().string(), ": metadata 'tokenizer.ggml.", key, "' ", problem});
    }

    [[nodiscard]] const GgufValue* find(const std::string& key) const {
        return file_.find("tokenizer.ggml." + key);
    }

    [[nodiscard]] std::optional<std::string> text(const std::string& key) const {
        const auto* value = find(key);
        if (!value) return std::nullopt;
        const auto* text = std::get_if<std::string>(value);
        if (!text) fail(key, "must be text");
        return *text;
    }

    [[nodiscard]] bool boolean(const std::string& key, bool otherwise) const {
        const auto* value = find(key);
        if (!value) return otherwise;
        const auto* flag = std::get_if<bool>(value);
        if (!flag) fail(key, "must be a boolean");
        return *flag;
    }

    [[nodiscard]] std::optional<Index> token(const std::string& key) const {
        const auto* value = find(key);
        if (!value) return std::nullopt;
        const auto id = as_integer(*value);
        if (!id) fail(key, "must be an integer");
        return id;
    }

    /// Elements of an array of T; nothing where there is no such key.
    template <class T>
    [[nodiscard]] const std::vector<T>* array(const std::string& key, const char* kind) const {
        const auto* value = find(key);
        if (!value) return nullptr;
        const auto* array = std::get_if<GgufArray>(value);
        const auto* elements = array ? std::get_if<std::vector<T>>(&array->elements) : nullptr;
        if (!elements) fail(key, concat("must be an array of ", kind));
        return elements;
    }

  private:
    const GgufFile& file_;
};

[[nodiscard]] inline PreTokenizer gguf_pre_tokenizer(const GgufTokenizerFields& fields) {
    static constexpr std::pair<std::string_view, PreTokenizer> known[] = {
        {"gpt-2", PreTokenizer::gpt2},
        {"smollm", PreTokenizer::smollm},
        {"llama-bpe", PreTokenizer::llama_bpe},
        {"qwen2", PreTokenizer::qwen2}};
    const auto name = fields.text("pre");
    if (!name) fields.fail("pre", "is missing: how words are cut is not known");
    for (const auto& [text, kind] : known)
        if (*name == text) return kind;
    fields.fail("pre", concat(in_quotes(*name),
                              " is not supported: gpt-2, smollm, llama-bpe and qwen2 are"));
}

[[nodiscard]] inline std::vector<TokenType> gguf_token_types(const GgufTokenizerFields& fields,
                                                             std::size_t count) {
    const auto* stored = fields.array<std::int32_t>("token_type", "i32");
    if (!stored) return std::vector<TokenType>(count, TokenType::normal);
    std::vector<TokenType> types;
    types.reserve(stored->size());
    for (const auto type : *stored) {
        if (type < 1 || type > 6)
            fields.fail("token_type",
                        concat("of token ", types.size(), " is ", type, ", none of 1 to 6"));
        types.push_back(static_cast<TokenType>(type));
    }
    return types;
}

[[nodiscard]] inline std::vector<TokenPair> gguf_merges(const GgufTokenizerFields& fields) {
    const auto* stored = fields.array<std::string>("merges", "texts");
    if (!stored) fields.fail("merges", "is missing: byte-level BPE is nothing without it");
    if (stored->size() > static_cast<std::size_t>(max_num_tokens))
        fields.fail("merges", concat("has ", stored->size(), " entries, more than the limit of ",
                                     max_num_tokens));
    std::vector<TokenPair> merges;
    merges.reserve(stored->size());
    for (const auto& text : *stored) {
        const auto blank = text.find(' ');
        const bool pair = blank != std::string::npos && blank > 0 && blank + 1 < text.size() &&
                          text.find(' ', blank + 1) == std::string::npos;
        if (!pair)
            fields.fail("merges", concat("has at position ", merges.size(), " ", in_quotes(text),
                                         ", which is not two texts and a blank between them"));
        merges.emplace_back(text.substr(0, blank), text.substr(blank + 1));
    }
    return merges;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE Vocabulary gguf_vocabulary(const GgufFile& file) {
    const detail::GgufTokenizerFields fields(file);
    Vocabulary result;
    result.source = file.path().string();
    const auto model = fields.text("model");
    if (!model) fields.fail("model", "is missing: the file has no tokenizer");
    if (*model != "gpt2" && *model != "llama")
        fields.fail("model", detail::concat(detail::in_quotes(*model),
                                            " is not supported: gpt2 and llama are"));
    const auto* tokens = fields.array<std::string>("tokens", "texts");
    if (!tokens) fields.fail("tokens", "is missing");
    result.tokens = *tokens;
    result.types = detail::gguf_token_types(fields, tokens->size());
    result.bos = fields.token("bos_token_id");
    result.eos = fields.token("eos_token_id");
    if (*model == "llama") {
        result.model = TokenizerModel::sentencepiece_bpe;
        const auto* scores = fields.array<float>("scores", "f32");
        if (!scores) fields.fail("scores", "is missing");
        result.scores = *scores;
    } else {
        result.pre_tokenizer = detail::gguf_pre_tokenizer(fields);
        result.merges = detail::gguf_merges(fields);
    }
    // what llama.cpp takes for granted where a file does not say
    const bool scored = result.model == TokenizerModel::sentencepiece_bpe;
    const bool llama_bpe = !scored && result.pre_tokenizer == PreTokenizer::llama_bpe;
    result.ignore_merges = llama_bpe;
    result.add_bos = fields.boolean("add_bos_token", (scored || llama_bpe) && result.bos);
    result.add_eos = fields.boolean("add_eos_token", false);
    result.add_space_prefix = scored && fields.boolean("add_space_prefix", true);
    return result;
}

}  // namespace mpo

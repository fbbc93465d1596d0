// The bodies of model/vocabulary_json.hpp that are no templates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/vocabulary_json.hpp"

namespace mpo {
namespace detail {

/// Reads one document; every refusal names the file and the member.
class TokenizerJson {
  public:
    TokenizerJson(std::string_view text, std::string source) : source_(std::move(source)) {
        root_ = parse_json_tree(text, source_);
        if (!root_.is_object()) fail("the document", "must be an object");
    }

    [[nodiscard]] Vocabulary vocabulary() const {
        Vocabulary result;
        result.source = source_;
        const auto& model = object(root_, "model");
        read_model(model, result);
        read_added_tokens(result);
        for (std::size_t k = 0; k < result.tokens.size(); ++k)
            if (result.tokens[k].empty() && result.types[k] == TokenType::unused)
                fail("the tokens", concat("leave out the id ", k, " of ", result.tokens.size()));
        if (const auto* normalizer = member(root_, "normalizer")) {
            if (type_of(*normalizer) != "'NFC'")
                fail("normalizer", "of type " + type_of(*normalizer) + " is not supported: NFC is");
            result.normalization = Normalization::nfc;
        }
        for (const char* changes : {"truncation", "padding"})
            if (member(root_, changes))
                fail(in_quotes(changes), "is not supported: a text has the tokens that it has");
        const auto* pre = member(root_, "pre_tokenizer");
        if (!pre) fail("pre_tokenizer", "is missing");
        result.pre_tokenizer = pre_tokenizer(*pre);
        if (const auto* post = member(root_, "post_processor")) read_boundaries(*post, result);
        return result;
    }

  private:
    using Json = nlohmann::json;

    [[noreturn]] void fail(std::string_view what, std::string_view problem) const {
        raise<FormatError>({source_, ": ", what, " ", problem});
    }

    /// A member that is there and not null.
    [[nodiscard]] static const Json* member(const Json& parent, const char* key) {
        if (!parent.is_object()) return nullptr;
        const auto found = parent.find(key);
        return found == parent.end() || found->is_null() ? nullptr : &*found;
    }
    [[nodiscard]] const Json& object(const Json& parent, const char* key) const {
        const auto* value = member(parent, key);
        if (!value || !value->is_object()) fail(in_quotes(key), "must be an object");
        return *value;
    }
    [[nodiscard]] const Json& array(const Json& parent, const char* key) const {
        const auto* value = member(parent, key);
        if (!value || !value->is_array()) fail(in_quotes(key), "must be an array");
        return *value;
    }
    [[nodiscard]] std::string text(const Json& parent, const char* key) const {
        const auto* value = member(parent, key);
        if (!value || !value->is_string()) fail(in_quotes(key), "must be a string");
        return value->get<std::string>();
    }
    [[nodiscard]] bool flag(const Json& parent, const char* key, bool otherwise) const {
        const auto* value = member(parent, key);
        if (!value) return otherwise;
        if (!value->is_boolean()) fail(in_quotes(key), "must be a boolean");
        return value->get<bool>();
    }
    [[nodiscard]] Index token_id(const Json& value, std::string_view name) const {
        if (!value.is_number_unsigned() ||
            value.get<std::uint64_t>() >= static_cast<std::uint64_t>(max_num_tokens))
            fail("the id of token " + in_quotes(name),
                 concat("must be an integer below ", max_num_tokens, ", got ", described(value)));
        return value.get<Index>();
    }
    [[nodiscard]] static std::string type_of(const Json& value) {
        const auto* type = member(value, "type");
        return type && type->is_string() ? in_quotes(type->get_ref<const std::string&>())
                                         : "(not named)";
    }

    // -- model

    void read_model(const Json& model, Vocabulary& result) const {
        // the first files, GPT-2's among them, do not name it
        const std::string type = member(model, "type") ? text(model, "type") : "BPE";
        if (type != "BPE") fail("the model " + in_quotes(type), "is not supported: only BPE is");
        if (flag(model, "byte_fallback", false))
            fail("'byte_fallback'",
                 "is not supported: SentencePiece vocabularies are read from GGUF");
        for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
            if (member(model, key) && !text(model, key).empty())
                fail(in_quotes(key), "is not supported");
        if (member(model, "dropout") && *member(model, "dropout") != 0)
            fail("'dropout'", "is not supported: it makes tokens a matter of chance");
        result.ignore_merges = flag(model, "ignore_merges", false);
        const auto& vocabulary = object(model, "vocab");
        for (const auto& [token, id] : vocabulary.items())
            place(result, token_id(id, token), token, TokenType::normal, vocabulary.size());
        if (!member(model, "merges")) fail("'merges'", "is missing");
        const auto& merges = array(model, "merges");
        if (merges.size() > static_cast<std::size_t>(max_num_tokens))
            fail("'merges'", concat("has ", merges.size(), " entries, more than the limit of ",
                                    max_num_tokens));
        for (const auto& merge : merges)
            result.merges.push_back(pair_of(merge, result.merges.size()));
    }

    /// Two texts, or one with a blank between them.
    [[nodiscard]] TokenPair pair_of(const Json& merge, std::size_t rank) const {
        if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
            return {merge[0].get<std::string>(), merge[1].get<std::string>()};
        if (merge.is_string()) {
            const auto& both = merge.get_ref<const std::string&>();
            const auto blank = both.find(' ');
            if (blank != std::string::npos && blank > 0 && blank + 1 < both.size() &&
                both.find(' ', blank + 1) == std::string::npos)
                return {both.substr(0, blank), both.substr(blank + 1)};
        }
        fail(concat("merge ", rank), concat("must be two texts, got ", described(merge)));
    }

    /// Ids must be 0 .. n - 1 in the end; an id far beyond the number of tokens is no table's worth.
    void place(Vocabulary& result, Index id, const std::string& token, TokenType type,
               std::size_t expected) const {
        const auto k = static_cast<std::size_t>(id);
        if (k >= 2 * (expected + result.tokens.size()) + 1)
            fail("the id of token " + in_quotes(token),
                 concat("is ", id, ", far beyond the number of tokens"));
        if (k >= result.tokens.size()) {
            result.tokens.resize(k + 1);
            result.types.resize(k + 1, TokenType::unused);
        }
        auto& seat = result.tokens[k];
        if (!seat.empty() && seat != token)
            fail(concat("the id ", id),
                 concat("belongs to ", in_quotes(seat), " and to ", in_quotes(token)));
        seat = token;
        result.types[k] = type;
    }

    void read_added_tokens(Vocabulary& result) const {
        if (!member(root_, "added_tokens")) return;
        const auto& added = array(root_, "added_tokens");
        for (const auto& token : added) {
            const std::string name = text(token, "content");
            const auto* id = member(token, "id");
            if (!id) fail("added token " + in_quotes(name), "has no id");
            for (const char* strips : {"lstrip", "rstrip", "single_word"})
                if (flag(token, strips, false))
                    fail("added token " + in_quotes(name),
                         concat("has '", strips, "', which is not supported"));
            const bool special = flag(token, "special", false);
            place(result, token_id(*id, name), name,
                  special ? TokenType::control : TokenType::user_defined, added.size());
        }
    }

    // -- how words are cut

    [[nodiscard]] PreTokenizer pre_tokenizer(const Json& pre) const {
        std::vector<const Json*> steps;
        if (type_of(pre) == "'Sequence'")
            for (const auto& step : array(pre, "pretokenizers")) steps.push_back(&step);
        else
            steps.push_back(&pre);
        if (steps.empty() || steps.size() > 2 || type_of(*steps.back()) != "'ByteLevel'")
            fail("pre_tokenizer",
                 "must be ByteLevel, alone or behind Digits or Split; it ends with " +
                     (steps.empty() ? "nothing" : type_of(*steps.back())));
        if (flag(*steps.back(), "add_prefix_space", true))
            fail("pre_tokenizer",
                 "adds a blank before a text (add_prefix_space), which is not "
                 "supported");
        const bool pattern = flag(*steps.back(), "use_regex", true);
        if (steps.size() == 1 && pattern) return PreTokenizer::gpt2;
        if (steps.size() == 2 && pattern && type_of(*steps[0]) == "'Digits'" &&
            flag(*steps[0], "individual_digits", false))
            return PreTokenizer::smollm;
        if (steps.size() == 2 && !pattern && type_of(*steps[0]) == "'Split'")
            return pre_tokenizer_of_pattern(*steps[0]);
        fail("pre_tokenizer", "is a combination that is not supported: " + type_of(*steps[0]) +
                                  (pattern ? " with" : " without") + " ByteLevel's own pattern");
    }

    [[nodiscard]] PreTokenizer pre_tokenizer_of_pattern(const Json& split) const {
        static constexpr std::string_view begin =
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|";
        static constexpr std::string_view end =
            "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
        if (text(split, "behavior") != "Isolated" || flag(split, "invert", false))
            fail("pre_tokenizer", "splits in a way that is not supported; Isolated is");
        const std::string pattern = text(object(split, "pattern"), "Regex");
        if (pattern == concat(begin, "\\p{N}{1,3}", end)) return PreTokenizer::llama_bpe;
        if (pattern == concat(begin, "\\p{N}", end)) return PreTokenizer::qwen2;
        fail("pre_tokenizer", "has a pattern that is not known: " + in_quotes(pattern));
    }

    // -- what a text begins and ends with

    void read_boundaries(const Json& post, Vocabulary& result) const {
        const auto type = type_of(post);
        if (type == "'ByteLevel'") return;  // about positions in the text only
        if (type == "'Sequence'") {
            for (const auto& step : array(post, "processors")) {
                if (type_of(step) == "'Sequence'")
                    fail("post_processor", "is a sequence of sequences");
                read_boundaries(step, result);
            }
            return;
        }
        if (type != "'TemplateProcessing'")
            fail("post_processor", "of type " + type + " is not supported");
        bool behind = false;
        for (const auto& item : array(post, "single")) {
            if (member(item, "Sequence")) {
                behind = true;
                continue;
            }
            auto& seat = behind ? result.eos : result.bos;
            if (seat) fail("post_processor", "adds more than one token to an end of the text");
            seat = id_of(text(object(item, "SpecialToken"), "id"), result);
            (behind ? result.add_eos : result.add_bos) = true;
        }
    }

    [[nodiscard]] Index id_of(const std::string& name, const Vocabulary& result) const {
        for (std::size_t k = 0; k < result.tokens.size(); ++k)
            if (result.tokens[k] == name && !is_ordinary(result.types[k]))
                return static_cast<Index>(k);
        fail("post_processor", "adds " + in_quotes(name) + ", which is no added token");
    }

    std::string source_;
    nlohmann::json root_;
};

}  // namespace detail

MPO_DETAIL_MODEL_INLINE Vocabulary parse_tokenizer_json(std::string_view text,
                                                        const std::string& source) {
    return detail::TokenizerJson(text, source).vocabulary();
}

MPO_DETAIL_MODEL_INLINE Vocabulary read_tokenizer_json(const std::filesystem::path& path) {
    constexpr Index max_tokenizer_bytes = Index{32} << 20;
    const auto text = read_text_file(path, max_tokenizer_bytes);
    return parse_tokenizer_json(text, path.string());
}

}  // namespace mpo

// Text to token ids and back, as the model was trained: byte-level BPE (GPT-2, LLaMA 3, Qwen 2, SmolLM)
// and BPE with scores and byte fallback (SentencePiece, LLaMA 2). Any bytes are a text; what encode
// accepts, decode gives back byte by byte, or in normal form C where the vocabulary asks for that.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/merge_symbols.hpp"
#include "mpo/model/nfc.hpp"
#include "mpo/model/pre_tokenizer.hpp"
#include "mpo/model/vocabulary.hpp"
#include "mpo/model/vocabulary_gguf.hpp"
#include "mpo/model/vocabulary_json.hpp"

namespace mpo {

/// What `<|im_end|>` in a text means: ten characters, or the control token of that name. A text of
/// somebody else should not be able to end a conversation.
enum class SpecialTokens { as_text, parse };

/// Whether the tokens that a text began and ended with in training are added.
enum class Boundaries { none, as_trained };

/// What to do with a byte that no token of the vocabulary spells (SmolLM2 lacks 21 of 256; in UTF-8
/// they are six control characters and the planes 4 to 11).
enum class Unspellable { refuse, drop };

/// How encode works.
struct EncodeOptions {
    SpecialTokens special_tokens = SpecialTokens::as_text;  // control and user-defined tokens
    Boundaries boundaries = Boundaries::none;               // bos and eos
    Unspellable unspellable = Unspellable::refuse;          // drop: what is decoded is shorter
};

/// A vocabulary made ready. Const calls are safe from many threads.
class Tokenizer {
  public:
    /// Throws FormatError, naming the vocabulary's source, where it breaks a rule of
    /// model/vocabulary.hpp.
    explicit Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
        detail::require_consistent(vocabulary_);
        byte_tokens_.fill(-1);
        specials_.resize(256);
        name_tokens();
        if (is_byte_level()) rank_merges();
        if (!is_byte_level() || vocabulary_.ignore_merges)
            for (const Index id : ordinary_) index_piece(id);
        for (auto& ids : specials_)
            std::stable_sort(ids.begin(), ids.end(),
                             [&](Index a, Index b) { return piece(a).size() > piece(b).size(); });
    }

    /// Takes the other's tables over; a copy would refer to another's texts.
    Tokenizer(Tokenizer&& other) = default;
    /// The same; `other` is left empty.
    Tokenizer& operator=(Tokenizer&& other) = default;

    /// What it was made of.
    [[nodiscard]] const Vocabulary& vocabulary() const { return vocabulary_; }
    /// Number of tokens; ids are 0 .. size() - 1.
    [[nodiscard]] Index size() const { return static_cast<Index>(vocabulary_.tokens.size()); }

    /// The bytes of one token; a control token's are its name. They need not be whole characters.
    /// Throws ArgumentError where the id is none.
    [[nodiscard]] std::string_view piece(Index id) const {
        return pieces_[static_cast<std::size_t>(require_token(id))];
    }

    /// The id of the control or user-defined token of that name, or nothing.
    [[nodiscard]] std::optional<Index> special_token(std::string_view name) const {
        if (name.empty()) return std::nullopt;
        for (const Index id : specials_[static_cast<unsigned char>(name[0])])
            if (piece(id) == name) return id;
        return std::nullopt;
    }

    /// The tokens of a text; O(n log n) in its bytes at worst. Throws ArgumentError, with the byte's
    /// position, where no token spells a byte and options do not drop it.
    [[nodiscard]] std::vector<Index> encode(std::string_view text,
                                            const EncodeOptions& options = {}) const {
        Encoding encoding{{}, {}, text, options};
        const bool boundaries = options.boundaries == Boundaries::as_trained;
        if (boundaries && vocabulary_.add_bos) encoding.ids.push_back(*vocabulary_.bos);
        for (std::size_t at = 0; at < text.size();) {
            const auto special = options.special_tokens == SpecialTokens::parse
                                     ? next_special(text, at)
                                     : FoundSpecial{text.size(), -1};
            if (special.at > at) encode_plain(encoding, at, special.at);
            if (special.token < 0) break;
            encoding.ids.push_back(special.token);
            at = special.at + piece(special.token).size();
        }
        if (boundaries && vocabulary_.add_eos) encoding.ids.push_back(*vocabulary_.eos);
        return std::move(encoding.ids);
    }

    /// The bytes that the tokens spell, control tokens by their names; the blank that a SentencePiece
    /// vocabulary adds before a text is taken away again. Throws ArgumentError where an id is none.
    [[nodiscard]] std::string decode(std::span<const Index> ids) const {
        std::string text;
        bool begins = vocabulary_.add_space_prefix;
        for (const Index id : ids) {
            auto bytes = piece(id);
            const bool ordinary = is_ordinary(id);
            if (begins && ordinary && bytes.starts_with(' ')) bytes.remove_prefix(1);
            text += bytes;
            begins = vocabulary_.add_space_prefix && !ordinary;
        }
        return text;
    }

  private:
    struct FoundSpecial {
        std::size_t at;
        Index token;
    };
    struct Encoding {
        std::vector<Index> ids;
        detail::SymbolMerger merger;
        std::string_view text;
        const EncodeOptions& options;
    };

    [[nodiscard]] bool is_byte_level() const {
        return vocabulary_.model == TokenizerModel::byte_level_bpe;
    }
    [[nodiscard]] bool is_ordinary(Index id) const {
        return detail::is_ordinary(vocabulary_.types[static_cast<std::size_t>(id)]);
    }
    [[nodiscard]] Index require_token(Index id) const {
        if (id < 0 || id >= size())
            detail::raise<ArgumentError>(
                {"token ", id, " is none of the ", size(), " tokens of ", vocabulary_.source});
        return id;
    }

    // -- construction

    [[nodiscard]] std::string piece_of(std::size_t id) const {
        const auto& text = vocabulary_.tokens[id];
        if (!detail::is_ordinary(vocabulary_.types[id])) return text;
        if (is_byte_level()) return detail::bytes_of_spelling(text).value_or(text);
        if (vocabulary_.types[id] == TokenType::normal) return detail::with_blanks(text);
        const auto byte = detail::byte_of_token(text);
        if (!byte)
            detail::raise<FormatError>({vocabulary_.source, ": token ", id, " ",
                                        detail::in_quotes(text),
                                        " is a byte and must be spelled like <0x0A>"});
        return std::string(1, *byte);
    }

    /// Pieces, the tokens of single bytes, the lists of ordinary and of special tokens.
    void name_tokens() {
        std::unordered_map<std::string_view, Index> seen[2];  // special, ordinary: by their texts
        pieces_.reserve(vocabulary_.tokens.size());
        for (std::size_t k = 0; k < vocabulary_.tokens.size(); ++k) {
            const auto id = static_cast<Index>(k);
            const bool ordinary = is_ordinary(id);
            pieces_.push_back(piece_of(k));
            const auto [other, fresh] = seen[ordinary].emplace(vocabulary_.tokens[k], id);
            if (!fresh)
                detail::raise<FormatError>({vocabulary_.source, ": the tokens ", other->second,
                                            " and ", id, " are both ",
                                            detail::in_quotes(vocabulary_.tokens[k])});
            const auto first = static_cast<unsigned char>(pieces_.back()[0]);
            if (ordinary && spells_one_byte(k)) byte_tokens_[first] = id;
            if (ordinary) ordinary_.push_back(id);
            if (!ordinary && vocabulary_.types[k] != TokenType::unused)
                specials_[first].push_back(id);
        }
        if (is_byte_level()) by_text_ = std::move(seen[1]);
    }

    [[nodiscard]] bool spells_one_byte(std::size_t id) const {
        if (pieces_[id].size() != 1) return false;
        return is_byte_level() ? detail::bytes_of_spelling(vocabulary_.tokens[id]).has_value()
                               : vocabulary_.types[id] == TokenType::byte;
    }

    void index_piece(Index id) {
        const auto k = static_cast<std::size_t>(id);
        if (vocabulary_.types[k] != TokenType::normal) return;
        if (is_byte_level() && !detail::bytes_of_spelling(vocabulary_.tokens[k])) return;
        const auto [other, fresh] = by_piece_.emplace(pieces_[k], id);
        if (!fresh)
            detail::raise<FormatError>({vocabulary_.source, ": the tokens ", other->second, " and ",
                                        id, " both spell ", detail::in_quotes(pieces_[k])});
    }

    [[nodiscard]] static std::uint64_t pair_key(Index left, Index right) {
        return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
    }

    /// The id of a text that merge `rank` names or makes.
    [[nodiscard]] Index token_of_merge(std::size_t rank, const std::string& text) const {
        const auto found = by_text_.find(text);
        if (found != by_text_.end()) return found->second;
        const auto& merge = vocabulary_.merges[rank];
        detail::raise<FormatError>(
            {vocabulary_.source, ": merge ", rank, " of ", detail::in_quotes(merge.first), " and ",
             detail::in_quotes(merge.second), ": ", detail::in_quotes(text), " is no token"});
    }

    void rank_merges() {
        merges_.reserve(vocabulary_.merges.size());
        for (std::size_t rank = 0; rank < vocabulary_.merges.size(); ++rank) {
            const auto& [left, right] = vocabulary_.merges[rank];
            const auto key = pair_key(token_of_merge(rank, left), token_of_merge(rank, right));
            const auto [other, fresh] = merges_.emplace(
                key, detail::Merged{token_of_merge(rank, left + right), static_cast<double>(rank)});
            if (!fresh)
                detail::raise<FormatError>({vocabulary_.source, ": the merges ",
                                            static_cast<Index>(other->second.key), " and ", rank,
                                            " are both of ", detail::in_quotes(left), " and ",
                                            detail::in_quotes(right)});
        }
        by_text_.clear();
    }

    // -- encoding

    /// The first special token from `at` on, the longest of those that begin there.
    [[nodiscard]] FoundSpecial next_special(std::string_view text, std::size_t at) const {
        for (; at < text.size(); ++at)
            for (const Index id : specials_[static_cast<unsigned char>(text[at])])
                if (text.substr(at).starts_with(piece(id))) return {at, id};
        return {text.size(), -1};
    }

    void encode_plain(Encoding& encoding, std::size_t begin, std::size_t end) const {
        const auto text = encoding.text.substr(begin, end - begin);
        if (!is_byte_level()) return encode_sentence(encoding, begin, text);
        const bool normalize = vocabulary_.normalization == Normalization::nfc;
        const std::string normal = normalize ? to_nfc(text) : "";
        detail::WordScanner words(normalize ? std::string_view(normal) : text,
                                  vocabulary_.pre_tokenizer);
        while (const auto word = words.next()) {
            encode_word(encoding, begin, *word);
            begin += word->size();
        }
    }

    void encode_word(Encoding& encoding, std::size_t begin, std::string_view word) const {
        if (vocabulary_.ignore_merges)
            if (const auto whole = by_piece_.find(word); whole != by_piece_.end())
                return encoding.ids.push_back(whole->second);
        auto& merger = encoding.merger;
        merger.clear();
        for (std::size_t k = 0; k < word.size(); ++k)
            merger.add(byte_tokens_[static_cast<unsigned char>(word[k])], k, 1);
        merger.merge_all([&](const detail::Symbol& left,
                             const detail::Symbol& right) -> std::optional<detail::Merged> {
            if (left.token < 0 || right.token < 0) return std::nullopt;
            const auto found = merges_.find(pair_key(left.token, right.token));
            if (found == merges_.end()) return std::nullopt;
            return found->second;
        });
        merger.for_each([&](const detail::Symbol& symbol) {
            append(encoding, symbol.token, begin + symbol.begin, word[symbol.begin]);
        });
    }

    /// Characters merge to tokens, the best score first. U+2581, which spells a blank in the
    /// vocabulary, is no token here, so that it goes through the bytes and comes back as it was.
    void encode_sentence(Encoding& encoding, std::size_t begin, std::string_view plain) const {
        const std::size_t prefix = vocabulary_.add_space_prefix ? 1 : 0;
        const std::string text = std::string(prefix, ' ').append(plain);
        const auto token = [&](std::size_t at, std::size_t size) {
            const auto found = by_piece_.find(std::string_view(text).substr(at, size));
            return found == by_piece_.end() ? Index{-1} : found->second;
        };
        auto& merger = encoding.merger;
        merger.clear();
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t size = (std::max)(detail::utf8_length(text, at), std::size_t{1});
            merger.add(token(at, size), at, size);
            at += size;
        }
        merger.merge_all([&](const detail::Symbol& left,
                             const detail::Symbol& right) -> std::optional<detail::Merged> {
            const Index id = token(left.begin, left.size + right.size);
            if (id < 0) return std::nullopt;
            const float score = vocabulary_.scores[static_cast<std::size_t>(id)];
            return detail::Merged{id, -static_cast<double>(score)};
        });
        merger.for_each([&](const detail::Symbol& symbol) {
            if (symbol.token >= 0) return encoding.ids.push_back(symbol.token);
            for (std::size_t k = symbol.begin; k < symbol.begin + symbol.size; ++k)
                append(encoding, byte_tokens_[static_cast<unsigned char>(text[k])],
                       begin + k - (std::min)(k, prefix), text[k]);
        });
    }

    void append(Encoding& encoding, Index token, std::size_t at, char byte) const {
        if (token >= 0) return encoding.ids.push_back(token);
        if (encoding.options.unspellable == Unspellable::drop) return;
        detail::raise<ArgumentError>({"encode: no token of ", vocabulary_.source,
                                      " spells the byte ",
                                      static_cast<int>(static_cast<unsigned char>(byte)),
                                      " at position ", at, " of the text"});
    }

    Vocabulary vocabulary_;
    std::vector<std::string> pieces_;                       // by id
    std::array<Index, 256> byte_tokens_{};                  // -1: none
    std::vector<Index> ordinary_;                           // ids of what plain text becomes
    std::vector<std::vector<Index>> specials_;              // by first byte, the longest first
    std::unordered_map<std::string_view, Index> by_text_;   // while merges are ranked
    std::unordered_map<std::string_view, Index> by_piece_;  // pieces are those of pieces_
    std::unordered_map<std::uint64_t, detail::Merged> merges_;
};

/// The tokenizer of a model: in a .gguf file, a tokenizer.json, a folder with tokenizer.json or
/// tokenizer.gguf, or beside a .safetensors file. Throws FileError where there is none, FormatError
/// where it cannot be used.
[[nodiscard]] inline Tokenizer read_tokenizer(const std::filesystem::path& path) {
    if (!std::filesystem::is_directory(path)) {
        const auto kind = path.extension();
        if (kind == ".json") return Tokenizer(read_tokenizer_json(path));
        if (kind != ".safetensors") return Tokenizer(gguf_vocabulary(GgufFile(path)));
    }
    const auto folder = std::filesystem::is_directory(path) ? path : path.parent_path();
    const auto json = folder / "tokenizer.json", gguf = folder / "tokenizer.gguf";
    if (std::filesystem::exists(json)) return Tokenizer(read_tokenizer_json(json));
    if (std::filesystem::exists(gguf)) return Tokenizer(gguf_vocabulary(GgufFile(gguf)));
    detail::raise<FileError>({"tokenizer of ", path.string(), ": there is neither ", json.string(),
                              " nor ", gguf.string()});
}

}  // namespace mpo

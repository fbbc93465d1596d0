// The bodies of model/tokenizer.hpp that are no templates.
#pragma once

#include <algorithm>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/nfc.hpp"
#include "mpo/model/pre_tokenizer.hpp"
#include "mpo/model/tokenizer.hpp"
#include "mpo/model/vocabulary_gguf.hpp"
#include "mpo/model/vocabulary_json.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE Tokenizer::Tokenizer(Vocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)) {
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

MPO_DETAIL_MODEL_INLINE std::optional<Index> Tokenizer::special_token(std::string_view name) const {
    if (name.empty()) return std::nullopt;
    for (const Index id : specials_[static_cast<unsigned char>(name[0])])
        if (piece(id) == name) return id;
    return std::nullopt;
}

MPO_DETAIL_MODEL_INLINE std::vector<Index> Tokenizer::encode(std::string_view text,
                                                             const EncodeOptions& options) const {
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

MPO_DETAIL_MODEL_INLINE std::string Tokenizer::decode(std::span<const Index> ids) const {
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

MPO_DETAIL_MODEL_INLINE Index Tokenizer::require_token(Index id) const {
    if (id < 0 || id >= size())
        detail::raise<ArgumentError>(
            {"token ", id, " is none of the ", size(), " tokens of ", vocabulary_.source});
    return id;
}

MPO_DETAIL_MODEL_INLINE std::string Tokenizer::piece_of(std::size_t id) const {
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

MPO_DETAIL_MODEL_INLINE void Tokenizer::name_tokens() {
    std::unordered_map<std::string_view, Index> seen[2];  // special, ordinary: by their texts
    pieces_.reserve(vocabulary_.tokens.size());
    for (std::size_t k = 0; k < vocabulary_.tokens.size(); ++k) {
        const auto id = static_cast<Index>(k);
        const bool ordinary = is_ordinary(id);
        pieces_.push_back(piece_of(k));
        const auto [other, fresh] = seen[ordinary].emplace(vocabulary_.tokens[k], id);
        if (!fresh)
            detail::raise<FormatError>({vocabulary_.source, ": the tokens ", other->second, " and ",
                                        id, " are both ",
                                        detail::in_quotes(vocabulary_.tokens[k])});
        const auto first = static_cast<unsigned char>(pieces_.back()[0]);
        if (ordinary && spells_one_byte(k)) byte_tokens_[first] = id;
        if (ordinary) ordinary_.push_back(id);
        if (!ordinary && vocabulary_.types[k] != TokenType::unused) specials_[first].push_back(id);
    }
    if (is_byte_level()) by_text_ = std::move(seen[1]);
}

MPO_DETAIL_MODEL_INLINE bool Tokenizer::spells_one_byte(std::size_t id) const {
    if (pieces_[id].size() != 1) return false;
    return is_byte_level() ? detail::bytes_of_spelling(vocabulary_.tokens[id]).has_value()
                           : vocabulary_.types[id] == TokenType::byte;
}

MPO_DETAIL_MODEL_INLINE void Tokenizer::index_piece(Index id) {
    const auto k = static_cast<std::size_t>(id);
    if (vocabulary_.types[k] != TokenType::normal) return;
    if (is_byte_level() && !detail::bytes_of_spelling(vocabulary_.tokens[k])) return;
    const auto [other, fresh] = by_piece_.emplace(pieces_[k], id);
    if (!fresh)
        detail::raise<FormatError>({vocabulary_.source, ": the tokens ", other->second, " and ", id,
                                    " both spell ", detail::in_quotes(pieces_[k])});
}

MPO_DETAIL_MODEL_INLINE Index Tokenizer::token_of_merge(std::size_t rank,
                                                        const std::string& text) const {
    const auto found = by_text_.find(text);
    if (found != by_text_.end()) return found->second;
    const auto& merge = vocabulary_.merges[rank];
    detail::raise<FormatError>(
        {vocabulary_.source, ": merge ", rank, " of ", detail::in_quotes(merge.first), " and ",
         detail::in_quotes(merge.second), ": ", detail::in_quotes(text), " is no token"});
}

MPO_DETAIL_MODEL_INLINE void Tokenizer::rank_merges() {
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

MPO_DETAIL_MODEL_INLINE Tokenizer::FoundSpecial Tokenizer::next_special(std::string_view text,
                                                                        std::size_t at) const {
    for (; at < text.size(); ++at)
        for (const Index id : specials_[static_cast<unsigned char>(text[at])])
            if (text.substr(at).starts_with(piece(id))) return {at, id};
    return {text.size(), -1};
}

MPO_DETAIL_MODEL_INLINE void Tokenizer::encode_plain(Encoding& encoding, std::size_t begin,
                                                     std::size_t end) const {
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

MPO_DETAIL_MODEL_INLINE void Tokenizer::encode_word(Encoding& encoding, std::size_t begin,
                                                    std::string_view word) const {
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

MPO_DETAIL_MODEL_INLINE void Tokenizer::encode_sentence(Encoding& encoding, std::size_t begin,
                                                        std::string_view plain) const {
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

MPO_DETAIL_MODEL_INLINE void Tokenizer::append(Encoding& encoding, Index token, std::size_t at,
                                               char byte) const {
    if (token >= 0) return encoding.ids.push_back(token);
    if (encoding.options.unspellable == Unspellable::drop) return;
    detail::raise<ArgumentError>({"encode: no token of ", vocabulary_.source, " spells the byte ",
                                  static_cast<int>(static_cast<unsigned char>(byte)),
                                  " at position ", at, " of the text"});
}

MPO_DETAIL_MODEL_INLINE Tokenizer read_tokenizer(const std::filesystem::path& path) {
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

// Tokens of SmolLM2's vocabulary against those of llama.cpp (fixtures/make_tokens.py), and the laws that
// every tokenizer keeps.

#include "mpo/model/tokenizer.hpp"

#include "mpo/model/vocabulary_json.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/oracle.hpp"
#include "support/refused.hpp"
#include "support/smollm2.hpp"
#include "support/tokenizer_lies.hpp"
#include "support/tokenizer_texts.hpp"
#include "support/vocabularies.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

constexpr std::size_t num_texts = 10000;
constexpr EncodeOptions dropping{.unspellable = Unspellable::drop};

[[nodiscard]] std::uint32_t hash_of(const std::vector<Index>& ids) {
    Bytes bytes;
    for (const Index id : ids) bytes.number(static_cast<std::uint32_t>(id));
    return static_cast<std::uint32_t>(fnv1a(bytes.data()));
}

[[nodiscard]] const Tokenizer& smollm2() {
    static const Tokenizer tokenizer(smollm2_vocabulary());
    return tokenizer;
}

/// Pieces that are whole characters: joined, they are UTF-8.
[[nodiscard]] const std::vector<std::string>& texts() {
    static const auto result = [] {
        std::vector<std::string> pieces, texts;
        for (Index id = 17; id < smollm2().size(); ++id) {
            const std::string piece(smollm2().piece(id));
            if (with_replacements(piece) == piece) pieces.push_back(piece);
        }
        TokenizerTexts stream(7, pieces);
        while (texts.size() < num_texts) texts.push_back(stream.next());
        return texts;
    }();
    return result;
}

[[nodiscard]] std::string as_file(const std::vector<std::string>& texts) {
    Bytes bytes;
    for (const auto& text : texts) bytes.number(static_cast<std::uint32_t>(text.size())).text(text);
    return bytes.data();
}

[[nodiscard]] std::vector<Index> word_sizes(std::string_view text, PreTokenizer kind) {
    std::vector<Index> sizes;
    detail::WordScanner words(text, kind);
    while (const auto word = words.next()) sizes.push_back(static_cast<Index>(word->size()));
    return sizes;
}

/// Encodes the texts as llama.cpp reads them, and compares with the hashes of that name.
template <class Edit>
void check_against_fixture(const Tokenizer& tokenizer, const std::string& name,
                           const EncodeOptions& options, Edit edit) {
    const SafetensorsFile file(fixture("smollm2_tokens.safetensors"));
    const auto expected = stored_numbers<std::uint32_t>(file, name);
    std::size_t different = 0;
    for (std::size_t k = 0; k < expected.size(); ++k) {
        const auto text = with_replacements(edit(texts()[k]));
        if (hash_of(tokenizer.encode(text, options)) == expected[k]) continue;
        UNSCOPED_INFO("text " << k << ": " << detail::printable(text, 300));
        ++different;
    }
    INFO(name << ": " << expected.size() << " texts");
    CHECK(different == 0);
}

}  // namespace

TEST_CASE("tokenizer: the same tokens as llama.cpp for 10,000 texts") {
    const SafetensorsFile file(fixture("smollm2_tokens.safetensors"));
    REQUIRE(texts().size() == num_texts);
    write_for_oracle("tokenizer_texts.bin", as_file(texts()));
    REQUIRE(stored_numbers<std::uint64_t>(file, "texts").at(0) == fnv1a(as_file(texts())));
    const auto same = [](const std::string& text) { return text; };
    check_against_fixture(smollm2(), "smollm", dropping, same);
    EncodeOptions parsing = dropping;
    parsing.special_tokens = SpecialTokens::parse;
    check_against_fixture(smollm2(), "special", parsing, [](const std::string& text) {
        return "<|im_start|>" + text + "<|im_end|>\n";
    });
}

TEST_CASE("tokenizer: the other pre-tokenisers cut and merge as their patterns and llama.cpp do") {
    const SafetensorsFile file(fixture("smollm2_tokens.safetensors"));
    const std::vector<std::pair<std::string, PreTokenizer>> kinds{
        {"gpt-2", PreTokenizer::gpt2},
        {"llama-bpe", PreTokenizer::llama_bpe},
        {"qwen2", PreTokenizer::qwen2}};
    for (const auto& [name, kind] : kinds) {
        const auto words = stored_numbers<std::uint32_t>(file, "words." + name);
        std::size_t different = 0;
        for (std::size_t k = 0; k < words.size(); ++k) {
            const auto text = with_replacements(texts()[k]);
            if (hash_of(word_sizes(text, kind)) == words[k]) continue;
            UNSCOPED_INFO("text " << k << ": " << detail::printable(text, 300));
            ++different;
        }
        INFO(name << ": " << words.size() << " texts");
        CHECK(different == 0);
        check_against_fixture(Tokenizer(smollm2_vocabulary(kind)), name, dropping,
                              [](const std::string& text) { return text; });
    }
}

TEST_CASE("tokenizer: BPE with scores as llama.cpp does it") {
    Vocabulary scored = small_sentencepiece();
    scored.tokens.resize(259);
    for (Index id = 17; id < smollm2().size(); ++id) {
        const std::string piece(smollm2().piece(id));
        if (with_replacements(piece) != piece) continue;
        std::string text;
        for (const char c : piece)
            text += c == ' ' ? std::string(detail::sentencepiece_blank) : std::string(1, c);
        scored.tokens.push_back(text);
    }
    scored.types.resize(259);
    scored.types.resize(scored.tokens.size(), TokenType::normal);
    scored.scores.assign(scored.tokens.size(), 0);
    for (std::size_t k = 259; k < scored.tokens.size(); ++k)
        scored.scores[k] = -static_cast<float>(k - 259);
    const EncodeOptions options{.boundaries = Boundaries::as_trained};
    const auto without_blanks = [](std::string_view text) {
        std::string result;
        for (std::size_t at = 0; at < text.size();) {
            const bool blank = text.substr(at).starts_with(detail::sentencepiece_blank);
            result += blank ? '_' : text[at];
            at += blank ? detail::sentencepiece_blank.size() : 1;
        }
        return result;
    };
    check_against_fixture(Tokenizer(std::move(scored)), "scored", options, without_blanks);
}

TEST_CASE("tokenizer: what is encoded is decoded, whatever the bytes") {
    std::vector<Tokenizer> tokenizers;
    for (const auto kind :
         {PreTokenizer::gpt2, PreTokenizer::smollm, PreTokenizer::llama_bpe, PreTokenizer::qwen2}) {
        Vocabulary vocabulary = small_byte_level();
        vocabulary.pre_tokenizer = kind;
        tokenizers.emplace_back(std::move(vocabulary));
    }
    tokenizers.emplace_back(small_sentencepiece());
    Random random(3);
    std::vector<std::string> all{
        "",      " ",       "  ",      "\xe2\x96\x81",       " \xe2\x96\x81the",
        "<s>",   "<0x41>",  "the the", std::string(3, '\0'), "\xe2\x96",
        "h\xc3", "</s> the"};
    for (int k = 0; k < 300; ++k) {
        std::string text;
        for (Index n = random.below(40); n > 0; --n)
            text += random.below(2) == 0 ? static_cast<char>(random.below(256))
                                         : "the \n1'"[random.below(7)];
        all.push_back(text);
    }
    for (const auto& tokenizer : tokenizers)
        for (const auto& text : all) {
            for (const auto special : {SpecialTokens::as_text, SpecialTokens::parse}) {
                const auto ids = tokenizer.encode(text, {.special_tokens = special});
                CHECK(tokenizer.decode(ids) == text);
            }
        }
    for (std::size_t k = 0; k < 1000; ++k) {  // SmolLM2 lacks some bytes
        const auto& text = texts()[k];
        const auto ids = smollm2().encode(text, dropping);
        std::string kept;
        for (const char c : text)
            if (!smollm2().encode(std::string_view(&c, 1), dropping).empty()) kept += c;
        CHECK(smollm2().decode(ids) == kept);
    }
}

TEST_CASE("tokenizer: control tokens are text unless they are asked for") {
    for (const auto& vocabulary : {small_byte_level(), small_sentencepiece()}) {
        const Tokenizer tokenizer(vocabulary);
        const Index end = *vocabulary.eos;
        const auto plain = tokenizer.encode("a</s>the");
        CHECK(std::count(plain.begin(), plain.end(), end) == 0);
        const auto parsed = tokenizer.encode("a</s>the", {.special_tokens = SpecialTokens::parse});
        CHECK(std::count(parsed.begin(), parsed.end(), end) == 1);
        CHECK(tokenizer.special_token("</s>") == end);
        CHECK(tokenizer.special_token("the") == std::nullopt);
        CHECK(tokenizer.special_token("") == std::nullopt);
        CHECK(tokenizer.piece(end) == "</s>");
    }
    Vocabulary nested = small_byte_level();
    for (const char* name : {"<s>x", "<s"}) {
        nested.tokens.emplace_back(name);
        nested.types.push_back(TokenType::user_defined);
    }
    const auto ids =
        Tokenizer(nested).encode("<s<s>x<s>", {.special_tokens = SpecialTokens::parse});
    CHECK(ids == std::vector<Index>{263, 262, 260});  // the longest of those that begin first
}

TEST_CASE("tokenizer: boundaries are those of the vocabulary, and only on request") {
    Vocabulary vocabulary = small_byte_level();
    vocabulary.add_bos = vocabulary.add_eos = true;
    const Tokenizer tokenizer(std::move(vocabulary));
    const EncodeOptions trained{.boundaries = Boundaries::as_trained};
    CHECK(tokenizer.encode("") == std::vector<Index>{});
    CHECK(tokenizer.encode("", trained) == std::vector<Index>{260, 261});
    CHECK(tokenizer.encode(" the", trained) == std::vector<Index>{260, 258, 261});
    CHECK(Tokenizer(small_sentencepiece()).encode("the", trained) == std::vector<Index>{1, 261});
}

TEST_CASE("tokenizer: a byte that no token spells is refused or dropped") {
    for (auto vocabulary : {small_byte_level(), small_sentencepiece()}) {
        for (auto& token : vocabulary.tokens)
            if (token == "q" || token == "<0x71>") token = token == "q" ? "Qq" : "<0x72>";
        const bool scored = !vocabulary.scores.empty();
        if (scored) vocabulary.types[3 + 'r'] = TokenType::unused;
        const Tokenizer tokenizer(std::move(vocabulary));
        check_throws<ArgumentError>([&] { (void)tokenizer.encode("a seq"); },
                                    {"small.gguf", "byte 113", "position 4"});
        CHECK(tokenizer.decode(tokenizer.encode("a seq.", dropping)) == "a se.");
    }
    Vocabulary blankless = small_sentencepiece();  // adds a blank that it cannot spell
    for (std::size_t id = 0; id < blankless.tokens.size(); ++id)
        if (blankless.tokens[id] == "<0x20>" || blankless.tokens[id].starts_with("\xe2\x96\x81"))
            blankless.types[id] = TokenType::unused;
    check_throws<ArgumentError>([&] { (void)Tokenizer(std::move(blankless)).encode("a"); },
                                {"byte 32 at position 0 "});
}

TEST_CASE("tokenizer: an id that is none is refused") {
    const Tokenizer tokenizer(small_byte_level());
    for (const Index id : {Index{-1}, Index{262}, Index{1} << 40}) {
        const std::vector<Index> ids{97, id};
        check_throws<ArgumentError>([&] { (void)tokenizer.decode(ids); },
                                    {std::to_string(id), "262", "small.gguf"});
        check_throws<ArgumentError>([&] { (void)tokenizer.piece(id); }, {std::to_string(id)});
    }
}

TEST_CASE("tokenizer: half a million of one byte are no work for hours") {
    const Tokenizer scored(small_sentencepiece());
    for (const char c : {'a', ' ', '\n', '!', '\''}) {
        const std::string text(1 << 19, c);
        CHECK(smollm2().decode(smollm2().encode(text)) == text);
        CHECK(scored.decode(scored.encode(text)) == text);
    }
}

TEST_CASE("tokenizer: GGUF and tokenizer.json say the same") {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / "m");
    std::filesystem::create_directory(folder / "g");
    write_file(folder / "m.gguf", tokenizer_gguf(small_byte_level()));
    write_file(folder / "g/tokenizer.gguf", tokenizer_gguf(small_byte_level()));
    write_file(folder / "m/tokenizer.json", tokenizer_json(small_byte_level()));
    const Tokenizer direct(small_byte_level());
    for (const char* path : {"m.gguf", "g", "m", "m/tokenizer.json", "m/model.safetensors"}) {
        const auto read = read_tokenizer(folder / path);
        CHECK(read.vocabulary().tokens == direct.vocabulary().tokens);
        CHECK(read.vocabulary().types == direct.vocabulary().types);
        CHECK(read.vocabulary().merges == direct.vocabulary().merges);
        CHECK(read.encode("the abs the\n") == direct.encode("the abs the\n"));
    }
    write_file(folder / "s.gguf", tokenizer_gguf(small_sentencepiece()));
    const auto scored = read_tokenizer(folder / "s.gguf");
    CHECK(scored.vocabulary().scores == small_sentencepiece().scores);
    CHECK(scored.vocabulary().add_bos);
    CHECK(scored.vocabulary().add_space_prefix);
    CHECK(scored.encode("there") == Tokenizer(small_sentencepiece()).encode("there"));
    check_throws<FileError>([&] { (void)read_tokenizer(folder / "none.gguf"); }, {"none.gguf"});
    check_throws<FileError>([&] { (void)read_tokenizer(folder.path()); }, {"tokenizer.json"});
}

TEST_CASE("tokenizer: a word that is a token stays whole where LLaMA 3's vocabulary is read") {
    const TemporaryFolder folder;
    Vocabulary vocabulary = small_byte_level();
    vocabulary.tokens[261] = "hat";  // no merge makes it
    vocabulary.types[261] = TokenType::normal;
    vocabulary.eos.reset();
    const auto read = [&](PreTokenizer kind) {
        vocabulary.pre_tokenizer = kind;
        write_file(folder / "m.gguf", tokenizer_gguf(vocabulary));
        return read_tokenizer(folder / "m.gguf");
    };
    const auto whole = read(PreTokenizer::llama_bpe);
    CHECK(whole.encode("hat") == std::vector<Index>{261});
    CHECK(whole.encode("hats").size() == 4);
    CHECK(whole.vocabulary().add_bos);  // as llama.cpp takes for granted there
    const auto merged = read(PreTokenizer::qwen2);
    CHECK(merged.encode("hat") == std::vector<Index>{'h', 'a', 't'});
    CHECK_FALSE(merged.vocabulary().add_bos);
}

TEST_CASE("tokenizer: every pre-tokeniser of tokenizer.json is recognised") {
    const std::string begin =
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N})";
    const std::string end = R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)";
    const auto behind = [](const std::string& first, const std::string& use_regex) {
        return R"({"type":"Sequence","pretokenizers":[)" + first +
               R"(,{"type":"ByteLevel","add_prefix_space":false,"use_regex":)" + use_regex + "}]}";
    };
    const auto split = [&](const std::string& pattern) {
        return behind(
            R"({"type":"Split","behavior":"Isolated","pattern":{"Regex":")" + pattern + R"("}})",
            "false");
    };
    const std::string bytes = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})";
    const std::string adds =
        R"("post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":)"
        R"("TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}]}]})";
    const auto kind_of = [&](const std::string& pre) {
        const auto json =
            replaced(tokenizer_json(small_byte_level()), R"("post_processor":null)", adds);
        const auto vocabulary = parse_tokenizer_json(replaced(json, bytes, pre), "t");
        CHECK(vocabulary.add_bos);
        CHECK(vocabulary.bos == 260);
        CHECK_FALSE(vocabulary.add_eos);
        return vocabulary.pre_tokenizer;
    };
    CHECK(kind_of(split(begin + "{1,3}" + end)) == PreTokenizer::llama_bpe);
    CHECK(kind_of(split(begin + end)) == PreTokenizer::qwen2);
    CHECK(kind_of(behind(R"({"type":"Digits","individual_digits":true})", "true")) ==
          PreTokenizer::smollm);
    CHECK(kind_of(bytes) == PreTokenizer::gpt2);
    const auto unnamed = replaced(tokenizer_json(small_byte_level()), R"("type":"BPE",)", "");
    CHECK(parse_tokenizer_json(unnamed, "t").merges == small_byte_level().merges);
}

TEST_CASE("tokenizer: text is normalised where the vocabulary asks for it") {
    const auto json = replaced(tokenizer_json(small_byte_level()), R"("normalizer":null)",
                               R"("normalizer":{"type":"NFC"})");
    const Tokenizer normal(parse_tokenizer_json(json, "t")), plain(small_byte_level());
    const std::string apart = "cafe\xcc\x81 <s>e\xcc\x81", together = "caf\xc3\xa9 <s>\xc3\xa9";
    for (const auto special : {SpecialTokens::as_text, SpecialTokens::parse}) {
        const EncodeOptions options{.special_tokens = special};
        CHECK(normal.encode(apart, options) == plain.encode(together, options));
        CHECK(normal.decode(normal.encode(apart, options)) == together);
    }
    CHECK(plain.decode(plain.encode(apart)) == apart);
    Vocabulary qwen2 = smollm2_vocabulary(PreTokenizer::qwen2);
    qwen2.normalization = Normalization::nfc;
    check_against_fixture(Tokenizer(std::move(qwen2)), "nfc", dropping,
                          [](const std::string& text) { return text; });
}

TEST_CASE("tokenizer: files that break a rule are refused") {
    const auto open = [](const std::filesystem::path& path, ReadMode) {
        (void)read_tokenizer(path);
    };
    check_refused(lying_vocabularies(), "m.gguf", open);
    check_refused(lying_tokenizer_metadata(), "m.gguf", open);
    check_refused(lying_tokenizer_json(), "tokenizer.json", open);
}

TEST_CASE("tokenizer: more tokens or merges than any model has are refused") {
    const TemporaryFolder folder;
    Vocabulary vocabulary = small_byte_level();
    constexpr std::size_t too_many = (1 << 20) + 1;
    vocabulary.merges.assign(too_many, {"t", "h"});
    write_file(folder / "m.gguf", tokenizer_gguf(vocabulary));
    check_throws<FormatError>([&] { (void)read_tokenizer(folder / "m.gguf"); },
                              {"m.gguf", "'tokenizer.ggml.merges'", "1048577", "limit of 1048576"});
    vocabulary.merges.resize(1);
    vocabulary.tokens.resize(too_many, "x");
    vocabulary.types.resize(too_many, TokenType::normal);
    check_throws<FormatError>([&] { (void)Tokenizer(std::move(vocabulary)); },
                              {"1048577 tokens", "limit of 1048576"});
    vocabulary = small_byte_level();
    vocabulary.merges.assign(too_many, {"t", "h"});
    write_file(folder / "tokenizer.json", tokenizer_json(vocabulary));
    check_throws<FormatError>([&] { (void)read_tokenizer(folder / "tokenizer.json"); },
                              {"'merges'", "1048577", "limit of 1048576"});
    write_file(folder / "tokenizer.json", std::string((32 << 20) + 1, ' '));
    check_throws<FormatError>([&] { (void)read_tokenizer(folder / "tokenizer.json"); },
                              {"tokenizer.json", "33554433", "33554432"});
}

// Tokens of SmolLM2's vocabulary against those of llama.cpp (fixtures/make_tokens.py), and the laws that
// every tokenizer keeps.

#include "mpo/model/tokenizer.hpp"

#include <fstream>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/tokenizer_texts.hpp"
#include "support/vocabularies.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

constexpr std::size_t num_texts = 10000;
constexpr EncodeOptions dropping{.unspellable = Unspellable::drop};

[[nodiscard]] std::uint64_t fnv(std::string_view data, std::uint64_t hash = 0xcbf29ce484222325u) {
    for (const char byte : data) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    return hash;
}

[[nodiscard]] std::uint32_t hash_of(const std::vector<Index>& ids) {
    Bytes bytes;
    for (const Index id : ids) bytes.number(static_cast<std::uint32_t>(id));
    return static_cast<std::uint32_t>(fnv(bytes.data()));
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

TEST_CASE("write the texts for the oracle of tokenizer_test", "[.write_texts]") {
    std::ofstream file("tokenizer_texts.bin", std::ios::binary);
    file << as_file(texts());
    REQUIRE(file.good());
}

TEST_CASE("tokenizer: the same tokens as llama.cpp for 10,000 texts") {
    const SafetensorsFile file(fixture("smollm2_tokens.safetensors"));
    REQUIRE(texts().size() == num_texts);
    REQUIRE(stored_numbers<std::uint64_t>(file, "texts").at(0) == fnv(as_file(texts())));
    const auto same = [](const std::string& text) { return text; };
    check_against_fixture(smollm2(), "smollm", dropping, same);
    EncodeOptions parsing = dropping;
    parsing.special_tokens = SpecialTokens::parse;
    check_against_fixture(smollm2(), "special", parsing, [](const std::string& text) {
        return "<|im_start|>" + text + "<|im_end|>\n";
    });
}

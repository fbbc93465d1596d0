#include "mpo/model/training_windows.hpp"

#include <string>
#include <vector>

#include "mpo/model/evaluate_texts.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/vocabularies.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

struct Library {
    Library() : tokenizer(small_byte_level()) {
        config.max_positions = 64;
        config.vocab_size = tokenizer.size();
        std::string text;
        for (int k = 0; k < 40; ++k) text += k % 3 == 0 ? "the " : "ab ";
        write_file(folder / "a", text);
        write_file(folder / "b", std::string("ab the ab the ab the"));
    }
    [[nodiscard]] TrainingWindows cut(const std::vector<CalibrationText>& texts,
                                      Index length) const {
        return training_windows(texts, tokenizer, config, length);
    }
    [[nodiscard]] std::vector<Index> tokens(const std::string& name) const {
        return read_evaluation_text(folder / name, tokenizer).tokens;
    }

    TemporaryFolder folder;
    Tokenizer tokenizer;
    TransformerConfig config;
};

}  // namespace

TEST_CASE("training windows: texts one behind the other, and what follows every token") {
    const Library library;
    for (const Index length : {2, 7, 8}) {
        INFO(length);
        const auto windows =
            library.cut({{library.folder / "a"}, {library.folder / "b", 0, 2.5}}, length);
        Index w = 0;
        for (const char* name : {"a", "b"}) {
            const auto text = library.tokens(name);
            const auto size = static_cast<Index>(text.size());
            for (Index begin = 0; begin + length <= size; begin += length, ++w)
                for (Index t = 0; t < length; ++t) {
                    const auto at = static_cast<std::size_t>(begin + t);
                    const auto k = static_cast<std::size_t>(t);
                    const bool last = at + 1 == text.size();
                    CHECK(windows.tokens_of(w)[k] == text[at]);
                    CHECK(windows.next_of(w)[k] == (last ? -1 : text[at + 1]));
                    CHECK(windows.weights_of(w)[k] == (last                       ? 0
                                                       : std::string(name) == "a" ? 1.0f
                                                                                  : 2.5f));
                }
        }
        CHECK(windows.count() == w);
        CHECK(windows.length == length);
    }
    CHECK(TrainingWindows{}.count() == 0);
}

TEST_CASE("training windows: a spread takes them from the whole text") {
    const Library library;
    const auto text = library.tokens("a");
    const auto windows = library.cut({{library.folder / "a", 0, 1, 2}}, 5);
    CHECK(windows.count() == 2);
    CHECK(windows.tokens_of(0)[0] == text[0]);
    CHECK(windows.tokens_of(1)[4] == text.back());
    CHECK(windows.next_of(1)[4] == -1);
    CHECK(windows.weights_of(1)[4] == 0);
    CHECK(windows.next_of(0)[4] == text[5]);
}

TEST_CASE("training windows: their fingerprint is that of length and tokens") {
    const Library library;
    const auto whole = library.cut({{library.folder / "a"}}, 10);
    auto other = whole;
    CHECK(detail::fingerprint(other) == detail::fingerprint(whole));
    other.length = 5;
    CHECK(detail::fingerprint(other) != detail::fingerprint(whole));
    other = whole;
    other.tokens.back() ^= 1;
    CHECK(detail::fingerprint(other) != detail::fingerprint(whole));
}

TEST_CASE("training windows: texts, weights and lengths outside their domain are refused") {
    const Library library;
    const auto refused = [&](const std::vector<CalibrationText>& texts, Index length,
                             const std::vector<std::string>& pieces) {
        check_throws<ArgumentError>([&] { (void)library.cut(texts, length); }, pieces);
    };
    const auto b = library.folder / "b";
    const auto size = static_cast<Index>(library.tokens("b").size());
    refused({}, 8, {"no text"});
    refused({{b}}, 1, {"2 to 64", "got 1"});
    refused({{b}}, 65, {"2 to 64", "got 65"});
    refused({{b, 0, 0}}, 8, {b.string(), "above 0, got 0"});
    refused({{b}}, 60, {b.string(), std::to_string(size) + " tokens", "window of 60"});
    refused({{b, 0, 1, 9}}, 8, {b.string(), "9 windows of 8"});
    auto small = library.config;
    small.vocab_size = 100;
    check_throws<ArgumentError>([&] { (void)training_windows({{b}}, library.tokenizer, small, 8); },
                                {"knows 100"});
}

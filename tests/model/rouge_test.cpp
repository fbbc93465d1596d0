// ROUGE against rouge-score, stems against NLTK (fixtures/make_rouge.py), and laws of both.

#include "mpo/model/rouge.hpp"

#include <cmath>

#include "mpo/core/random.hpp"
#include "mpo/model/bootstrap.hpp"
#include "mpo/model/porter_stemmer.hpp"
#include "support/catch.hpp"
#include "support/oracle.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

constexpr int num_pairs = 500, num_words = 4000;

/// Words and texts that are the same in every run.
class SummaryTexts {
  public:
    [[nodiscard]] std::string word() {
        static constexpr std::string_view stems[] = {
            "relat", "condit", "hop",  "happ", "agree", "plaster", "tr",     "siz", "fall", "enjoy",
            "sky",   "d",      "real", "log",  "gener", "commun",  "oscill", "y",   "be",   "x9",
            "yell",  "syzyg",  "a",    "fail", "fizz",  "control", "electr", "toy", "sens", "u"};
        static constexpr std::string_view ends[] = {
            "",       "s",    "es",    "ies",     "sses",    "ied",    "ed",    "eed",
            "ing",    "y",    "al",    "ally",    "ational", "tional", "enci",  "ancy",
            "izer",   "bli",  "ably",  "alli",    "ently",   "ely",    "ously", "ization",
            "ation",  "ator", "alism", "iveness", "fulness", "fully",  "ality", "ivity",
            "bility", "logy", "icate", "ative",   "alize",   "icity",  "ical",  "ness",
            "ance",   "er",   "ic",    "ible",    "ement",   "ment",   "ion",   "ou",
            "ism",    "ate",  "ive",   "ize",     "ll",      "e",      "ying",  "yed"};
        std::string word(stems[pick(std::size(stems))]);
        for (Index k = random_.below(3); k >= 0; --k) word += ends[pick(std::size(ends))];
        return word;
    }

    /// A target, and what is left of it after words were dropped, doubled, changed and moved.
    [[nodiscard]] std::pair<std::string, std::string> pair() {
        std::vector<std::string> words;
        for (Index k = random_.below(40); k > 0; --k)
            words.push_back(random_.below(4) > 0 ? common() : word());
        auto edited = words;
        for (Index k = random_.below(12); k > 0 && !edited.empty(); --k) {
            const std::size_t at = pick(edited.size());
            const Index what = random_.below(4);
            if (what == 0) edited.erase(edited.begin() + static_cast<Index>(at));
            if (what == 1) edited.insert(edited.begin() + static_cast<Index>(at), common());
            if (what == 2) edited[at] = word();
            if (what == 3) std::swap(edited[at], edited[pick(edited.size())]);
        }
        return {text_of(words), text_of(edited)};
    }

  private:
    [[nodiscard]] std::size_t pick(std::size_t count) {
        return static_cast<std::size_t>(random_.below(static_cast<Index>(count)));
    }
    [[nodiscard]] std::string common() {
        static constexpr std::string_view words[] = {"the",
                                                     "The",
                                                     "a",
                                                     "cat",
                                                     "CATS",
                                                     "sat",
                                                     "mats",
                                                     "2024",
                                                     "U.S.",
                                                     "caf\xc3\xa9",
                                                     "273\xe2\x84\xaa",
                                                     "\xc4\xb0stanbul",
                                                     "it's",
                                                     "state-of-the-art",
                                                     "news",
                                                     "dying"};
        return std::string(words[pick(std::size(words))]);
    }
    [[nodiscard]] std::string text_of(const std::vector<std::string>& words) {
        static constexpr std::string_view between[] = {" ",  " ",   " ",    " ",
                                                       ", ", ".\n", "\n\n", "  \t"};
        std::string text;
        for (const auto& word : words) text.append(word).append(between[pick(std::size(between))]);
        return text;
    }

    Random random_{11};
};

struct RougeTexts {
    std::vector<std::string> words;
    std::vector<std::pair<std::string, std::string>> pairs;
    std::string file;  // words and texts, each behind its size
};

[[nodiscard]] const RougeTexts& rouge_texts() {
    static const auto result = [] {
        RougeTexts texts;
        SummaryTexts stream;
        Bytes bytes;
        const auto add = [&](const std::string& text) {
            bytes.number(static_cast<std::uint32_t>(text.size())).text(text);
        };
        for (int k = 0; k < num_words; ++k) add(texts.words.emplace_back(stream.word()));
        for (int k = 0; k < num_pairs; ++k) {
            const auto& [target, prediction] = texts.pairs.emplace_back(stream.pair());
            add(target);
            add(prediction);
        }
        texts.file = bytes.data();
        return texts;
    }();
    return result;
}

[[nodiscard]] std::vector<double> numbers_of(const RougeScores& scores) {
    std::vector<double> numbers;
    for (const auto& score : {scores.rouge_1, scores.rouge_2, scores.rouge_l, scores.rouge_lsum})
        numbers.insert(numbers.end(), {score.precision, score.recall, score.f1});
    return numbers;
}

}  // namespace

TEST_CASE("rouge: stems as NLTK's") {
    write_for_oracle("rouge_texts.bin", rouge_texts().file);
    const SafetensorsFile file(fixture("rouge.safetensors"));
    REQUIRE(stored_numbers<std::uint64_t>(file, "texts").at(0) == fnv1a(rouge_texts().file));
    const auto expected = stored_numbers<std::uint32_t>(file, "stems");
    REQUIRE(expected.size() == num_words);
    for (std::size_t k = 0; k < expected.size(); ++k) {
        const auto stem = porter_stem(rouge_texts().words[k]);
        INFO(rouge_texts().words[k] << " -> " << stem);
        CHECK(static_cast<std::uint32_t>(fnv1a(stem)) == expected[k]);
    }
    for (const char* word : {"", "a", "is", "as"}) CHECK(porter_stem(word) == word);
    CHECK(porter_stem("used") == "use");  // a vowel and a consonant alone
    CHECK(porter_stem("aged") == "age");
}

TEST_CASE("rouge: 500 pairs as rouge-score") {
    const SafetensorsFile file(fixture("rouge.safetensors"));
    REQUIRE(stored_numbers<std::uint64_t>(file, "texts").at(0) == fnv1a(rouge_texts().file));
    for (const auto stemming : {Stemming::none, Stemming::porter}) {
        const auto expected =
            stored_numbers<double>(file, stemming == Stemming::none ? "plain" : "stemmed");
        REQUIRE(expected.size() == 12 * num_pairs);
        std::size_t at = 0;
        for (const auto& [target, prediction] : rouge_texts().pairs)
            for (const double x : numbers_of(rouge(target, prediction, stemming))) {
                INFO("number " << at << ": " << x << " and " << expected[at]);
                CHECK(std::abs(x - expected[at]) <= 1e-9);
                ++at;
            }
    }
}

TEST_CASE("rouge: of a text with itself, with nothing, and exchanged") {
    const auto same = rouge("The cat\nsat on the mat.", "the CAT sat\non the mat");
    for (const double x : {same.rouge_1.f1, same.rouge_2.f1, same.rouge_l.f1}) CHECK(x == 1);
    for (const char* empty : {"", "...", "\n\n", "\xff\xe9"})
        for (const double x : numbers_of(rouge("a b", empty))) CHECK(x == 0);
    CHECK(rouge("273\xe2\x84\xaa", "273k").rouge_1.f1 == 1);  // the Kelvin sign
    CHECK(rouge("\xc4\xb0stanbul", "i stanbul").rouge_1.f1 == 1);
    for (std::size_t k = 0; k < 50; ++k) {
        const auto& [target, prediction] = rouge_texts().pairs[k];
        const auto there = rouge(target, prediction), back = rouge(prediction, target);
        CHECK(there.rouge_1.precision == back.rouge_1.recall);
        CHECK(there.rouge_2.recall == back.rouge_2.precision);
        CHECK(there.rouge_l.f1 == Approx(back.rouge_l.f1));
    }
    const std::string lines(40000, '\n');
    CHECK(rouge(lines, lines).rouge_lsum.f1 == 0);
    std::string many;
    for (int k = 0; k < 17000; ++k) many += "a ";
    check_throws<ArgumentError>([&] { (void)rouge(many, many); }, {"17000", "268435456"});
}

TEST_CASE("bootstrap: an interval of the mean that holds what it says") {
    const std::vector<double> constant(7, 2.5);
    CHECK(bootstrap_mean(constant).low == Approx(2.5));
    CHECK(bootstrap_mean(constant).high == Approx(2.5));
    CHECK(bootstrap_mean(constant).standard_error == 0);
    CHECK(bootstrap_mean(std::vector<double>{3}).mean == 3);
    Random random(5);
    int inside = 0;
    constexpr int trials = 300;
    for (int trial = 0; trial < trials; ++trial) {
        std::vector<double> sample(60);
        for (double& x : sample) x = 4 + random.normal();
        const auto interval = bootstrap_mean(sample, {.resamples = 200, .confidence = 0.9});
        inside += interval.low <= 4 && 4 <= interval.high;
        CHECK((interval.high - interval.low) / 2 ==
              Approx(1.645 * interval.standard_error).epsilon(0.35));
    }
    CHECK(std::abs(inside - 0.9 * trials) < 4 * std::sqrt(0.9 * 0.1 * trials) + 0.03 * trials);
    check_throws<ArgumentError>([] { (void)bootstrap_mean(std::vector<double>{}); }, {"empty"});
    check_throws<ArgumentError>([&] { (void)bootstrap_mean(constant, {.resamples = 0}); }, {"0"});
    check_throws<ArgumentError>([&] { (void)bootstrap_mean(constant, {.confidence = 1}); }, {"1"});
    CHECK(detail::sorted_quantile(std::vector<double>{1, 2, 4}, 0.75) == 3);
}

// Answers by the harness's rules, against Python's re (fixtures/make_answers.py) and by hand.

#include "mpo/model/answers.hpp"

#include "mpo/core/error.hpp"
#include "mpo/model/unicode_lower.hpp"
#include "mpo/model/utf8.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// The fields of a line, newlines as newlines.
[[nodiscard]] std::vector<std::string> fields_of(std::string_view line) {
    constexpr std::string_view newline = "\xe2\x90\x8a";
    std::vector<std::string> fields(1);
    while (!line.empty()) {
        const bool end_of_line = line.starts_with(newline);
        if (line[0] == '\t')
            fields.emplace_back();
        else
            fields.back() += end_of_line ? '\n' : line[0];
        line.remove_prefix(end_of_line ? newline.size() : 1);
    }
    return fields;
}

[[nodiscard]] bool matches(const std::string& generated, const std::string& reference,
                           AnswerRule rule) {
    return is_exact_match(generated, std::vector<std::string>{reference}, rule);
}

}  // namespace

TEST_CASE("answers: numbers and normal forms as Python finds them") {
    std::ifstream file(fixture("answers.txt"), std::ios::binary);
    int lines = 0;
    for (std::string line; std::getline(file, line); ++lines) {
        const auto fields = fields_of(line);
        REQUIRE(fields.size() == 5);
        const auto& text = fields[0];
        INFO(text);
        CHECK(extract_answer(text, AnswerRule::strict_number) == fields[1]);
        CHECK(extract_answer(text, AnswerRule::last_number) == fields[2]);
        CHECK(detail::normalized_number(text) == fields[3]);
        CHECK(normalized_answer(text) == fields[4]);
    }
    CHECK(lines == 400);
}

TEST_CASE("answers: right and wrong ones") {
    constexpr auto text = AnswerRule::free_text;
    CHECK(matches(" The Beatles", "the beatles!", text));
    CHECK(matches(" O'Brien", "OBRIEN", text));
    CHECK(matches(" \xc3\x89MILE", "\xc3\xa9mile", text));
    CHECK_FALSE(matches("  The Beatles", "the beatles", text));  // one blank goes, not two
    CHECK_FALSE(matches(" Beatles", "the beatles", text));
    CHECK(is_exact_match("b", std::vector<std::string>{"a", "B"}, text));
    const std::string reference = "He has 2 * 36 = 72.\n#### 1,072";
    CHECK(matches("so it is $1072.", reference, AnswerRule::last_number));
    CHECK(matches("#### 1,072 and 5", reference, AnswerRule::strict_number));
    CHECK_FALSE(matches("#### 1,072 and 5", reference, AnswerRule::last_number));
    CHECK_FALSE(matches("none", reference, AnswerRule::last_number));
    check_throws<ArgumentError>([&] { (void)is_exact_match("a", {}, text); }, {"no reference"});
}

TEST_CASE("answers: a text ends before its first stop string") {
    const std::vector<std::string> stops{"\n", "Question:", ""};
    CHECK(before_stop(" Paris\nQuestion: x", stops) == " Paris");
    CHECK(before_stop(" a Question: x\n", stops) == " a ");
    CHECK(before_stop("none", stops) == "none");
    CHECK(before_stop("\n", stops).empty());
    CHECK(before_stop("", stops).empty());
}

TEST_CASE("answers: lower case keeps bytes that are no UTF-8") {
    CHECK(detail::lowered("A\xff\xc3Z\xc3\x84") == "a\xff\xc3z\xc3\xa4");
    for (std::uint32_t code = 0; code < 0x110000; ++code) {
        if (code >= 0xd800 && code < 0xe000) continue;
        std::string text;
        detail::append_utf8(text, code);
        const auto read = detail::character_at(text, 0);
        if (read.code != code || read.size != text.size()) FAIL("code point " << code);
        const auto lower = detail::lower_case(code);
        if (detail::lower_case(lower) != lower) FAIL("lower case of " << code << " has one itself");
    }
}

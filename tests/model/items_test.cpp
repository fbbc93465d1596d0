// Items of every layout, files with a bad line, and choices made from a text.

#include "mpo/model/items.hpp"

#include <set>

#include "mpo/model/make_choices.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/vocabularies.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A file of lines, gone with the object.
struct ItemFile {
    explicit ItemFile(const std::string& text) { write_file(path, text); }
    TemporaryFolder folder;
    std::filesystem::path path = folder / "items.jsonl";
};

[[nodiscard]] ChoiceItem only_choice(const std::string& line, ChoiceLayout layout) {
    const ItemFile file(line);
    const auto items = read_choice_items(file.path, layout);
    REQUIRE(items.size() == 1);
    return items[0];
}

using Texts = std::vector<std::string>;

constexpr const char* mmlu =
    R"({"question":" What is 2+2? ","subject":"x","choices":["3","4","5","6"],"answer":1})";
constexpr const char* trivia =
    R"({"question":"Who wrote Emma","answer":{"value":"Austen","aliases":["Jane Austen","Austen"]}})";

/// A text of many different words and sentences.
[[nodiscard]] std::string long_text() {
    std::string text = "Once";
    for (int k = 0; k < 900; ++k) {
        text += k % 11 == 7 ? ".\nThen" : " the";
        text += " w" + std::string(1, static_cast<char>('a' + k % 23)) + "x" +
                std::string(static_cast<std::size_t>(k % 5), 'e') + (k % 7 == 0 ? " 12" : "");
    }
    return text;
}

}  // namespace

TEST_CASE("items: multiple choice of the public layouts") {
    const auto question = only_choice(mmlu, ChoiceLayout::mmlu);
    CHECK(question.context == "What is 2+2?\nA. 3\nB. 4\nC. 5\nD. 6\nAnswer:");
    CHECK(question.continuations == Texts{" A", " B", " C", " D"});
    CHECK(question.choices == Texts{"A", "B", "C", "D"});
    CHECK(question.answer == 1);
    const auto ending = only_choice(
        R"({"activity_label":"Cooking","ctx_a":"A man [substeps] cooks.","ctx_b":"he [title] STIRS",)"
        R"("endings":["[header] the pot  now.","b","c","d"],"label":"3","ind":4})",
        ChoiceLayout::hellaswag);
    CHECK(ending.context == "Cooking: A man cooks. He. stirs");
    CHECK(ending.choices == Texts{" the pot now.", "b", "c", "d"});
    CHECK(ending.continuations[0] == "  the pot now.");
    CHECK(ending.answer == 3);
    const auto boolq = R"({"question":"is it so","passage":"It is.","title":"t","answer":true})";
    const auto yes = only_choice(boolq, ChoiceLayout::boolq);
    CHECK(yes.context == "It is.\nQuestion: is it so?\nAnswer:");
    CHECK(yes.continuations == Texts{" no", " yes"});
    CHECK(yes.answer == 1);
    CHECK(only_choice(R"({"question":"q","passage":"p","idx":0,"label":0})", ChoiceLayout::boolq)
              .answer == 0);
    const auto plain = only_choice(R"({"context":"a","choices":[" b"," c"],"answer":"1"})",
                                   ChoiceLayout::continuation);
    CHECK(plain.continuations == plain.choices);
    CHECK(plain.answer == 1);
    CHECK(only_choice(R"({"question":"q","choices":["x","y"],"answer":"B"})", ChoiceLayout::mmlu)
              .answer == 1);
}

TEST_CASE("items: questions and summaries") {
    const ItemFile questions(std::string(trivia) + "\r\n \t\n" + trivia);
    const auto items = read_question_items(questions.path, QuestionLayout::trivia_qa);
    REQUIRE(items.size() == 2);
    CHECK(items[1].prompt == "Question: Who wrote Emma?\nAnswer:");
    CHECK(items[1].references == Texts{"Jane Austen", "Austen"});
    const auto answer = before_stop(" austen. She", items[1].stops);
    CHECK(is_exact_match(answer, items[1].references, items[1].rule));
    const ItemFile sums(R"({"question":"2+2=?","answer":"It is 4.\n#### 4"})");
    const auto sum = read_question_items(sums.path, QuestionLayout::gsm8k).at(0);
    CHECK(sum.prompt == "Question: 2+2=?\nAnswer:");
    CHECK(is_exact_match(before_stop(" so 4.\nQuestion: 5", sum.stops), sum.references, sum.rule));
    const ItemFile articles(R"({"document":"Long text.","summary":"Text.","id":"1"})");
    const auto article = read_summary_items(articles.path).at(0);
    CHECK(article.prompt == "Long text.\n\nTL;DR:");
    CHECK(article.target == "Text.");
}

TEST_CASE("items: a bad line is refused by its number") {
    struct Bad {
        ChoiceLayout layout;
        const char *line, *message;
    };
    constexpr auto first = ChoiceLayout::mmlu;
    const Bad lines[] = {
        {first, "{", "breaks off"},
        {first, "[1]", "must be a JSON object"},
        {first, R"({"choices":["a"],"answer":0})", "has no 'question'"},
        {first, R"({"question":5,"choices":["a"],"answer":0})", "'question' must be text, got 5"},
        {first, R"({"question":"q","choices":[],"answer":0})", "'choices' must be a list"},
        {first, R"({"question":"q","choices":["a",""],"answer":0})", "'choices' has an empty text"},
        {first, R"({"question":"q","choices":["a","b"],"answer":2})",
         "one of the 2 choices, got 2"},
        {first, R"({"question":"q","choices":["a","b"],"answer":-1})", "got -1"},
        {first, R"({"question":"q","choices":["a","b"],"answer":"C"})", "got \"C\""},
        {first, R"({"question":"q","choices":["a","b"],"answer":null})", "has no 'answer'"},
        {ChoiceLayout::boolq, R"({"question":"q","passage":"p","answer":"yes"})",
         "must be a boolean"},
        {ChoiceLayout::boolq, R"({"question":"q","passage":"p"})", "has no 'label'"},
        {ChoiceLayout::hellaswag,
         R"({"activity_label":"a","ctx_a":"b","ctx_b":"c","endings":["[x]","d"],"label":0})",
         "nothing but brackets"},
        {ChoiceLayout::hellaswag, R"({"activity_label":"a","ctx_a":"b"})", "has no 'ctx_b'"},
        {ChoiceLayout::continuation, R"({"choices":["d"],"answer":0})", "has no 'context'"}};
    for (const auto& [layout, line, message] : lines) {
        const ItemFile file("\n" + std::string(line) + "\n" + mmlu + "\n");
        INFO(line);
        check_throws<FormatError>([&, kind = layout] { (void)read_choice_items(file.path, kind); },
                                  {file.path.string() + " line 2: ", message});
    }
    const ItemFile later(std::string(mmlu) + "\n\n" + mmlu + "\n{}");
    check_throws<FormatError>([&] { (void)read_choice_items(later.path, first); },
                              {" line 4: has no 'question'"});
    const ItemFile empty("\n \n");
    check_throws<FormatError>([&] { (void)read_choice_items(empty.path, first); }, {"no items"});
    check_throws<FileError>([&] { (void)read_choice_items(empty.folder / "x", first); }, {"x"});
    const ItemFile number(R"({"question":"q","answer":"four"})");
    check_throws<FormatError>(
        [&] { (void)read_question_items(number.path, QuestionLayout::gsm8k); }, {"line 1", "####"});
    const ItemFile alias(R"({"question":"q","answer":{"value":"x"}})");
    check_throws<FormatError>(
        [&] { (void)read_question_items(alias.path, QuestionLayout::trivia_qa); }, {"'aliases'"});
    const ItemFile summary(R"({"document":"d","summary":""})");
    check_throws<FormatError>([&] { (void)read_summary_items(summary.path); }, {"'summary'"});
}

TEST_CASE("make_choices: true continuations among passages of the same text") {
    const auto text = long_text();
    for (auto vocabulary : {small_byte_level(), small_sentencepiece()}) {
        const Tokenizer tokenizer(std::move(vocabulary));
        const MakeChoicesOptions options{.context_tokens = 40, .continuation_tokens = 15};
        const auto items = make_choices(tokenizer, text, options);
        REQUIRE(items.size() > 20);
        std::set<Index> places;
        std::size_t at = 0;
        for (const auto& item : items) {
            REQUIRE(item.choices.size() == 4);
            const auto& right = item.choices[static_cast<std::size_t>(item.answer)];
            at = text.find(item.context + right, at);  // passages follow one another
            REQUIRE(at != std::string::npos);
            at += item.context.size() + right.size();
            CHECK(std::set(item.choices.begin(), item.choices.end()).size() == 4);
            CHECK(item.continuations == item.choices);
            places.insert(item.answer);
            for (const auto& choice : item.choices) {
                CHECK(text.find(choice) != std::string::npos);
                CHECK(choice.starts_with(' '));
            }
            const auto tokens = static_cast<Index>(tokenizer.encode(right).size());
            CHECK(tokens >= options.continuation_tokens);
        }
        CHECK(places.size() == 4);
        const auto again = make_choices(tokenizer, text, options);
        CHECK(to_jsonl(again) == to_jsonl(items));
        auto other = options;
        other.seed = 2;
        CHECK(to_jsonl(make_choices(tokenizer, text, other)) != to_jsonl(items));
        other.num_items = 5;
        CHECK(make_choices(tokenizer, text, other).size() == 5);
        const ItemFile file(to_jsonl(items));
        const auto read = read_choice_items(file.path, ChoiceLayout::continuation);
        CHECK(to_jsonl(read) == to_jsonl(items));
    }
}

TEST_CASE("make_choices: a text that does not do is refused") {
    const Tokenizer tokenizer(small_byte_level());
    check_throws<ArgumentError>([&] { (void)make_choices(tokenizer, ""); },
                                {"0 tokens", "0 passages"});
    check_throws<ArgumentError>([&] { (void)make_choices(tokenizer, "a b c d e"); }, {"64 + 24"});
    std::string same;
    for (int k = 0; k < 400; ++k) same += " the";
    const MakeChoicesOptions options{.context_tokens = 3, .continuation_tokens = 3};
    check_throws<ArgumentError>([&] { (void)make_choices(tokenizer, same, options); }, {"repeats"});
    check_throws<ArgumentError>([&] { (void)make_choices(tokenizer, same, {.context_tokens = 0}); },
                                {"got 0, 24"});
}

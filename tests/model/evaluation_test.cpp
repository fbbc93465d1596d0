#include "mpo/model/evaluation.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mpo/model/evaluate.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"
#include "support/tokenizer_lies.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A decoder of the small vocabulary's 262 tokens, with its tokenizer, and texts beside it.
struct EvaluationDesk {
    EvaluationDesk() { write("model", small_byte_level()); }

    void write(const std::string& name, const Vocabulary& vocabulary,
               const ChangeTensor& change = {}) const {
        auto decoder = tiny_decoder("plain");
        const auto size = static_cast<Index>(vocabulary.tokens.size());
        decoder.config["vocab_size"] = size;
        for (auto& [tensor, shape] : decoder.shapes)
            if (tensor == "model.embed_tokens.weight" || tensor == "lm_head.weight")
                shape[0] = size;
        write_decoder(folder / name, decoder, change);
        write_file(folder / name / "tokenizer.json", tokenizer_json(vocabulary));
    }
    [[nodiscard]] std::filesystem::path file(const std::string& name,
                                             const std::string& text) const {
        write_file(folder / name, text);
        return folder / name;
    }
    [[nodiscard]] Transformer open(const std::string& name) const {
        TransformerOptions options;
        options.read_mode = ReadMode::buffered;
        return Transformer(folder / name, options, cpu);
    }
    TemporaryFolder folder;
    Tokenizer tokenizer{small_byte_level()};
};

constexpr double scores_agree = 2e-4;

/// Another model: its MLPs say half of what they did.
[[nodiscard]] Tensor<float> halved(const std::string& name, Tensor<float> tensor) {
    if (name.find("down_proj") != std::string::npos)
        for (Index k = 0; k < tensor.size(); ++k) tensor.data()[k] /= 2;
    return tensor;
}

[[nodiscard]] ChoiceItem item(const std::string& context, std::vector<std::string> choices,
                              Index answer) {
    return {context, choices, choices, answer};
}

}  // namespace

TEST_CASE("evaluate_choices: scores are those of whole texts, choice by choice") {
    const EvaluationDesk desk;
    const auto model = desk.open("model");
    const std::vector<ChoiceItem> items{item("the ab", {" the", " ab ab", "c"}, 1),
                                        item("", {"the", "ab the ab"}, 0),
                                        item("ab  \n", {"the", " x"}, 0)};
    std::vector<std::vector<Index>> contexts{
        desk.tokenizer.encode("the ab"), {260}, desk.tokenizer.encode("ab")};
    const std::vector<std::string> before{"", "", "  \n"};  // blanks go over to the continuation
    std::vector<ChoiceOutcome> expected;
    for (std::size_t k = 0; k < items.size(); ++k) {
        std::vector<double> scores;
        const auto skipped = k == 1 ? 0 : contexts[k].size();
        for (const auto& choice : items[k].continuations) {
            const auto whole = desk.tokenizer.encode((k == 0   ? "the ab"
                                                      : k == 2 ? "ab"
                                                               : "") +
                                                     before[k] + choice);
            scores.push_back(
                score_continuation(model, contexts[k], std::span(whole).subspan(skipped))
                    .log_probability);
        }
        expected.push_back(choose(items[k], scores));
        const auto tokens = detail::choice_tokens(desk.tokenizer, items[k]);
        detail::LogitRows rows(model);
        const auto found = detail::score_choices(model, tokens, rows);
        REQUIRE(found.size() == scores.size());
        for (std::size_t j = 0; j < found.size(); ++j)
            CHECK(std::abs(found[j] - scores[j]) < scores_agree);
    }
    std::vector<Index> heard;
    const auto results = evaluate_choices(model, desk.tokenizer, items, [&](Index done, Index n) {
        CHECK(n == 3);
        heard.push_back(done);
        return ProgressReply::go_on;
    });
    CHECK(heard == std::vector<Index>{1, 2, 3});
    CHECK(results.num_cut == 0);
    for (std::size_t k = 0; k < items.size(); ++k) {
        CHECK(results.outcomes[k].chosen == expected[k].chosen);
        CHECK(results.outcomes[k].chosen_per_character == expected[k].chosen_per_character);
    }
    CHECK(results.summary.acc.value == summarize(expected).acc.value);
    CHECK_THROWS_AS(evaluate_choices(model, desk.tokenizer, items,
                                     [](Index, Index) { return ProgressReply::cancel; }),
                    Cancelled);
    CHECK(mcnemar(results, results, &ChoiceOutcome::right).exact_p == 1);
}

TEST_CASE("evaluate_choices: what does not fit loses its beginning, or is refused by its number") {
    const EvaluationDesk desk;
    const auto model = desk.open("model");
    const Index most = model.config().max_positions;
    const auto length = static_cast<std::size_t>(most);
    auto tokens =
        detail::choice_tokens(desk.tokenizer, item("a" + std::string(length, 'x'), {"yz", "w"}, 0));
    detail::fit_context(tokens, most);
    CHECK(tokens.cut);
    CHECK(tokens.context == std::vector<Index>(length - 1, 'x'));  // and the last is predicted
    CHECK(std::isfinite([&] {
        detail::LogitRows rows(model);
        return detail::score_choices(model, tokens, rows)[0];
    }()));
    const std::vector<ChoiceItem> items{item("a", {" b"}, 0),
                                        item("a", {std::string(length + 1, 'x')}, 0)};
    check_throws<Error>([&] { (void)evaluate_choices(model, desk.tokenizer, items); },
                        pieces_of("item 2 of 2|context of the model"));
    check_throws<Error>(
        [&] { (void)evaluate_choices(model, desk.tokenizer, std::vector{item("a", {"b"}, 0)}); },
        pieces_of("the choice 'b' has no token behind the context"));  // "ab" is one
    check_throws<Error>([&] { (void)evaluate_choices(model, desk.tokenizer, {}); },
                        pieces_of("no items"));
}

TEST_CASE("generate_text: ends before a stop string, and is what generate says otherwise") {
    const EvaluationDesk desk;
    const auto model = desk.open("model");
    const auto prompt = desk.tokenizer.encode("the ab");
    const auto free = generate(model, prompt, {.max_tokens = 12});
    std::string whole;
    for (const Index id : free.tokens)
        if (id < 260) whole += desk.tokenizer.piece(id);
    GenerateOptions options{.max_tokens = 12};
    CHECK(generate_text(model, desk.tokenizer, prompt, options) == whole);
    REQUIRE(whole.size() > 4);
    const std::vector<std::string> stops{"", whole.substr(2, 2)};
    CHECK(generate_text(model, desk.tokenizer, prompt, options, stops) ==
          whole.substr(0, whole.find(stops[1])));
    const std::vector<QuestionItem> items{{"the ab", {whole}, {}, AnswerRule::free_text},
                                          {"the ab", {whole + "!x"}, {}, AnswerRule::free_text}};
    const auto answers = evaluate_answers(model, desk.tokenizer, items, {12, {}});
    CHECK(answers.right == std::vector<bool>{true, false});
    CHECK(answers.exact_match.value == 0.5);
    CHECK(answers.texts[0] == whole);
    check_throws<Error>(
        [&] {
            (void)evaluate_answers(model, desk.tokenizer, items, {1 << 20, {}});
        },
        pieces_of("1048576|context"));
}

TEST_CASE("evaluate: one report is what its parts say") {
    const EvaluationDesk desk;
    desk.write("small", small_byte_level(), halved);
    EvaluationRequest request{desk.folder / "small", desk.folder / "model"};
    request.texts = {desk.file("text", "the ab and the other, then the ab")};
    request.choices = {desk.file("c", R"({"context":"the","choices":[" ab"," the"],"answer":0})")};
    request.summaries = {desk.file("s", R"({"document":"ab the","summary":"the ab"})")};
    request.window = request.stride = 8;
    request.max_answer_tokens = 3;
    const auto report = evaluate(request, cpu);
    const auto text = read_evaluation_text(request.texts[0], desk.tokenizer);
    EvaluateOptions options{8, 8, text.bytes, {}};
    const auto expected = compare(desk.open("small"), desk.open("model"), text.tokens, options);
    CHECK(text.bytes == 33);
    CHECK(std::abs(report.texts[0].result.kld.mean - expected.kld.mean) < scores_agree);
    CHECK(report.texts[0].result.reference.nll.mean == expected.reference.nll.mean);
    CHECK(report.choices[0].reference.has_value());
    const auto json = nlohmann::json::parse(to_json(report));
    CHECK(json["texts"][0]["reference"]["bits_per_byte"] > 0);
    CHECK(json["summaries"][0]["stemmed"]["rougeL"]["f1"] ==
          report.summaries[0].model.stemmed.rouge_l.mean);
    CHECK(json["choices"][0]["mcnemar_acc"]["exact_p"] == 1);
}

TEST_CASE("evaluation: bad input is refused before anything is computed") {
    const EvaluationDesk desk;
    const auto text = desk.file("text", "the ab and the other");
    EvaluationRequest request{desk.folder / "model"};
    request.window = request.stride = 8;
    request.progress = [](std::string_view, Index, Index) -> ProgressReply {
        FAIL("something was computed");
        return ProgressReply::cancel;
    };
    const auto refuses = [&](const char* pieces) {
        check_throws<Error>([&] { (void)evaluate(request, cpu); }, pieces_of(pieces));
    };
    refuses("nothing to evaluate on");
    request.texts = {text, desk.file("empty", "")};
    refuses("empty: the text is empty");
    request.texts = {text, desk.file("one", "a")};
    refuses("one: a text must have at least 2 tokens|got 1");
    request.texts = {text};
    request.window = 1 << 20;
    refuses("1048576|context of the model");
    request.window = 8;
    request.choices = {
        desk.file("bad", "{\"context\":\"a\",\"choices\":[\"b\"],\"answer\":0}\n{\"context\":1}")};
    refuses("bad line 2|choices");
    request.choices = {desk.file("odd", "{\"prompt\":\"a\"}")};
    refuses("odd line 1|no known layout");
    request.choices.clear();
    request.max_tokens = -1;
    refuses("max_tokens|-1");
    request.max_tokens = 0;

    auto other = small_byte_level();
    std::swap(other.tokens[3], other.tokens[7]);
    desk.write("swapped", other);
    request.reference = desk.folder / "swapped";
    refuses("vocabularies|swapped|token 3");
    other = small_byte_level();
    other.tokens.emplace_back("<more>");
    other.types.push_back(TokenType::control);
    desk.write("more", other);
    request.reference = desk.folder / "more";
    refuses("vocabularies|262|263 tokens");
    std::filesystem::remove(desk.folder / "more" / "tokenizer.json");  // then the sizes are known
    refuses("vocabularies|262|263 tokens");
    request.reference.clear();
    request.tokenizer = desk.file("more.gguf", tokenizer_gguf(other).data());
    refuses("more.gguf|263 tokens|262");
}

TEST_CASE("compare_forms: every form beside the source; the same path is the same model") {
    const EvaluationDesk desk;
    desk.write("half", small_byte_level(), halved);
    const auto text =
        read_evaluation_text(desk.file("text", "the ab and the other"), desk.tokenizer, 9);
    CHECK(text.tokens.size() == 9);
    CHECK(text.bytes == static_cast<Index>(desk.tokenizer.decode(text.tokens).size()));
    const auto model = desk.folder / "model", half = desk.folder / "half";
    std::vector<std::string> heard;
    const FormPaths forms{model,
                          {{ComparedForm::compressed, half},
                           {ComparedForm::mpo, half},
                           {ComparedForm::low_rank, model}}};
    const auto reports = compare_forms(forms, {text},
                                       {8,
                                        8,
                                        [&](std::string_view what, Index, Index count) {
                                            CHECK(count == 9);
                                            heard.emplace_back(what);
                                            return ProgressReply::go_on;
                                        },
                                        {{1, 4}, 1}},
                                       cpu);
    const auto expected =
        compare(desk.open("half"), desk.open("model"), text.tokens, {8, 8, text.bytes, {}});
    REQUIRE(heard.size() == 2);  // one window each: a ninth token is only context
    CHECK(heard[0] == text.name + " as compressed");
    CHECK(heard[1] == text.name + " all low rank");
    REQUIRE(reports[0].forms.size() == 3);
    CHECK(&reports[0].compressed() == &reports[0].forms[0].result);
    CHECK(reports[0].compressed().kld.mean == expected.kld.mean);
    CHECK(reports[0].of(ComparedForm::mpo).kld.mean == expected.kld.mean);
    CHECK(reports[0].of(ComparedForm::low_rank).kld.mean == 0);
    CHECK(reports[0].of(ComparedForm::low_rank).model.bits_per_byte ==
          expected.reference.bits_per_byte);
    check_throws<ArgumentError>([&] { (void)reports[0].of(ComparedForm::uniform_low_rank); },
                                {"uniform_low_rank", text.name});
    for (const auto& form : reports[0].forms) {  // every row of quality has its cost beside it
        REQUIRE(form.cost.batches.size() == 2);
        CHECK(form.cost.batches[1].batch == 4);
        CHECK(form.cost.bytes == reports[0].source_cost.bytes);
    }
    CHECK(reports[0].forms[1].cost.batches[0].ms_per_token ==
          reports[0].forms[0].cost.batches[0].ms_per_token);  // the same model, measured once
}

// The bodies of model/items.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/items.hpp"
#include "mpo/model/utf8.hpp"

namespace mpo {
namespace detail {

/// One line of a JSONL file; every refusal names file and line.
class ItemLine {
  public:
    ItemLine(std::string_view text, const std::filesystem::path& path, Index number)
        : where_(concat(path.string(), " line ", number)), json_(parse_json_tree(text, where_)) {
        if (!json_.is_object()) fail("must be a JSON object");
    }

    [[noreturn]] void fail(std::string_view problem) const {
        raise<FormatError>({where_, ": ", problem});
    }

    [[nodiscard]] const nlohmann::json* find(const char* field) const {
        const auto found = json_.find(field);
        return found == json_.end() || found->is_null() ? nullptr : &*found;
    }
    [[nodiscard]] const nlohmann::json& field(const char* name) const {
        const auto* value = find(name);
        if (!value) fail(concat("has no ", in_quotes(name)));
        return *value;
    }
    [[nodiscard]] std::string text(const char* name) const { return text(name, field(name)); }

    [[nodiscard]] std::vector<std::string> texts(const char* name) const {
        return texts(name, field(name));
    }
    [[nodiscard]] std::vector<std::string> texts(const char* name,
                                                 const nlohmann::json& value) const {
        if (!value.is_array() || value.empty())
            fail(concat(in_quotes(name), " must be a list of texts, got ", described(value)));
        std::vector<std::string> result;
        for (const auto& element : value) {
            result.push_back(text(name, element));
            if (result.back().empty()) fail(concat(in_quotes(name), " has an empty text"));
        }
        return result;
    }

    /// 0 .. count - 1: an integer, its digits as text, or a letter from A on.
    [[nodiscard]] Index choice(const char* name, std::size_t count) const {
        const auto& value = field(name);
        std::size_t index = count;
        if (value.is_number_unsigned()) index = value.get<std::size_t>();
        if (value.is_string()) {
            const auto& letter = value.get_ref<const std::string&>();
            if (letter.size() == 1 && is_digit(letter[0]))
                index = static_cast<std::size_t>(letter[0] - '0');
            if (letter.size() == 1 && letter[0] >= 'A' && letter[0] <= 'Z')
                index = static_cast<std::size_t>(letter[0] - 'A');
        }
        if (index >= count)
            fail(concat(in_quotes(name), " must be one of the ", count, " choices, got ",
                        described(value)));
        return static_cast<Index>(index);
    }

  private:
    [[nodiscard]] std::string text(const char* name, const nlohmann::json& value) const {
        if (!value.is_string())
            fail(concat(in_quotes(name), " must be text, got ", described(value)));
        return value.get<std::string>();
    }

    std::string where_;
    nlohmann::json json_;
};

MPO_DETAIL_MODEL_INLINE std::string_view stripped(std::string_view text) {
    std::size_t begin = 0;
    for (Character next = character_at(text, 0); next.kind == CharacterClass::blank;
         next = character_at(text, begin))
        begin += next.size;
    std::size_t end = begin;
    for (std::size_t at = begin; at < text.size();) {
        const auto next = character_at(text, at);
        at += next.size;
        if (next.kind != CharacterClass::blank) end = at;
    }
    return text.substr(begin, end - begin);
}

[[nodiscard]] inline std::string replaced_all(std::string_view text, std::string_view from,
                                              std::string_view to) {
    std::string result;
    for (std::size_t at = 0;;) {
        const auto next = text.find(from, at);
        result += text.substr(at, next - at);
        if (next == std::string_view::npos) return result;
        result += to;
        at = next + from.size();
    }
}

/// HellaSwag's texts come from WikiHow: " [title]" ends a sentence, other brackets go, and what they leave.
[[nodiscard]] inline std::string without_brackets(std::string_view text) {
    const auto titled = replaced_all(stripped(text), " [title]", ". ");
    std::string result;
    for (std::size_t at = 0; at < titled.size();) {
        const auto end = titled[at] == '[' ? titled.find_first_of("]\n", at) : std::string::npos;
        if (end != std::string::npos && titled[end] == ']')
            at = end + 1;
        else
            result += titled[at++];
    }
    return replaced_all(result, "  ", " ");
}

/// The first letter as a capital, where ASCII has one, the others in lower case.
[[nodiscard]] inline std::string capitalized(std::string_view text) {
    auto result = lowered(text);
    if (!result.empty() && result[0] >= 'a' && result[0] <= 'z')
        result[0] = static_cast<char>(result[0] - 'a' + 'A');
    return result;
}

[[nodiscard]] inline ChoiceItem behind_blanks(std::string context, std::vector<std::string> choices,
                                              Index answer) {
    ChoiceItem item{std::move(context), {}, std::move(choices), answer};
    for (const auto& choice : item.choices) item.continuations.push_back(" " + choice);
    return item;
}

[[nodiscard]] inline ChoiceItem mmlu_item(const ItemLine& line) {
    std::string context(stripped(line.text("question")));
    const auto choices = line.texts("choices");
    if (choices.size() > 26) line.fail("'choices' has more than 26 texts");
    std::vector<std::string> letters;
    for (const auto& choice : choices) {
        letters.emplace_back(1, static_cast<char>('A' + static_cast<int>(letters.size())));
        context += "\n" + letters.back() + ". " + choice;
    }
    return behind_blanks(context + "\nAnswer:", letters, line.choice("answer", choices.size()));
}

[[nodiscard]] inline ChoiceItem hellaswag_item(const ItemLine& line) {
    const auto context = line.text("activity_label") + ": " + line.text("ctx_a") + " " +
                         capitalized(line.text("ctx_b"));
    auto endings = line.texts("endings");
    for (auto& ending : endings) {
        ending = without_brackets(ending);
        if (ending.empty()) line.fail("'endings' has a text of nothing but brackets");
    }
    const Index answer = line.choice("label", endings.size());
    return behind_blanks(without_brackets(context), std::move(endings), answer);
}

[[nodiscard]] inline ChoiceItem boolq_item(const ItemLine& line) {
    const auto* answer = line.find("answer");
    if (answer && !answer->is_boolean())
        line.fail(concat("'answer' must be a boolean, got ", described(*answer)));
    const Index label = answer ? static_cast<Index>(answer->get<bool>()) : line.choice("label", 2);
    return behind_blanks(
        line.text("passage") + "\nQuestion: " + line.text("question") + "?\nAnswer:", {"no", "yes"},
        label);
}

[[nodiscard]] inline ChoiceItem continuation_item(const ItemLine& line) {
    auto choices = line.texts("choices");
    const Index answer = line.choice("answer", choices.size());
    return {line.text("context"), choices, std::move(choices), answer};
}

[[nodiscard]] inline QuestionItem trivia_qa_item(const ItemLine& line) {
    const auto& answer = line.field("answer");
    const auto aliases = answer.is_object() ? answer.find("aliases") : answer.end();
    if (!answer.is_object() || aliases == answer.end()) line.fail("'answer' has no 'aliases'");
    return {"Question: " + line.text("question") + "?\nAnswer:",
            line.texts("aliases", *aliases),
            {"\n", ".", ","},
            AnswerRule::free_text};
}

[[nodiscard]] inline QuestionItem gsm8k_item(const ItemLine& line) {
    auto answer = line.text("answer");
    if (strict_number(answer) == "[invalid]") line.fail("'answer' has no number behind '#### '");
    return {"Question: " + line.text("question") + "\nAnswer:",
            {std::move(answer)},
            {"Question:", "</s>", "<|im_end|>"},
            AnswerRule::last_number};
}

/// The layout whose fields a line has.
[[nodiscard]] inline ChoiceLayout choice_layout(const ItemLine& line) {
    if (line.find("endings")) return ChoiceLayout::hellaswag;
    if (line.find("passage")) return ChoiceLayout::boolq;
    if (line.find("question")) return ChoiceLayout::mmlu;
    if (line.find("context")) return ChoiceLayout::continuation;
    line.fail(
        "is of no known layout: there is none of 'endings', 'passage', 'question', 'context'");
}

/// item(line) of every line of a file that is not blank.
template <class Item, class Read>
[[nodiscard]] std::vector<Item> read_items(const std::filesystem::path& path, Read&& item) {
    const std::string text = read_text_file(path);
    std::vector<Item> items;
    Index number = 1;
    for (std::size_t begin = 0; begin < text.size(); ++number) {
        const std::size_t end = (std::min)(text.find('\n', begin), text.size());
        const auto line = std::string_view(text).substr(begin, end - begin);
        if (line.find_first_not_of(" \t\r") != std::string_view::npos)
            items.push_back(item(ItemLine(line, path, number)));
        begin = end + 1;
    }
    if (items.empty()) raise<FormatError>({path.string(), ": the file has no items"});
    return items;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::vector<ChoiceItem> read_choice_items(
    const std::filesystem::path& path, std::optional<ChoiceLayout> layout) {
    return detail::read_items<ChoiceItem>(path, [&layout](const detail::ItemLine& line) {
        if (!layout) layout = detail::choice_layout(line);
        switch (*layout) {
            case ChoiceLayout::mmlu:
                return detail::mmlu_item(line);
            case ChoiceLayout::hellaswag:
                return detail::hellaswag_item(line);
            case ChoiceLayout::boolq:
                return detail::boolq_item(line);
            case ChoiceLayout::continuation:
                break;
        }
        return detail::continuation_item(line);
    });
}

MPO_DETAIL_MODEL_INLINE std::vector<QuestionItem> read_question_items(
    const std::filesystem::path& path, std::optional<QuestionLayout> layout) {
    return detail::read_items<QuestionItem>(path, [&layout](const detail::ItemLine& line) {
        if (!layout)
            layout = line.field("answer").is_string() ? QuestionLayout::gsm8k
                                                      : QuestionLayout::trivia_qa;
        return *layout == QuestionLayout::gsm8k ? detail::gsm8k_item(line)
                                                : detail::trivia_qa_item(line);
    });
}

MPO_DETAIL_MODEL_INLINE std::vector<SummaryItem> read_summary_items(
    const std::filesystem::path& path) {
    return detail::read_items<SummaryItem>(path, [](const detail::ItemLine& line) {
        auto summary = line.text("summary");
        if (summary.empty()) line.fail("'summary' is empty");
        return SummaryItem{line.text("document") + "\n\nTL;DR:", std::move(summary)};
    });
}

}  // namespace mpo

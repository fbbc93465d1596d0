// The bodies of model/make_choices.hpp that are no templates.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/core/random.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/json_lines.hpp"
#include "mpo/model/make_choices.hpp"

namespace mpo {
namespace detail {

[[nodiscard]] inline WordBeginnings word_beginnings(const Tokenizer& tokenizer,
                                                    std::string_view text) {
    const auto ids = tokenizer.encode(text);
    const std::size_t prefix = tokenizer.vocabulary().add_space_prefix ? 1 : 0;
    WordBeginnings result;
    std::size_t at = 0;  // in the prefix and the text
    for (std::size_t k = 0; k < ids.size(); ++k) {
        const auto piece = tokenizer.piece(ids[k]);
        const bool word = piece.size() > 1 && piece[0] == ' ' &&
                          character_at(piece, 1).kind == CharacterClass::letter;
        if (word && at > prefix) {
            result.bytes.push_back(at - prefix);
            result.tokens.push_back(static_cast<Index>(k));
        }
        at += piece.size();
    }
    result.bytes.push_back(text.size());
    result.tokens.push_back(static_cast<Index>(ids.size()));
    return result;
}

/// The first beginning at least `count` tokens behind beginning `from`; the number of all where none is.
[[nodiscard]] inline std::size_t beginning_after(const WordBeginnings& words, std::size_t from,
                                                 Index count) {
    const auto& tokens = words.tokens;
    const auto found = std::lower_bound(tokens.begin() + static_cast<std::ptrdiff_t>(from),
                                        tokens.end(), tokens[from] + count);
    return static_cast<std::size_t>(found - tokens.begin());
}

MPO_DETAIL_MODEL_INLINE std::vector<Passage> passages(const WordBeginnings& words,
                                                      const MakeChoicesOptions& options) {
    std::vector<Passage> result;
    const std::size_t count = words.tokens.size();
    for (std::size_t at = 0; at < count;) {
        const auto middle = beginning_after(words, at, options.context_tokens);
        if (middle >= count) break;
        const auto end = beginning_after(words, middle, options.continuation_tokens);
        if (end >= count) break;
        result.push_back({at, middle, end});
        at = end;
    }
    return result;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE std::vector<ChoiceItem> make_choices(const Tokenizer& tokenizer,
                                                             std::string_view text,
                                                             const MakeChoicesOptions& options) {
    constexpr std::size_t num_choices = 4;
    if (options.context_tokens < 1 || options.continuation_tokens < 1 || options.num_items < 0)
        detail::raise<ArgumentError>({"make_choices: needs tokens >= 1 and items >= 0, got ",
                                      options.context_tokens, ", ", options.continuation_tokens,
                                      " and ", options.num_items});
    const auto words = detail::word_beginnings(tokenizer, text);
    const auto passages = detail::passages(words, options);
    if (passages.size() < num_choices)
        detail::raise<ArgumentError>({"make_choices: a text of ", words.tokens.back(),
                                      " tokens has ", passages.size(), " passages of ",
                                      options.context_tokens, " + ", options.continuation_tokens,
                                      " tokens, at least ", num_choices, " are needed"});
    const auto between = [&](std::size_t begin, std::size_t end) {
        return std::string(text.substr(words.bytes[begin], words.bytes[end] - words.bytes[begin]));
    };
    const auto continuation = [&](std::size_t k) {
        return between(passages[k].continuation, passages[k].end);
    };
    Random random(options.seed);
    // passage k and three others, all different in what they say
    const auto drawn_for = [&](std::size_t k) {
        std::vector<std::size_t> drawn{k};
        for (int draws = 0; drawn.size() < num_choices; ++draws) {
            if (draws == 1000)
                throw ArgumentError("make_choices: the text repeats itself, no choices differ");
            const auto other =
                static_cast<std::size_t>(random.below(static_cast<Index>(passages.size())));
            const auto same = [&](std::size_t one) {
                return continuation(one) == continuation(other);
            };
            if (std::none_of(drawn.begin(), drawn.end(), same)) drawn.push_back(other);
        }
        return drawn;
    };
    std::vector<ChoiceItem> items;
    for (std::size_t k = 0; k < passages.size(); ++k) {
        if (options.num_items > 0 && static_cast<Index>(k) == options.num_items) break;
        auto drawn = drawn_for(k);
        const auto place = static_cast<std::size_t>(random.below(num_choices));
        std::swap(drawn[0], drawn[place]);
        ChoiceItem item{between(passages[k].context, passages[k].continuation),
                        {},
                        {},
                        static_cast<Index>(place)};
        for (const auto other : drawn) item.choices.push_back(continuation(other));
        item.continuations = item.choices;
        items.push_back(std::move(item));
    }
    return items;
}

MPO_DETAIL_MODEL_INLINE std::string to_jsonl(const std::vector<ChoiceItem>& items) {
    std::string lines;
    for (const auto& item : items) {
        nlohmann::ordered_json json;
        json["kind"] = "true continuation of held-out text against three sampled ones";
        json["context"] = item.context;
        json["choices"] = item.choices;
        json["answer"] = item.answer;
        lines += detail::json_line(json) + "\n";
    }
    return lines;
}

}  // namespace mpo

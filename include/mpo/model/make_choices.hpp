// Multiple choice out of any text that the model has not seen: how a passage goes on, against three
// passages from elsewhere in the same text. It measures whether a model follows a text, not what it knows;
// results are comparable between models on the same file only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/model/choices.hpp"
#include "mpo/model/tokenizer.hpp"

namespace mpo {

/// How items are cut.
struct MakeChoicesOptions {
    Index context_tokens = 64;       // at least so many before the choices
    Index continuation_tokens = 24;  // at least so many in every choice
    Index num_items = 0;             // at most so many; 0: as many as the text has
    std::uint64_t seed = 1;          // of the wrong choices and of the place of the right one
};

namespace detail {

/// Positions in a text where a word begins behind one blank, each with the number of tokens before it.
struct WordBeginnings {
    std::vector<std::size_t> bytes;  // of the blank
    std::vector<Index> tokens;
};

/// Where passages lie: beginnings of a context, of its continuation, and behind that.
struct Passage {
    std::size_t context, continuation, end;
};

[[nodiscard]] std::vector<Passage> passages(const WordBeginnings& words,
                                            const MakeChoicesOptions& options);

}  // namespace detail

/// Cuts a text, one passage behind another, into items of four choices: the true continuation and three
/// sampled ones that say something else. Throws ArgumentError where an option is outside its domain, where the
/// text is too short for four items or repeats itself, and as Tokenizer::encode.
[[nodiscard]] std::vector<ChoiceItem> make_choices(const Tokenizer& tokenizer,
                                                   std::string_view text,
                                                   const MakeChoicesOptions& options = {});

/// The items as JSONL of the layout `continuation`; every line says what it is. What is no UTF-8 becomes
/// U+FFFD.
[[nodiscard]] std::string to_jsonl(const std::vector<ChoiceItem>& items);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/make_choices_inl.hpp"
#endif

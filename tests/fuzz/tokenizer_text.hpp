// What is required of a tokenizer that was accepted: texts come back, whatever it is made of.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "fuzz.hpp"
#include "mpo/model/tokenizer.hpp"

namespace mpo::fuzz {

/// A text with the names of tokens in it, and what of it single bytes are spelled of.
[[nodiscard]] inline std::string text_for(const Tokenizer& tokenizer) {
    std::string all = "the 12 \xc3\xa9\xff\n \xe2\x96\x81 <s>it's";
    for (Index id = 0; id < (std::min)(tokenizer.size(), Index{64}); ++id)
        all += tokenizer.piece(id);
    std::string spellable;
    for (const char c : all) {
        const std::string_view byte(&c, 1);
        if (tokenizer.decode(tokenizer.encode(byte, {.unspellable = Unspellable::drop})) == byte)
            spellable += c;
    }
    return spellable;
}

/// Encodes and decodes it; what an outcome is compared by.
[[nodiscard]] inline std::string text_of(const Tokenizer& tokenizer) {
    const auto text = text_for(tokenizer);
    for (const auto special : {SpecialTokens::as_text, SpecialTokens::parse}) {
        EncodeOptions options{special, Boundaries::none, Unspellable::drop};
        (void)tokenizer.decode(tokenizer.encode(text, options));
        options.unspellable = Unspellable::refuse;
        try {
            require(tokenizer.decode(tokenizer.encode(text, options)) == text,
                    "what is encoded is decoded");
        } catch (const ArgumentError&) {  // a blank alone may have no token where two have one
        }
    }
    return std::to_string(tokenizer.size());
}

}  // namespace mpo::fuzz

// What a model is trained on: windows of one length out of texts, and the token that follows each of theirs.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/calibration_texts.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/tokenizer.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo {

/// Windows of `length` tokens, each a sequence with nothing before it.
struct TrainingWindows {
    Index length = 0;            // L
    std::vector<Index> tokens;   // (windows, L)
    std::vector<Index> next;     // (windows, L), the following token of the text; -1 behind its end
    std::vector<float> weights;  // (windows, L), of a position's loss: 0 where nothing follows

    /// How many.
    [[nodiscard]] Index count() const {
        return length == 0 ? 0 : static_cast<Index>(tokens.size()) / length;
    }
    /// Tokens of window w, (L).
    [[nodiscard]] std::span<const Index> tokens_of(Index w) const {
        return {tokens.data() + w * length, static_cast<std::size_t>(length)};
    }
    /// What follows them, (L).
    [[nodiscard]] std::span<const Index> next_of(Index w) const {
        return {next.data() + w * length, static_cast<std::size_t>(length)};
    }
    /// What they weigh, (L).
    [[nodiscard]] std::span<const float> weights_of(Index w) const {
        return {weights.data() + w * length, static_cast<std::size_t>(length)};
    }
};

namespace detail {

/// Adds the window that begins at `begin` of a text.
inline void append_window(std::span<const Index> text, Index begin, double weight,
                          TrainingWindows& windows) {
    for (Index t = begin; t < begin + windows.length; ++t) {
        const bool last = t + 1 == static_cast<Index>(text.size());
        windows.tokens.push_back(text[static_cast<std::size_t>(t)]);
        windows.next.push_back(last ? -1 : text[static_cast<std::size_t>(t + 1)]);
        windows.weights.push_back(last ? 0.0f : static_cast<float>(weight));
    }
}

/// Of the length and the tokens of windows: what a teacher reads.
[[nodiscard]] inline std::string fingerprint(const TrainingWindows& windows) {
    Fingerprint result;
    result.add(concat(windows.length));
    result.add(windows.tokens.data(), windows.tokens.size() * sizeof(Index));
    return result.to_string();
}

}  // namespace detail

/// Windows of a text's tokens that do not overlap, one behind the other from its first token on; what is left
/// behind the last whole one is left out.
///
/// text     ids
/// weight   of each position that something follows
/// spread   windows, evenly over the text; 0: as many as fit
/// name     of the text, for messages
/// throws   ArgumentError for a text shorter than a window, and as CalibrationText's spread
inline void append_training_windows(std::span<const Index> text, double weight, Index spread,
                                    const std::string& name, TrainingWindows& windows) {
    const auto tokens = static_cast<Index>(text.size()), length = windows.length;
    if (tokens < length)
        detail::raise<ArgumentError>(
            {name, ": the text has ", tokens, " tokens, fewer than a window of ", length});
    if (spread != 0) {
        for (const auto& part : detail::spread_windows(tokens, spread, length, name))
            detail::append_window(text, part.begin, weight, windows);
        return;
    }
    for (Index begin = 0; begin + length <= tokens; begin += length)
        detail::append_window(text, begin, weight, windows);
}

/// The windows of texts. The token behind a window is the next one's first, where they are neighbours.
///
/// texts      at least one; max_tokens as read_evaluation_text's
/// model      must know all tokens
/// length     tokens of a window, 2 to the context of the model
/// throws     ArgumentError (no text, a weight that is not above 0, the length, a token outside the vocabulary, a text
///            shorter than a window or too short for its spread); as read_evaluation_text
[[nodiscard]] inline TrainingWindows training_windows(const std::vector<CalibrationText>& texts,
                                                      const Tokenizer& tokenizer,
                                                      const TransformerConfig& model,
                                                      Index length = 512) {
    if (texts.empty()) throw ArgumentError("training windows: there is no text");
    if (length < 2 || length > model.max_positions)
        detail::raise<ArgumentError>({"training windows: a window must have 2 to ",
                                      model.max_positions,
                                      " tokens, the context of the model, got ", length});
    require_fitting_vocabulary(tokenizer, model.vocab_size, "to be trained");
    TrainingWindows windows;
    windows.length = length;
    for (const auto& text : texts) {
        if (!(text.weight > 0) || !std::isfinite(text.weight))
            detail::raise<ArgumentError>({"training windows: the weight of ", text.path.string(),
                                          " must be above 0, got ", text.weight});
        const auto read = read_evaluation_text(text.path, tokenizer, text.max_tokens);
        append_training_windows(read.tokens, text.weight, text.spread, read.name, windows);
    }
    return windows;
}

}  // namespace mpo

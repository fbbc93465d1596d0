// What a model is trained on: windows of one length out of texts, and the token that follows each of theirs.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/calibration_texts.hpp"
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

/// Of the length and the tokens of windows: what a teacher reads.
[[nodiscard]] std::string fingerprint(const TrainingWindows& windows);
/// Of what follows and what positions weigh, too: what a loss reads.
[[nodiscard]] std::string loss_fingerprint(const TrainingWindows& windows);

/// "384 windows of 512 tokens, 45f4..": what tells one text from another.
[[nodiscard]] std::string described(const TrainingWindows& windows, const std::string& fingerprint);

/// Throws ArgumentError where windows are not whole ones of at least one token.
void require_whole(const TrainingWindows& windows, const char* who);
/// The same, and where a token is none of the vocabulary.
void require_tokens(const TrainingWindows& windows, Index vocab_size, const char* who);
/// The same, and where some position has not one token that follows (or -1) and one weight that is finite and not
/// negative.
void require_complete(const TrainingWindows& windows, Index vocab_size, const char* who);
/// Throws ArgumentError of complete windows where one weighs nothing at all, or, with alpha < 1, a position has a weight
/// and no token that follows: a mean over nothing, a cross-entropy with nothing.
void require_loss(const TrainingWindows& windows, double alpha, const char* who);
/// Throws ArgumentError where a step of so many windows has more tokens than anybody's memory: 2^31.
void require_batch(Index batch_windows, Index length, const char* who);

}  // namespace detail

/// Windows of a text's tokens that do not overlap, one behind the other from its first token on; what is left
/// behind the last whole one is left out.
///
/// text     ids
/// weight   of each position that something follows
/// spread   windows, evenly over the text; 0: as many as fit
/// name     of the text, for messages
/// throws   ArgumentError for a text shorter than a window, and as CalibrationText's spread
void append_training_windows(std::span<const Index> text, double weight, Index spread,
                             const std::string& name, TrainingWindows& windows);

/// The windows of texts. The token behind a window is the next one's first, where they are neighbours.
///
/// texts      at least one; max_tokens as read_evaluation_text's
/// model      must know all tokens
/// length     tokens of a window, 2 to the context of the model
/// throws     ArgumentError (no text, a weight that is not above 0, the length, a token outside the vocabulary, a text
///            shorter than a window or too short for its spread); as read_evaluation_text
[[nodiscard]] TrainingWindows training_windows(const std::vector<CalibrationText>& texts,
                                               const Tokenizer& tokenizer,
                                               const TransformerConfig& model, Index length = 512);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/training_windows_inl.hpp"
#endif

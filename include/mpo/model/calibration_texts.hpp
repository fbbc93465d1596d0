// Texts of a calibration, cut into windows as evaluation cuts them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/evaluate_windows.hpp"
#include "mpo/model/tokenizer.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo {

/// A text of a calibration.
struct CalibrationText {
    std::filesystem::path path;  // UTF-8
    Index max_tokens = 0;        // taken from its beginning; 0: all
    double weight = 1;           // of each of its positions
    Index spread = 0;            // windows, evenly over what is taken; 0: as many as fit
};

namespace detail {

/// Begins of `count` windows from the first token to the last, as far apart as they can be. Throws
/// ArgumentError where they overlap.
[[nodiscard]] std::vector<TextWindow> spread_windows(Index tokens, Index count, Index window,
                                                     const std::string& text);

}  // namespace detail

/// Reads texts and cuts them into windows of `window` tokens, one behind the other; the last one of a text is
/// shorter, and left out where it would be a single token. As evaluation cuts them: the first window of a text
/// begins with the token that texts began with in training. Windows that are spread have all the same length.
///
/// texts       at least one; max_tokens as read_evaluation_text's
/// model       must know all tokens
/// window      tokens, 2 to the context of the model
/// throws      ArgumentError (no text, a weight that is not above 0, the window, a token outside the
///             vocabulary, a text too short for its spread); as read_evaluation_text
[[nodiscard]] std::vector<CalibrationWindow> calibration_windows(
    const std::vector<CalibrationText>& texts, const Tokenizer& tokenizer,
    const TransformerConfig& model, Index window = 512);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/calibration_texts_inl.hpp"
#endif

// Texts of a calibration, cut into windows as evaluation cuts them.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/evaluate_texts.hpp"
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
[[nodiscard]] inline std::vector<TextWindow> spread_windows(Index tokens, Index count, Index window,
                                                            const std::string& text) {
    if (count < 1)
        raise<ArgumentError>(
            {"calibrate: ", text, " must be spread over at least 1 window, got ", count});
    const Index steps = (std::max)(Index{1}, count - 1);
    if (tokens < window || (count > 1 && (tokens - window) / steps < window))
        raise<ArgumentError>({"calibrate: ", text, " has ", tokens, " tokens, too few for ", count,
                              " windows of ", window});
    std::vector<TextWindow> windows;
    for (Index k = 0; k < count; ++k) {
        const Index begin = (tokens - window) / steps * k + (tokens - window) % steps * k / steps;
        windows.push_back({begin, begin + window, begin + 1});
    }
    return windows;
}

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
[[nodiscard]] inline std::vector<CalibrationWindow> calibration_windows(
    const std::vector<CalibrationText>& texts, const Tokenizer& tokenizer,
    const TransformerConfig& model, Index window = 512) {
    if (texts.empty()) throw ArgumentError("calibrate: there is no text");
    std::vector<CalibrationWindow> result;
    EvaluateOptions cut;
    cut.window = cut.stride = window;
    for (const auto& text : texts) {
        if (!(text.weight > 0) || !std::isfinite(text.weight))
            detail::raise<ArgumentError>({"calibrate: the weight of ", text.path.string(),
                                          " must be above 0, got ", text.weight});
        const auto read = read_evaluation_text(text.path, tokenizer, text.max_tokens);
        const std::span<const Index> tokens(read.tokens);
        auto parts = detail::text_windows(tokens, cut, model);
        if (text.spread != 0)
            parts = detail::spread_windows(static_cast<Index>(tokens.size()), text.spread, window,
                                           read.name);
        for (const auto& part : parts) {
            const auto piece = tokens.subspan(static_cast<std::size_t>(part.begin),
                                              static_cast<std::size_t>(part.end - part.begin));
            result.push_back({{piece.begin(), piece.end()}, text.weight});
        }
    }
    return result;
}

}  // namespace mpo

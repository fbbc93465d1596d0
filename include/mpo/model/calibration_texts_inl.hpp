// The bodies of model/calibration_texts.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/calibration_texts.hpp"
#include "mpo/model/evaluate_texts.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE std::vector<TextWindow> spread_windows(Index tokens, Index count,
                                                               Index window,
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

MPO_DETAIL_MODEL_INLINE std::vector<CalibrationWindow> calibration_windows(
    const std::vector<CalibrationText>& texts, const Tokenizer& tokenizer,
    const TransformerConfig& model, Index window) {
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

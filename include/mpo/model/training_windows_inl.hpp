// The bodies of model/training_windows.hpp that are no templates.
#pragma once

#include <cmath>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/training_windows.hpp"

namespace mpo {
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

MPO_DETAIL_MODEL_INLINE std::string fingerprint(const TrainingWindows& windows) {
    Fingerprint result;
    result.add(concat(windows.length));
    result.add(windows.tokens.data(), windows.tokens.size() * sizeof(Index));
    return result.to_string();
}

MPO_DETAIL_MODEL_INLINE std::string loss_fingerprint(const TrainingWindows& windows) {
    Fingerprint result;
    result.add(fingerprint(windows));
    result.add(windows.next.data(), windows.next.size() * sizeof(Index));
    result.add(windows.weights.data(), windows.weights.size() * sizeof(float));
    return result.to_string();
}

MPO_DETAIL_MODEL_INLINE std::string described(const TrainingWindows& windows,
                                              const std::string& fingerprint) {
    return concat(windows.count(), " windows of ", windows.length, " tokens, ", fingerprint);
}

MPO_DETAIL_MODEL_INLINE void require_whole(const TrainingWindows& windows, const char* who) {
    if (windows.length < 1 || static_cast<Index>(windows.tokens.size()) % windows.length != 0)
        raise<ArgumentError>(
            {who, ": ", windows.tokens.size(), " tokens are no whole windows of ", windows.length});
}

/// Throws ArgumentError of what position k of all windows has.
[[noreturn]] inline void fail_at(const TrainingWindows& windows, std::size_t k, const char* who,
                                 const char* what, MessagePart got, const std::string& problem) {
    const auto at = static_cast<Index>(k);
    raise<ArgumentError>({who, ": ", what, ' ', got, ' ', problem, ", at position ",
                          at % windows.length, " of window ", at / windows.length});
}

/// Throws ArgumentError where an id at position k of all windows is none of the vocabulary.
inline void require_token(const TrainingWindows& windows, std::size_t k, const char* who, Index id,
                          Index vocab_size) {
    if (id < 0 || id >= vocab_size)
        fail_at(windows, k, who, "token", id, concat("is outside the vocabulary of ", vocab_size));
}

MPO_DETAIL_MODEL_INLINE void require_tokens(const TrainingWindows& windows, Index vocab_size,
                                            const char* who) {
    require_whole(windows, who);
    for (std::size_t k = 0; k < windows.tokens.size(); ++k)
        require_token(windows, k, who, windows.tokens[k], vocab_size);
}

MPO_DETAIL_MODEL_INLINE void require_complete(const TrainingWindows& windows, Index vocab_size,
                                              const char* who) {
    require_tokens(windows, vocab_size, who);
    const auto count = windows.tokens.size();
    if (windows.next.size() != count || windows.weights.size() != count)
        raise<ArgumentError>({who, ": ", count, " tokens of windows are followed by ",
                              windows.next.size(), " and have ", windows.weights.size(),
                              " weights"});
    for (std::size_t k = 0; k < count; ++k) {
        if (const Index id = windows.next[k]; id < -1)
            fail_at(windows, k, who, "token", id, "is neither one nor -1");
        else if (id != -1)
            require_token(windows, k, who, id, vocab_size);
        if (const float weight = windows.weights[k]; !(weight >= 0) || !std::isfinite(weight))
            fail_at(windows, k, who, "weight", weight, "is no number >= 0");
    }
}

MPO_DETAIL_MODEL_INLINE void require_loss(const TrainingWindows& windows, double alpha,
                                          const char* who) {
    for (Index w = 0; w < windows.count(); ++w) {
        const auto weights = windows.weights_of(w);
        double sum = 0;
        for (std::size_t t = 0; t < weights.size(); ++t) {
            sum += weights[t];
            if (alpha < 1 && weights[t] > 0 && windows.next_of(w)[t] == -1)
                fail_at(windows, static_cast<std::size_t>(w * windows.length) + t, who, "weight",
                        weights[t], "stands where no token follows");
        }
        if (!(sum > 0)) raise<ArgumentError>({who, ": the weights of window ", w, " are all 0"});
    }
}

MPO_DETAIL_MODEL_INLINE void require_batch(Index batch_windows, Index length, const char* who) {
    constexpr Index most = Index{1} << 31;
    if (batch_windows > most / length)
        raise<ArgumentError>({who, ": a step of ", batch_windows, " windows of ", length,
                              " tokens has more than ", most, " tokens"});
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE void append_training_windows(std::span<const Index> text, double weight,
                                                     Index spread, const std::string& name,
                                                     TrainingWindows& windows) {
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

MPO_DETAIL_MODEL_INLINE TrainingWindows training_windows(const std::vector<CalibrationText>& texts,
                                                         const Tokenizer& tokenizer,
                                                         const TransformerConfig& model,
                                                         Index length) {
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

// Windows over a text: which tokens are scored, and behind which context. Window w begins at w stride and
// ends `window` tokens later, or with the text. It scores what no window before it scored, but never
// its own first token, which has no context. Stride = window is the field's "disjoint": the first token
// of every window is left out; a stride of window - 1 leaves out that of the text alone.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

/// How a text is cut, and how its evaluation reports.
struct EvaluateOptions {
    Index window = 512;    // tokens that a model sees at once, >= 2
    Index stride = 512;    // from one window to the next, 1 .. window
    Index text_bytes = 0;  // of the text: for bits per byte; 0: not known
    std::function<ProgressReply(Index done, Index tokens)> progress = {};  // after every window
};

namespace detail {

/// Tokens begin .. end - 1 of a text, of which scored .. end - 1 are scored.
struct TextWindow {
    Index begin = 0, end = 0, scored = 0;
};

/// The windows of a text. Throws ArgumentError for options outside their domain, a window beyond the
/// context, a text of fewer than two tokens, and one that is outside the vocabulary: targets are looked up.
[[nodiscard]] std::vector<TextWindow> text_windows(std::span<const Index> text,
                                                   const EvaluateOptions& options,
                                                   const TransformerConfig& model);

/// One model's logits over a window, a few rows at a time.
class WindowLogits {
  public:
    static constexpr Index rows_at_once = 64;

    WindowLogits(const Transformer& model, Index window);

    /// Takes a window in; its last token is only predicted.
    void load(std::span<const Index> tokens);
    /// Rows first .. first + count - 1: what is predicted behind those tokens of the window.
    void compute(Index first, Index count);
    [[nodiscard]] const float* row(Index k) const { return logits_.data() + k * logits_.extent(1); }

  private:
    const Transformer& model_;
    KvCache cache_;
    Tensor<float> hidden_, logits_;
};

/// visit(row, target, at) for every scored token of a text, from several threads: `at` counts them, and row k
/// of all `models` is what they predict in the place of `target`.
template <class Visit>
void visit_scored(std::span<WindowLogits> models, std::span<const Index> tokens,
                  const std::vector<TextWindow>& windows, const EvaluateOptions& options,
                  Visit&& visit) {
    Index at = 0;
    for (const auto& window : windows) {
        const auto first = static_cast<std::size_t>(window.begin);
        for (auto& model : models)
            model.load(tokens.subspan(first, static_cast<std::size_t>(window.end) - first));
        for (Index t = window.scored; t < window.end; t += WindowLogits::rows_at_once) {
            const Index count = (std::min)(WindowLogits::rows_at_once, window.end - t);
            for (auto& model : models) model.compute(t - 1 - window.begin, count);
            parallel_for(0, count, 1, [&](Index begin, Index end) {
                for (Index k = begin; k < end; ++k)
                    visit(k, tokens[static_cast<std::size_t>(t + k)], at + k);
            });
            at += count;
        }
        if (options.progress && options.progress(window.end, static_cast<Index>(tokens.size())) ==
                                    ProgressReply::cancel)
            throw Cancelled(
                concat("evaluate: cancelled after ", window.end, " of ", tokens.size(), " tokens"));
    }
}

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/evaluate_windows_inl.hpp"
#endif

// The bodies of model/evaluate_windows.hpp that are no templates.
#pragma once

#include "mpo/io/inline.hpp"
#include "mpo/model/evaluate_windows.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE std::vector<TextWindow> text_windows(std::span<const Index> text,
                                                             const EvaluateOptions& options,
                                                             const TransformerConfig& model) {
    const Index context = model.max_positions, tokens = static_cast<Index>(text.size());
    if (options.window < 2 || options.window > context)
        raise<ArgumentError>({"evaluate: the window must be 2 to ", context,
                              " tokens, the context of the model, got ", options.window});
    if (options.stride < 1 || options.stride > options.window)
        raise<ArgumentError>({"evaluate: the stride must be 1 to the window, ", options.window,
                              ", got ", options.stride});
    if (tokens < 2)
        raise<ArgumentError>({"evaluate: a text must have at least 2 tokens, one of them to be ",
                              "predicted, got ", tokens});
    for (Index k = 0; k < tokens; ++k)
        if (const Index id = text[static_cast<std::size_t>(k)]; id < 0 || id >= model.vocab_size)
            raise<ArgumentError>({"evaluate: token ", k, " of the text is ", id,
                                  ", the vocabulary has ", model.vocab_size});
    std::vector<TextWindow> windows;
    for (Index begin = 0, done = 0; done < tokens && begin + 1 < tokens; begin += options.stride) {
        const Index end = (std::min)(tokens, begin + options.window);
        windows.push_back({begin, end, (std::max)(done, begin + 1)});
        done = end;
    }
    return windows;
}

MPO_DETAIL_MODEL_INLINE WindowLogits::WindowLogits(const Transformer& model, Index window)
    : model_(model),
      cache_(model.make_cache(window)),
      hidden_({window, model.config().hidden_size}),
      logits_({rows_at_once, model.config().vocab_size}) {}

MPO_DETAIL_MODEL_INLINE void WindowLogits::load(std::span<const Index> tokens) {
    cache_.truncate(0);
    const auto inputs = tokens.first(tokens.size() - 1);
    model_.forward(inputs, cache_,
                   matrix(hidden_.data(), static_cast<Index>(inputs.size()), hidden_.extent(1)));
}

MPO_DETAIL_MODEL_INLINE void WindowLogits::compute(Index first, Index count) {
    const Index width = hidden_.extent(1);
    model_.logits(matrix<const float>(hidden_.data() + first * width, count, width),
                  matrix(logits_.data(), count, logits_.extent(1)));
}

}  // namespace mpo::detail

// What a calibration runs over: windows, each of them one sequence with nothing before it.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo {

/// A sequence of tokens, and what each of its positions weighs.
struct CalibrationWindow {
    std::vector<Index> tokens;  // at least 2
    double weight = 1;          // > 0
};

namespace detail {

/// The length of the longest window. Throws ArgumentError where there is none, where one has fewer than 2
/// tokens (one alone has no median to be a sink beside), more than the context, an id outside the vocabulary
/// or a weight that is not above 0.
[[nodiscard]] inline Index require_windows(const std::vector<CalibrationWindow>& windows,
                                           const TransformerConfig& model) {
    if (windows.empty()) throw ArgumentError("calibrate: there are no tokens");
    Index longest = 0;
    for (std::size_t w = 0; w < windows.size(); ++w) {
        const auto count = static_cast<Index>(windows[w].tokens.size());
        if (count < 2 || count > model.max_positions)
            raise<ArgumentError>({"calibrate: window ", w, " must have 2 to ", model.max_positions,
                                  " tokens, the context of the model, got ", count});
        if (!(windows[w].weight > 0) || !std::isfinite(windows[w].weight))
            raise<ArgumentError>({"calibrate: the weight of window ", w, " must be above 0, got ",
                                  windows[w].weight});
        for (Index t = 0; t < count; ++t)
            if (const Index id = windows[w].tokens[static_cast<std::size_t>(t)];
                id < 0 || id >= model.vocab_size)
                raise<ArgumentError>({"calibrate: token ", t, " of window ", w, " is ", id,
                                      ", the vocabulary has ", model.vocab_size});
        longest = (std::max)(longest, count);
    }
    return longest;
}

}  // namespace detail
}  // namespace mpo

// The bodies of model/calibration_windows.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/calibration_windows.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE Index require_windows(const std::vector<CalibrationWindow>& windows,
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

}  // namespace mpo::detail

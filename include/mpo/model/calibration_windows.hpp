// What a calibration runs over: windows, each of them one sequence with nothing before it.
#pragma once

#include <vector>

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
[[nodiscard]] Index require_windows(const std::vector<CalibrationWindow>& windows,
                                    const TransformerConfig& model);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/calibration_windows_inl.hpp"
#endif

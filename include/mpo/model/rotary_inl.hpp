// The bodies of model/rotary.hpp that are no templates.
#pragma once

#include <numbers>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/rotary.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE std::vector<double> rotary_frequencies(Index head_dim, double theta,
                                                               const RopeScaling& scaling) {
    if (head_dim < 2 || head_dim % 2 != 0 || !(theta > 0))
        detail::raise<ArgumentError>(
            {"rotary_frequencies: need an even head_dim and theta > 0, got ", head_dim, " and ",
             theta});
    const bool linear = scaling.type == "linear", llama3 = scaling.type == "llama3";
    if (!scaling.type.empty() && !linear && !llama3)
        detail::raise<ArgumentError>(
            {"rotary_frequencies: the scaling '", scaling.type, "' is none of linear, llama3"});
    if ((linear || llama3) && !(scaling.factor > 0))
        detail::raise<ArgumentError>(
            {"rotary_frequencies: factor must be > 0, got ", scaling.factor});
    if (llama3 &&
        !(scaling.low_freq_factor > 0 && scaling.high_freq_factor > scaling.low_freq_factor &&
          scaling.original_max_position_embeddings > 0))
        detail::raise<ArgumentError>(
            {"rotary_frequencies: llama3 needs 0 < low_freq_factor < high_freq_factor and ",
             "original_max_position_embeddings > 0, got ", scaling.low_freq_factor, ", ",
             scaling.high_freq_factor, " and ", scaling.original_max_position_embeddings});
    std::vector<double> frequencies;
    for (Index j = 0; j < head_dim / 2; ++j) {
        double f = std::pow(theta, -2.0 * static_cast<double>(j) / static_cast<double>(head_dim));
        if (linear) f /= scaling.factor;
        if (llama3) {
            const double turns = static_cast<double>(scaling.original_max_position_embeddings) * f /
                                 (2 * std::numbers::pi);
            const double low = scaling.low_freq_factor, high = scaling.high_freq_factor;
            const double s = turns > high ? 1 : turns < low ? 0 : (turns - low) / (high - low);
            f = (1 - s) * f / scaling.factor + s * f;
        }
        frequencies.push_back(f);
    }
    return frequencies;
}

}  // namespace mpo

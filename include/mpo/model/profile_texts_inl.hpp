// The bodies of model/profile_texts.hpp that are no templates.
#pragma once

#include <cstddef>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/calibration_texts.hpp"
#include "mpo/model/profile_texts.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE ProfileWindows
profile_windows(const std::vector<std::filesystem::path>& texts, const Tokenizer& tokenizer,
                const TransformerConfig& model, const ProfileWindowsOptions& options) {
    constexpr Index most = Index{1} << 30;
    const Index probes = options.probe_windows;
    if (options.windows < 1 || probes < 1 || options.windows > most || probes > most)
        detail::raise<ArgumentError>({"profile: need at least one window for the moments and one ",
                                      "for the divergences, got ", options.windows, " and ",
                                      probes});
    if (texts.empty()) throw ArgumentError("profile: there is no text");
    const Index all = options.windows + probes;
    ProfileWindows result;
    for (const auto& text : texts) {
        auto windows = calibration_windows({{text, 0, 1, all}}, tokenizer, model, options.window);
        for (Index k = 0, taken = 0; k < all; ++k) {
            const bool probe = taken < probes && k == (2 * taken + 1) * all / (2 * probes);
            (probe ? result.probing : result.calibration)
                .push_back(std::move(windows[static_cast<std::size_t>(k)]));
            taken += probe ? 1 : 0;
        }
    }
    return result;
}

}  // namespace mpo

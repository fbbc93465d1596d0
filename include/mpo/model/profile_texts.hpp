// Texts of a profile: windows for the moments and others for the divergences, both spread over all of every text.
#pragma once

#include <cstddef>
#include <filesystem>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/calibration_texts.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/tokenizer.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo {

/// How texts are cut for a profile.
struct ProfileWindowsOptions {
    Index windows = 12;       // of every text, for the moments
    Index probe_windows = 2;  // of every text, for the divergences
    Index window = 512;       // tokens of each
};

/// What profile measures on.
struct ProfileWindows {
    std::vector<CalibrationWindow> calibration;  // for the moments
    std::vector<CalibrationWindow> probing;      // for the divergences; other windows
};

/// Spreads windows evenly over each text and takes every so manieth of them for the divergences.
///
/// texts    UTF-8 files, at least one
/// model    must know all tokens
/// throws   ArgumentError (a number below 1, a text too short for all its windows); as calibration_windows
[[nodiscard]] inline ProfileWindows profile_windows(const std::vector<std::filesystem::path>& texts,
                                                    const Tokenizer& tokenizer,
                                                    const TransformerConfig& model,
                                                    const ProfileWindowsOptions& options = {}) {
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

// Texts of a profile: windows for the moments and others for the divergences, both spread over all of every text.
#pragma once

#include <filesystem>
#include <vector>

#include "mpo/core/tensor.hpp"
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
[[nodiscard]] ProfileWindows profile_windows(const std::vector<std::filesystem::path>& texts,
                                             const Tokenizer& tokenizer,
                                             const TransformerConfig& model,
                                             const ProfileWindowsOptions& options = {});

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/profile_texts_inl.hpp"
#endif

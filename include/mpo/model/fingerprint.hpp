// Whether a model and its tokens are those that a state on the disk was made with.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mpo/io/fingerprint.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/checkpoint.hpp"

namespace mpo::detail {

/// Of names, types, shapes and bytes of all tensors, wherever they lie.
[[nodiscard]] std::string fingerprint(const Checkpoint& checkpoint);

/// The same, and of all that makes a decoder of them: the numbers of its configuration, and of a compressed checkpoint
/// mpo_config.json. Throws as transformer_config.
[[nodiscard]] std::string decoder_fingerprint(const Checkpoint& checkpoint);

/// Of the files of a folder, names and bytes. Throws FileError.
[[nodiscard]] std::string folder_fingerprint(const std::filesystem::path& folder);

/// Of the tokens and weights of windows.
[[nodiscard]] std::string fingerprint(const std::vector<CalibrationWindow>& windows);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/fingerprint_inl.hpp"
#endif

// Whether a model and its tokens are those that a state on the disk was made with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/checkpoint.hpp"

namespace mpo::detail {

/// FNV-1a over words of eight bytes, the last one padded: fast enough for a checkpoint.
class Fingerprint {
  public:
    void add(const void* data, std::size_t bytes);
    void add(const std::string& text) { add(text.data(), text.size()); }
    [[nodiscard]] std::string to_string() const;

  private:
    std::uint64_t hash_ = 0xcbf29ce484222325;
};

/// Of names, types, shapes and bytes of all tensors, wherever they lie.
[[nodiscard]] std::string fingerprint(const Checkpoint& checkpoint);

/// The same, and of all that makes a decoder of them: the numbers of its configuration, and of a compressed checkpoint
/// mpo_config.json. Throws as transformer_config.
[[nodiscard]] std::string decoder_fingerprint(const Checkpoint& checkpoint);

/// Of the tokens and weights of windows.
[[nodiscard]] std::string fingerprint(const std::vector<CalibrationWindow>& windows);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/fingerprint_inl.hpp"
#endif

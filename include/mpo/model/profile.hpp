// profile: how sensitive a decoder is to each of its linears. Every linear alone is replaced by its best low rank
// in the metric of its inputs (linalg/weighted_low_rank.hpp), at a few sizes, and three errors are measured:
//
//   weight      norm(W - A B) / norm(W)                                Frobenius
//   activation  sqrt(tr(E S E^T) / tr(W S W^T)), E = W - A B           of its outputs; of every rank
//   divergence  KLD(dense model | model with A B), nats per token     of what the whole model predicts
//
// The divergence is measured on other windows than the moments S. It begins with the dense states before the
// linear's layer, so that a probe costs the rest of the decoder. allocate.hpp makes ranks of it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/calibration_walk.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/compress_options.hpp"
#include "mpo/model/moments.hpp"
#include "mpo/model/profile_results.hpp"
#include "mpo/model/progress.hpp"

namespace mpo {

/// How a profile is made.
struct ProfileOptions {
    /// Shares of m n that are stored, ascending; 1 to 3.
    std::vector<double> sizes = {0.3, 0.6, 0.8};
    double sink_weight = default_sink_weight;  // of attention sinks in S
    CalibrationOptions calibration = {};       // sinks, and how weights are read
    /// A file that is kept layer by layer, and begun from; none where empty.
    std::filesystem::path state = {};
    ProgressCallback progress = {};  // hears of every linear, and may cancel
};

/// Throws ArgumentError where an option is outside its domain.
void validate(const ProfileOptions& options);

namespace detail {

/// norm(W - A) / norm(W), 0 for a W of zeros.
[[nodiscard]] double relative_distance(const Tensor<float>& W, const Tensor<float>& A);

/// The linears of the first `layers` layers, as the decoder has them.
[[nodiscard]] std::vector<std::string> linears_before(Index layers);

/// Takes over what a state file has. Throws FormatError, naming the file and what differs, where it belongs to
/// another profile.
void resume(Profile& profile, const std::filesystem::path& state, Index layers);

}  // namespace detail

/// Measures every linear of a decoder.
///
/// path          a checkpoint with dense weights
/// calibration   windows for the moments, 2 or more tokens each
/// probing       windows for the divergences, best not among those; their weights do not count
/// returns       made_by without a command line, texts empty
/// error         the standard error of a divergence is over its tokens, which are correlated: those of one window
///               are not independent
/// cost          per linear and size the layers from its own on and the head over all probing tokens; besides, that
///               of calibrate, and of weighted_spectrum for every linear. Memory: all dense weights, (tokens, vocab)
///               floats for the probing tokens, that of CalibrationWalk
/// throws        ArgumentError (options, windows); FormatError (the state is another profile's, or none); FileError;
///               NumericalError; Cancelled, layers that are complete being kept in the state; as the constructor of
///               Transformer
[[nodiscard]] Profile profile(const std::filesystem::path& path,
                              std::vector<CalibrationWindow> calibration,
                              std::vector<CalibrationWindow> probing, const ProfileOptions& options,
                              const EigenBackend& backend);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/profile_inl.hpp"
#endif

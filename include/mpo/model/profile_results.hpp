// What profile measured of a decoder: every linear alone, at a few sizes. allocation_items makes of it what
// allocate.hpp spreads a budget over.
#pragma once

#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/allocate.hpp"
#include "mpo/model/compress_options.hpp"
#include "mpo/model/evaluate_results.hpp"
#include "mpo/model/made_by.hpp"

namespace mpo {

/// A linear at one size.
struct ProfileProbe {
    double size = 0;              // as asked
    double share = 0;             // r (m + n - r) / (m n), at most size where rank 1 is so small
    Index rank = 0;               // r
    double weight_error = 0;      // norm(W - A B) / norm(W)
    double activation_error = 0;  // the same of the outputs
    Estimate kld = {};            // nats per token
};

/// A linear alone.
struct LinearProfile {
    std::string name;                  // of its module
    LinearKind kind = LinearKind::q;   // of the seven
    Index layer = 0;                   // its block
    Index rows = 0, cols = 0;          // m, n
    std::vector<double> losses;        // [r] of rank 0 .. min(m, n), relative: activation_error^2
    std::vector<ProfileProbe> probes;  // one per size
};

/// Windows that something was measured on.
struct ProfileText {
    Index windows = 0, tokens = 0;  // of all of them
    std::string fingerprint;        // of tokens and weights
};

/// What is known of every linear.
struct Profile {
    std::string model;                   // its path, as given
    std::string fingerprint;             // of its tensors
    MadeBy made_by;                      // the command line is its caller's
    std::vector<std::string> texts;      // their files; its caller's
    ProfileText calibration;             // of the moments
    ProfileText probing;                 // of the divergences
    std::vector<double> sizes;           // of the probes
    double sink_weight = 0;              // of attention sinks in S
    double sink_factor = 0;              // see CalibrationOptions
    double reader_sink_weight = 0;       // see CalibrationOptions
    std::string precision;               // of dense weights: "as_stored", "f32" or "bf16"
    double seconds = 0;                  // of all runs that it took
    std::vector<LinearProfile> linears;  // in the decoder's order; whole layers
};

/// r (m + n - r) / (m n): the numbers of a rank, of those of the dense weight.
[[nodiscard]] inline double stored_share(Index m, Index n, Index rank) {
    return static_cast<double>(rank * (m + n - rank)) / static_cast<double>(m * n);
}

/// The largest rank whose r (m + n - r) numbers are at most `share` of m n; at least 1.
[[nodiscard]] Index rank_of_share(Index m, Index n, double share);

/// The linears as allocate wants them: with the loss of every rank, and the measured divergences as damage. Probes
/// that lose nothing, and divergences of 0, are no points; a linear without any does no damage.
[[nodiscard]] std::vector<AllocationItem> allocation_items(const Profile& profile);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/profile_results_inl.hpp"
#endif

// From a profile to the shares of a calibrated compression: the budget of all linears, spread by what each of them
// means to the model.
#pragma once

#include <limits>
#include <map>
#include <string>
#include <unordered_map>

#include "mpo/model/checkpoint.hpp"
#include "mpo/model/profile.hpp"
#include "mpo/model/profile_results.hpp"

namespace mpo {

/// Shares for CompressCalibration: those of allocate, with the profile's divergences as damage.
///
/// profile    of this very checkpoint; of other linears nothing is read
/// source     dense; all its bytes are read, for its fingerprint
/// options    budget, of the numbers of all linears that are to be compressed, or budget_bytes, of which room for pivots is
///            left; only, skip, dtype
/// floor, max_flops_ratio   see AllocateOptions; the second that of the compression, or shares are given of which low rank,
///            whose losses the profile has, cannot use all
/// returns    one share per linear, in (0, 1]; 1: it stays dense
/// throws     ArgumentError (a profile of another model, a linear that it does not know, no budget); as allocate
[[nodiscard]] std::map<std::string, double> profile_shares(
    const Profile& profile, const Checkpoint& source, const CompressOptions& options,
    double floor = 0.5, double max_flops_ratio = std::numeric_limits<double>::infinity());

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/profile_shares_inl.hpp"
#endif

// The spectrum of a bond as a report keeps it: few points, each with the error of stopping there.
#pragma once

#include <vector>

#include "mpo/linalg/truncation.hpp"

namespace mpo {

/// One rank of a spectrum.
struct SpectrumPoint {
    Index rank = 0;             // 1 for the largest singular value
    double singular_value = 0;  // the rank-th
    double relative_error = 0;  // what the bond would lose of norm(W) if it kept `rank` values
};

/// One inner bond.
struct SpectrumReport {
    Index bond_dim = 0;                       // kept
    Index useful_bond_dim = 0;                // more can hold no information
    Index num_computed = 0;                   // singular values that the factorisation knew
    BindingLimit limit = BindingLimit::none;  // which limit was felt
    double discarded_weight = 0;        // dropped sigma^2 / norm(W)^2, relative_error^2 at bond_dim
    std::vector<SpectrumPoint> points;  // at sampled_ranks(num_computed, bond_dim)
};

/// Most points of a SpectrumReport.
inline constexpr Index max_spectrum_points = 32;

/// The ranks of 1 .. count that a report keeps, ascending: all where there are at most 31, else
/// 1 + (count - 1) (j / 30)^2, rounded, j = 0 .. 30 (dense where spectra are steep); and `chosen`.
[[nodiscard]] std::vector<Index> sampled_ranks(Index count, Index chosen);

/// Samples the spectrum of a bond, given norm(W) of its matrix. The errors are of the orthonormal
/// basis that was computed: the best possible ones where the factorisation was exact.
[[nodiscard]] SpectrumReport spectrum_report(const BondSpectrum& bond, double norm);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/spectrum_report_inl.hpp"
#endif

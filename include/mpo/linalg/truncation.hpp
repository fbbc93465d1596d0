// How many singular values to keep at a bond: arithmetic on numbers, no matrices.
//
// A tolerance is relative, Frobenius, and holds for the whole MPO: norm(W - W') <= eps norm(W).
// Sequential SVDs lose orthogonal pieces, so norm(W - W')^2 is the sum over bonds of what each
// dropped (Oseledets, SIAM J. Sci. Comput. 33 (2011), Thm 2.2); each bond may spend an equal share
// of what its predecessors left of eps^2 norm(W)^2. The bond cap comes after the tolerance.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// What may be lost. Both members at their defaults: nothing is truncated.
struct Truncation {
    Index max_bond_dim = (std::numeric_limits<Index>::max)();  // cap at every bond; >= 1
    double max_relative_error = 0;                             // whole MPO, Frobenius; >= 0
};

/// Which of the two limits decided a bond's dimension.
enum class BindingLimit {
    none,       // full rank kept: neither limit was felt
    tolerance,  // the tolerance allowed this few
    bond_cap,   // the tolerance would have kept more
};

/// "bond_cap" for BindingLimit::bond_cap.
[[nodiscard]] inline std::string_view to_string(BindingLimit limit) {
    constexpr std::string_view names[] = {"none", "tolerance", "bond_cap"};
    return names[static_cast<int>(limit)];
}

/// What is known of one bond after truncation.
struct BondSpectrum {
    Index bond_dim = 0;         // kept
    Index useful_bond_dim = 0;  // min of the two sides: more can hold no information
    std::vector<double>
        singular_values;          // as computed, descending: all of them, or the leading ones
    double discarded_weight = 0;  // dropped sigma^2 / norm(W)^2; bonds add up to relative_error^2
    BindingLimit limit = BindingLimit::none;  // which limit was felt
};

/// Throws ArgumentError, naming `who`, unless max_bond_dim >= 1 and max_relative_error is in [0,
/// inf).
inline void validate(const Truncation& truncation, std::string_view who) {
    if (truncation.max_bond_dim < 1)
        detail::raise<ArgumentError>(
            {who, ": max_bond_dim must be at least 1, got ", truncation.max_bond_dim});
    const double eps = truncation.max_relative_error;
    if (!(eps >= 0) || !std::isfinite(eps))
        detail::raise<ArgumentError>(
            {who, ": max_relative_error must be finite and >= 0, got ", eps});
}

/// How many values were kept, what was dropped and why.
struct BondChoice {
    Index bond_dim = 0;                       // kept
    double discarded_squared = 0;             // absolute
    BindingLimit limit = BindingLimit::none;  // which limit was felt
};

/// Smallest count whose dropped sum of squares stays within `allowed_squared`, then the cap; at
/// least 1.
///
/// singular_values    descending, >= 0, non-empty
/// tail_squared       sum of squares of values that were not computed (0 where all are given)
/// allowed_squared    absolute loss this bond may cause
/// max_bond_dim       the cap, >= 1
/// The tail is added up from its small end, so nothing is lost to rounding.
[[nodiscard]] inline BondChoice choose_bond_dim(const std::vector<double>& singular_values,
                                                double tail_squared, double allowed_squared,
                                                Index max_bond_dim) {
    Index keep = static_cast<Index>(singular_values.size());
    const Index available = keep;
    double dropped = tail_squared;
    while (keep > 1) {
        const double sigma = singular_values[static_cast<std::size_t>(keep - 1)];
        if (!(dropped + sigma * sigma <= allowed_squared)) break;  // so that NaN is never dropped
        dropped += sigma * sigma;
        --keep;
    }
    BondChoice choice{keep, dropped,
                      keep < available ? BindingLimit::tolerance : BindingLimit::none};
    for (; choice.bond_dim > max_bond_dim; --choice.bond_dim) {
        const double sigma = singular_values[static_cast<std::size_t>(choice.bond_dim - 1)];
        choice.discarded_squared += sigma * sigma;
        choice.limit = BindingLimit::bond_cap;
    }
    return choice;
}

}  // namespace mpo

// What a fit is told, and what it says of itself.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "mpo/network/layout.hpp"

namespace mpo {

/// How the linear system of a core is solved.
enum class FitSolver {
    automatic,  // direct where that is estimated to be faster and its matrices stay small
    direct,     // H is formed and factorised
    iterative,  // H is only applied
};

/// The chain that a fit begins with.
enum class FitStart {
    plain,     // TT-SVD of W
    whitened,  // TT-SVD in a product metric near S, see fit_start.hpp
};

/// Legs, bonds, and how long to go on.
struct FitOptions {
    Layout layout = {};  // out legs multiply up to rows of W, in legs to its columns
    Index max_bond_dim = (std::numeric_limits<Index>::max)();  // clipped to the useful maximum
    FitStart start = FitStart::whitened;                       // where no chain is given
    /// Added to the diagonal of S, relative to its mean: what keeps A near W in directions that S does not
    /// know. 0: nothing does, and A may grow there.
    double ridge = 1e-6;
    Index max_sweeps = 8;    // forth and back; 0: the start as it is
    double min_gain = 2e-3;  // sweeps end where one lowers the loss by less, relative to it
    FitSolver solver = FitSolver::automatic;  // of every core
    Index max_direct = 4096;                  // unknowns of a system that is factorised
    Index max_iterations = 40;                // of one system that is not
    std::uint64_t seed = 1;                   // of randomized factorisations in the start
};

/// What a fit reached, and how.
struct FitReport {
    double loss = 0;   // tr((W - A) S (W - A)^H), with the ridge, measured on the cores returned
    double total = 0;  // tr(W S W^H), with the ridge: the loss of A = 0
    std::vector<double> losses = {};      // of the start and after every sweep; never rising
    std::vector<FitSolver> solvers = {};  // of every site, in the last sweep
    Index iterations = 0;                 // of conjugate gradients, all sites and sweeps
    bool converged = false;               // the last sweep gained less than min_gain

    /// loss / total; 0 where both are.
    [[nodiscard]] double relative_loss() const { return total > 0 ? loss / total : 0; }
};

namespace detail {

inline void validate(const FitOptions& options) {
    if (options.max_bond_dim < 1)
        raise<ArgumentError>({"fit: max_bond_dim must be at least 1, got ", options.max_bond_dim});
    if (options.max_sweeps < 0 || options.max_iterations < 1 || options.max_direct < 0)
        raise<ArgumentError>(
            {"fit: need max_sweeps >= 0, max_iterations >= 1 and max_direct >= 0, got ",
             options.max_sweeps, ", ", options.max_iterations, " and ", options.max_direct});
    if (!(options.ridge >= 0) || !std::isfinite(options.ridge))
        raise<ArgumentError>({"fit: ridge must be finite and at least 0, got ", options.ridge});
    if (!(options.min_gain >= 0))
        raise<ArgumentError>({"fit: min_gain must be at least 0, got ", options.min_gain});
}

}  // namespace detail
}  // namespace mpo

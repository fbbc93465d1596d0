// What it costs to apply an MPO to a batch, form by form, without applying it: every way that a plan may
// choose, priced in seconds by a MachineTable. Integers and a table, no tensors.
//
//   sweep   cores one after another, neighbours merged first or not      network/sweep.hpp
//   tiles   a few rows of W at a time, made and multiplied while in cache  network/tiles.hpp
//   dense   W made once and kept, then one product
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mpo/network/layout.hpp"
#include "mpo/network/machine_table.hpp"
#include "mpo/network/sweep.hpp"

namespace mpo {

/// How a plan applies its matrix.
enum class PlanForm { sweep, tiles, dense };

/// "sweep", "tiles" or "dense".
[[nodiscard]] std::string_view to_string(PlanForm form);

/// One way to apply an MPO.
struct PlanCandidate {
    PlanForm form = PlanForm::sweep;                           // what is multiplied
    SweepDirection direction = SweepDirection::right_to_left;  // of a sweep
    Shape groups = {};          // sites that become one, for every factor that remains
    double multiply_adds = 0;   // for one token of this batch
    double seconds = 0;         // predicted, for the whole batch
    Index factor_bytes = 0;     // of what the plan keeps: cores, merged cores, or W
    Index added_bytes = 0;      // of it, what counts against the limit: more than the cores take
    Index workspace_bytes = 0;  // intermediates of one apply, all threads together, at least
    bool admissible = true;     // within the options
};

/// What the candidates are priced for.
struct PlanQuestion {
    Index batch = 1;                // tokens
    Index element_size = 4;         // bytes of the scalar
    Index max_workspace_bytes = 0;  // of intermediates and of what merging adds to the cores
    bool dense_cache = false;       // may W be kept?
    bool merge = true;              // may neighbours be merged?
    bool gradient = false;          // is every apply followed by its gradient?
    SweepDirection direction = SweepDirection::automatic;  // of sweeps; automatic: both
};

/// Every way to apply an MPO of this layout and these bonds, the fastest admissible one first, the
/// others behind it by predicted time.
///
/// groups of neighbours that become one are tried in every way up to 8 sites, beyond that only none and
/// all; tiles at every cut
/// cost     2^(N-1) ways of N steps: microseconds for 2 sites
/// throws   as require_bonds
[[nodiscard]] std::vector<PlanCandidate> plan_candidates(const Layout& layout, const Shape& bonds,
                                                         const PlanQuestion& question,
                                                         const MachineTable& table);

/// What cheapest_layout finds.
struct CheaperLayout {
    Layout layout;       // its legs
    Index bond_dim = 0;  // of its bond
    double seconds = 0;  // predicted, for the batch
};
/// Of plain low rank and the opposed layouts of an m x n matrix the one that would be applied fastest,
/// with bonds such that it has at most `parameters`; bond_dim = 0 where none fits. Throws ArgumentError
/// for a side below 1.
[[nodiscard]] CheaperLayout cheapest_layout(Index m, Index n, Index parameters,
                                            const PlanQuestion& question,
                                            const MachineTable& table);

/// The candidates of a chain of this layout and these bonds as a table of text: form, multiply-adds,
/// prediction, bytes, what rules it out.
[[nodiscard]] std::string explain_candidates(const std::vector<PlanCandidate>& candidates,
                                             const Layout& layout, const Shape& bonds,
                                             const PlanQuestion& question,
                                             const MachineTable& table);

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/plan_cost_inl.hpp"
#endif

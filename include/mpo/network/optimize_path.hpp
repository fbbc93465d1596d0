// The cheapest order in which to contract a network of tensors. Up to 14 tensors the best one of all, by
// dynamic programming over subsets (Pfeifer, Haegeman, Verstraete, Phys. Rev. E 90 (2014)), outer products
// included, 3^n steps. Beyond: greedy, many times with seeded noise (Gray, Kourtis, Quantum 5 (2021)),
// the best one kept. Where the intermediates exceed the limit, summed legs are sliced: fixed to one
// value after the other, and the results added up.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "mpo/core/random.hpp"
#include "mpo/network/path.hpp"

namespace mpo {

/// What a path has to keep to, and how hard to look.
struct PathOptions {
    double max_peak_elements = std::numeric_limits<double>::infinity();  // >= size of the result
    Index max_optimal = 14;  // tensors up to which the best order is found; at most 16
    Index trials = 64;       // greedy: how many orders are tried; >= 1
    std::uint64_t seed = 1;  // greedy
};

/// The cheapest order of pairwise contractions.
///
/// network  any: hyperedges (a leg of three tensors), traces, scalars, parts that do not touch
/// returns  n - 1 steps, and the legs to slice where the limit asks for it
/// error    up to max_optimal tensors fewest multiply-adds of all orders whose peak fits; beyond, the
///          best of `trials` greedy ones. The same seed gives the same path
/// cost     3^n, times the number of useful trees under a limit; greedy n^2 log n a trial
/// throws   ArgumentError (a leg that does not exist, an extent below 1, options, a limit below the
///          size of the result or that no slicing of summed legs keeps)
[[nodiscard]] ContractionPath optimize_path(const LegNetwork& network,
                                            const PathOptions& options = {});

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/optimize_path_inl.hpp"
#endif

// An order in which a network of tensors is contracted, two at a time, and what it costs. Legs and
// extents only, no tensors.
//
//   multiply-adds of a step = product of the extents of all legs that its two tensors have
//
// A leg that two tensors have and the result has not is summed over when they meet; a leg of three or
// more tensors (a batch leg, or a copy tensor) when the last two meet; an open leg never.
#pragma once

#include <vector>

#include "mpo/core/random.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo {

/// Which legs meet where: leg l has extent extents[l].
struct LegNetwork {
    std::vector<std::vector<Index>> tensors =
        {};                        // the legs of each; a leg twice in one is a trace
    Shape extents = {};            // of every leg, >= 1
    std::vector<Index> open = {};  // legs of the result; all others are summed over
};

/// One pairwise contraction. Inputs are 0 .. n-1, the result of step k is n + k.
struct ContractionStep {
    Index left = 0;   // is consumed
    Index right = 0;  // is consumed
    /// The same tensors, in the same order.
    friend bool operator==(const ContractionStep&, const ContractionStep&) = default;
};

/// An order, and the legs that are fixed to one value at a time around all of it.
struct ContractionPath {
    std::vector<ContractionStep> steps = {};  // n - 1 of them
    std::vector<Index> sliced = {};           // legs; the steps run once for every value of these
};

/// What a path costs, all slices together. Exact up to 2^53.
struct ContractionCost {
    double multiply_adds =
        0;  // of all steps, and one per element where legs of one tensor are summed
    double peak_elements = 0;   // intermediates alive at once (inputs not counted, the result is)
    double elements_moved = 0;  // read and written by all steps
    double num_slices = 1;      // how often the steps run
};

namespace detail {

/// Throws ArgumentError, naming `who`, where a network makes no sense.
void validate(const LegNetwork& network, const char* who);

}  // namespace detail

/// Cost of a path. `steps` must consume every tensor once. Throws ArgumentError where they do not.
[[nodiscard]] ContractionCost contraction_cost(const LegNetwork& network,
                                               const ContractionPath& path);

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/path_inl.hpp"
#endif

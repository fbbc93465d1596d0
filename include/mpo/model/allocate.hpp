// One budget for all linears: which rank each of them gets. Integers and doubles only, no tensors.
//
//   minimise  sum over l of damage_l(loss_l(r_l))     where  sum over l of cost_l(r_l) <= budget,
//
// r_l a rank, or the dense weight, which costs m n and does no damage. For a price per unit of cost every linear
// chooses on its own ([everett1963], [shoham1988]); what it may choose are the corners of the lower convex
// hull of its (cost, damage), and falling prices take the edges of all hulls in the order of their slope. That
// is done until an edge does not fit; the rest of the budget is spent on what gains most per cost and still
// fits. Without the last step the damage is at most one edge above the optimum, and `bound` says how far.
//
// Predicted damage is a model: where it is trusted alone, linears that look harmless are taken to pieces.
// Every linear keeps a floor, a part of the share that all would have in common.
#pragma once

#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/damage.hpp"

namespace mpo {

/// What a budget counts.
enum class BudgetUnit {
    parameters,  // r (m + n - r), the numbers of A B without those that the gauge fixes; dense m n
    bytes,       // the same times the bits of a number, over 8 and rounded up
    multiply_adds  // per token: r (m + n); dense m n
};

/// "multiply_adds" for BudgetUnit::multiply_adds.
[[nodiscard]] std::string_view to_string(BudgetUnit unit);

/// A linear that waits for its rank.
struct AllocationItem {
    std::string name;            // of its module
    Index rows = 0, cols = 0;    // m, n >= 1
    std::vector<double> losses;  // [r] for r = 0 .. min(m, n), of any scale: WeightedSpectrum's
    DamageCurve damage;          // of losses[r] / losses[0]
};

/// How the budget is spread.
struct AllocateOptions {
    BudgetUnit unit = BudgetUnit::parameters;  // of the budget
    double floor = 0.5;      // of the share that all linears have in common, 0 .. 1
    double cap = 1;          // of the cost of the dense weight, (0, 1]; below 1 nothing stays dense
    Index dense_bits = 16;   // of a number of a dense weight, where bytes are counted; 1 .. 64
    Index factor_bits = 16;  // of a number of the factors
    /// Multiply-adds of low rank per token relative to m n, above 0, whatever the unit: larger ranks are not chosen, and
    /// below 1 nothing stays dense.
    double max_flops_ratio = std::numeric_limits<double>::infinity();
};

/// What a linear got.
struct AllocatedLinear {
    std::string name;   // of its module
    bool dense = true;  // it stays as it is
    Index rank = 0;     // of the low rank; of a dense one min(m, n)
    double share = 1;   // r (m + n - r) / (m n), whatever the unit; 1: dense
    Index cost = 0;     // in the unit of the budget
    double loss = 0;    // losses[rank] / losses[0]
    double damage = 0;  // predicted
};

/// The whole spread.
struct Allocation {
    std::vector<AllocatedLinear> linears;  // in the order of the items
    Index cost = 0, budget = 0;            // cost <= budget
    double damage = 0;                     // sum over all linears
    double bound = 0;  // no spread with these floors has less damage: from the dual problem
    double price =
        0;  // damage that one more unit of the budget saves; 0 where nothing is left to save
};

/// Throws ArgumentError where an option is outside its domain.
void validate(const AllocateOptions& options);

/// Spreads a budget over linears, so that the sum of their predicted damages is small.
///
/// items    at least one; losses never grow with the rank
/// budget   in options.unit, for all of them together, at least their floors. The floor of a linear is the
///          largest rank that costs no more than floor * budget / (cost of all dense) of its dense weight,
///          and at least rank 1
/// returns  never more than the budget; everything dense (at the cap, at max_flops_ratio) where it suffices for that
/// error    damage - bound is at most that of one edge of a hull: on smooth curves one rank of one linear.
///          Equal linears of a convex damage get equal ranks but for what the rest buys, at most 2
/// cost     one damage per rank of every linear, and a pass over them for every rank that is behind the
///          last price
/// throws   ArgumentError (options, no items, a budget below the floors, lengths, overflow), ShapeError,
///          NumericalError (losses)
[[nodiscard]] Allocation allocate(const std::vector<AllocationItem>& items, Index budget,
                                  const AllocateOptions& options = {});

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/allocate_inl.hpp"
#endif

// Layout: how the two sides of a matrix split into legs. Integers only, every product checked.
//
//   W[(o1 .. oN), (i1 .. iN)],   rows = out[0] * .. * out[N-1],   cols = in[0] * .. * in[N-1]
//
// The first leg is the slowest; legs of size 1 are allowed, so plain low rank is the layout
// (m, 1), (1, n). Bonds are given as the N+1 numbers D[0] .. D[N] with D[0] = D[N] = 1.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// Legs of every site: equally many on both sides, 1 to 12, each at least 1.
struct Layout {
    Shape out;  // out[k], k = 0 .. N-1; their product is the number of rows
    Shape in;   // in[k]; their product is the number of columns

    /// Equal legs on both sides.
    friend bool operator==(const Layout&, const Layout&) = default;
};

/// Longest chain.
inline constexpr Index max_num_sites = 12;

/// N, the number of out legs.
[[nodiscard]] inline Index num_sites(const Layout& layout) {
    return static_cast<Index>(layout.out.size());
}

/// Product of the out legs. Throws ShapeError on overflow.
[[nodiscard]] inline Index rows(const Layout& layout) {
    return num_elements(layout.out);
}

/// Product of the in legs. Throws ShapeError on overflow.
[[nodiscard]] inline Index cols(const Layout& layout) {
    return num_elements(layout.in);
}

namespace detail {

/// a b for a, b >= 0. Throws ShapeError where an index cannot hold it.
[[nodiscard]] Index checked_multiply(Index a, Index b);

/// a + b for a, b >= 0. Throws ShapeError where an index cannot hold it.
[[nodiscard]] Index checked_add(Index a, Index b);

/// Every divisor of n >= 1, ascending. O(sqrt(n)).
[[nodiscard]] Shape divisors(Index n);

void require_matrix(Index m, Index n, std::string_view who);

void require_sites(Index sites, std::string_view who);

}  // namespace detail

/// "64x64 : 64x64", out legs first.
[[nodiscard]] std::string to_string(const Layout& layout);

/// Throws ShapeError where the two sides have different numbers of legs, ArgumentError where there
/// are not 1 to 12 of them or one is below 1. `who` opens the message.
void validate(const Layout& layout, std::string_view who);

/// The same, and the legs must multiply up to a rows x cols matrix W (ShapeError).
void validate(const Layout& layout, Index num_rows, Index num_cols, std::string_view who);

/// The sites in the opposite order: right-to-left costs become left-to-right costs.
[[nodiscard]] inline Layout mirrored(const Layout& layout) {
    return {{layout.out.rbegin(), layout.out.rend()}, {layout.in.rbegin(), layout.in.rend()}};
}

/// The layout of W^T.
[[nodiscard]] inline Layout transposed(const Layout& layout) {
    return {layout.in, layout.out};
}

// -- bonds --------------------------------------------------------------------------------------

/// D[k] = min(prod_{j<k} out[j] in[j], prod_{j>=k} out[j] in[j]), k = 0 .. N: a larger bond holds
/// no more information. Throws ShapeError where rows * cols overflows.
[[nodiscard]] Shape useful_bond_dims(const Layout& layout);

/// One cap for all bonds, clipped at each to the useful maximum. Throws ArgumentError below 1.
[[nodiscard]] Shape uniform_bonds(const Layout& layout, Index cap);

namespace detail {

void require_bonds(const Layout& layout, const Shape& bonds, std::string_view who);

}  // namespace detail

/// Sum over k of D[k] out[k] in[k] D[k+1]. Throws as validate, and ShapeError on overflow.
[[nodiscard]] Index num_parameters(const Layout& layout, const Shape& bonds);

/// How the cores of a chain are stored.
enum class StoredAs {
    cores,        // every number of them
    gauge_fixed,  // without an identity block per inner bond, see network/stored_form.hpp
};

/// "gauge_fixed" for StoredAs::gauge_fixed.
[[nodiscard]] inline std::string_view to_string(StoredAs stored_as) {
    constexpr std::string_view names[] = {"cores", "gauge_fixed"};
    return names[static_cast<int>(stored_as)];
}

/// The bonds that are left where each is lowered to what both of its cores support:
/// D[k] <= D[k-1] out[k-1] in[k-1] and D[k] <= out[k] in[k] D[k+1]. W loses nothing; those of
/// uniform_bonds stay as they are. Throws as validate, and ShapeError on overflow.
[[nodiscard]] Shape supported_bonds(const Layout& layout, const Shape& bonds);

/// Numbers that gauge-fixed storage keeps: num_parameters minus the sum of D[k]^2 over the inner
/// bonds, both of supported_bonds. Two sites take D (p + q - D), p and q the sides of the unfolding.
/// It is the dimension of the set of matrices with these bonds, so that it grows with each bond and
/// never exceeds rows times cols. Throws as num_parameters.
/// Source: Holtz, Rohwedder & Schneider, Numer. Math. 120 (2012).
[[nodiscard]] Index num_stored(const Layout& layout, const Shape& bonds);

/// The same for either way to store: num_parameters where all numbers are kept.
[[nodiscard]] Index num_stored(const Layout& layout, const Shape& bonds, StoredAs stored_as);

/// What num_stored grows by where D[k] grows by one: D[k-1] out[k-1] in[k-1] + out[k] in[k] D[k+1] -
/// 2 D[k] - 1, of supported bonds; 0 where a neighbour does not support the larger bond. Throws as
/// num_stored, and ArgumentError unless k is an inner bond, 1 .. N-1.
[[nodiscard]] Index price_of_bond(const Layout& layout, const Shape& bonds, Index k);

/// Multiply-adds for one token when the last core is applied first:
/// sum over k of (prod_{j<k} in[j]) (in[k] D[k+1]) (out[k] D[k]) (prod_{j>k} out[j]).
/// Source: Novikov et al., Tensorizing Neural Networks, NIPS 2015, section 4.
[[nodiscard]] Index multiply_adds_right_to_left(const Layout& layout, const Shape& bonds);

/// Multiply-adds for one token when the first core is applied first: the cost of the mirror image.
[[nodiscard]] Index multiply_adds_left_to_right(const Layout& layout, const Shape& bonds);

/// Largest uniform cap whose stored numbers (bonds clipped to the useful maximum) fit the budget;
/// 0 where even bonds of 1 do not. A result of max(useful_bond_dims) means nothing need be dropped.
///
/// layout             the legs
/// parameter_budget   numbers that may be stored
/// stored_as          what is counted: num_parameters or num_stored
[[nodiscard]] Index max_uniform_bond(const Layout& layout, Index parameter_budget,
                                     StoredAs stored_as = StoredAs::cores);

namespace detail {

/// Largest uniform cap that `fits`, which a larger one does only where this one does; 0 where none does.
template <class Fits>
[[nodiscard]] Index largest_uniform_bond(const Layout& layout, const Fits& fits) {
    const Shape useful = useful_bond_dims(layout);
    Index known = 0, above = *std::max_element(useful.begin(), useful.end()) + 1;
    while (above - known > 1) {  // known: fits or 0; above: too large, or beyond all use
        const Index cap = known + (above - known) / 2;
        (fits(cap) ? known : above) = cap;
    }
    return known;
}

}  // namespace detail

// -- makers -------------------------------------------------------------------------------------

/// W = U V: (m, 1), (1, n). Throws ArgumentError for a side below 1.
[[nodiscard]] Layout low_rank_layout(Index m, Index n);

/// out (m/f, f), in (f, n/f): the unfolding of a balanced layout of the same p and q at a fraction
/// of the multiply-adds, right to left. Its mirror image (see mirrored) does the same, left to
/// right. nullopt where f divides not both sides. Throws ArgumentError for a side or f below 1.
[[nodiscard]] std::optional<Layout> opposed_layout(Index m, Index n, Index f);

/// The layout with the fewest parameters per unit of bond: minimises sum over k of out[k] in[k]
/// (their product is m n, so they come out nearly equal), then the sum of the legs (so that out and
/// in are nearly equal too), then prefers large legs first. 4096 x 4096 on 3 sites: 16x16x16 :
/// 16x16x16. Throws ArgumentError for a side below 1 or not 1 to 12 sites, ShapeError where m n
/// overflows.
[[nodiscard]] Layout balanced_layout(Index m, Index n, Index sites);

/// Most layouts that enumerate_layouts lists.
inline constexpr Index max_enumerated_layouts = 1'000'000;

/// All factorisations of m and n over the sites, size-1 legs included, in lexicographic order.
/// Throws ArgumentError for a side below 1, not 1 to 12 sites, or more than a million layouts.
[[nodiscard]] std::vector<Layout> enumerate_layouts(Index m, Index n, Index sites);

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/layout_inl.hpp"
#endif

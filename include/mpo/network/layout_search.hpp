// Which layouts are worth trying for a matrix, and how far the bonds of each may go under a limit on
// parameters and one on multiply-adds. Integers only: a search prices hundreds of layouts before it
// looks at one number of W.
#pragma once

#include <limits>
#include <optional>
#include <vector>

#include "mpo/network/layout.hpp"

namespace mpo {

/// What a layout may cost.
struct LayoutLimits {
    Index max_parameters = (std::numeric_limits<Index>::max)();     // of all cores together
    Index max_multiply_adds = (std::numeric_limits<Index>::max)();  // per token, cheaper direction
    StoredAs stored_as = StoredAs::cores;                           // what counts as a parameter
};

/// A layout with the bonds that its limits allow.
struct PricedLayout {
    Layout layout;            // the legs
    Index max_bond_dim = 0;   // the cap; 0 where even bonds of 1 break a limit
    Shape bonds;              // that cap at every bond, clipped to the useful maximum; at least 1
    Index parameters = 0;     // of these bonds, as they are stored
    Index multiply_adds = 0;  // per token, cheaper direction
};

/// Multiply-adds per token of the cheaper of the two sweeps. Throws as multiply_adds_right_to_left.
///
/// layout   the legs
/// bonds    D[0] .. D[N]
[[nodiscard]] Index multiply_adds_of_best_sweep(const Layout& layout, const Shape& bonds);

/// The largest uniform bond cap within both limits and what it costs; the cost of bonds of 1 where
/// none is.
///
/// layout   the legs
/// limits   both grow with the bonds, so the cap is found by bisection
/// throws   as validate; ShapeError where a cost is more than an index holds
[[nodiscard]] PricedLayout price_layout(const Layout& layout, const LayoutLimits& limits);

/// out (m/f^(N-1), f, .., f), in (f, .., f, n/f^(N-1)): opposed_layout for any number of sites, cheap
/// right to left; its mirror image is cheap left to right. nullopt where f^(N-1) divides not both.
///
/// m, n     sides of W, at least 1
/// f        the short leg, at least 1
/// sites    N, 2 to 12
/// throws   ArgumentError for arguments outside of these
[[nodiscard]] std::optional<Layout> opposed_layout(Index m, Index n, Index f, Index sites);

/// The layouts that `tensorize` considers, the most promising first, none twice:
///   1. plain low rank
///   2. opposed legs on two sites, every short leg f, each followed by its mirror image: the bond
///      joins other rows and columns of W then, so the error differs and the cost does not
///   3. balanced legs on 2 .. max_sites sites and their mirror images
///   4. opposed legs on 3 .. max_sites sites and their mirror images
///   5. every other split of both sides over two sites, legs of size 1 among them, those first that
///      cost the fewest multiply-adds per unit of bond
/// Left out: sites with both legs 1, which hold nothing, and (1, m), (n, 1), which is low rank again.
///
/// m, n        sides of W, at least 1
/// max_sites   2 to 12
/// throws      ArgumentError for arguments outside of these, ShapeError where m n overflows
[[nodiscard]] std::vector<Layout> search_layouts(Index m, Index n, Index max_sites);

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/layout_search_inl.hpp"
#endif

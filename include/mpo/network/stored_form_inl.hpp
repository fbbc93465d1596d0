// Bodies of network/stored_form.hpp.
#pragma once

#include <cstddef>

#include "mpo/core/inline.hpp"
#include "mpo/network/layout_inl.hpp"
#include "mpo/network/stored_form.hpp"

namespace mpo {

MPO_DETAIL_INLINE Shape stored_core_shape(const Layout& layout, const Shape& bonds, Index center,
                                          Index k) {
    detail::require_bonds(layout, bonds, "stored_core_shape");
    const Index sites = num_sites(layout);
    if (center < 0 || center >= sites || k < 0 || k >= sites)
        detail::raise<ArgumentError>({"stored_core_shape: the centre and the core of ", sites,
                                      " sites must be in 0..", sites - 1, ", got ", center, " and ",
                                      k});
    const auto at = static_cast<std::size_t>(k);
    Shape whole{bonds[at], layout.out[at], layout.in[at], bonds[at + 1]};
    const Index size = num_elements(whole);
    if (k == center) return whole;
    const Index bond = k < center ? bonds[at + 1] : bonds[at];
    const Index rows = size / bond;
    if (rows < bond)
        detail::raise<ShapeError>({"stored_core_shape: core ", k, " of shape ", to_string(whole),
                                   " has no room for the identity of bond ",
                                   k < center ? k + 1 : k});
    return k < center ? Shape{rows - bond, bond} : Shape{bond, rows - bond};
}

MPO_DETAIL_INLINE Index largest_core(const Layout& layout, const Shape& bonds) {
    detail::require_bonds(layout, bonds, "largest_core");
    Index largest = 0, most = 0;
    for (Index k = 0; k < num_sites(layout); ++k) {
        const auto at = static_cast<std::size_t>(k);
        const Index size = num_elements({bonds[at], layout.out[at], layout.in[at], bonds[at + 1]});
        if (size <= most) continue;
        most = size;
        largest = k;
    }
    return largest;
}

MPO_DETAIL_INLINE Index pivot_rows(const Layout& layout, const Shape& bonds, Index center,
                                   Index k) {
    if (k < 1 || k >= num_sites(layout))
        detail::raise<ArgumentError>({"pivot_rows: an inner bond of ", num_sites(layout),
                                      " sites is one of 1..", num_sites(layout) - 1, ", got ", k});
    const bool left = k <= center;  // the identity is in core k - 1, else in core k
    const Shape shape = stored_core_shape(layout, bonds, center, left ? k - 1 : k);
    return bonds[static_cast<std::size_t>(k)] + shape[left ? 0 : 1];
}

namespace detail {

MPO_DETAIL_INLINE void require_pivots(const Shape& pivots, Index count, Index rows, Index bond) {
    if (static_cast<Index>(pivots.size()) != count)
        raise<ArgumentError>({"bond ", bond, " must have ", count, " pivots, got ", pivots.size()});
    Index previous = -1;
    for (const Index pivot : pivots) {
        if (pivot <= previous || pivot >= rows)
            raise<ArgumentError>({"the pivots of bond ", bond, " must ascend and lie in 0..",
                                  rows - 1, ", got ", pivot, " behind ", previous});
        previous = pivot;
    }
}

MPO_DETAIL_INLINE Shape rows_between(const Shape& pivots, Index rows) {
    Shape others;
    others.reserve(static_cast<std::size_t>(rows) - pivots.size());
    auto next = pivots.begin();
    for (Index row = 0; row < rows; ++row) {
        if (next != pivots.end() && *next == row)
            ++next;
        else
            others.push_back(row);
    }
    return others;
}

}  // namespace detail
}  // namespace mpo

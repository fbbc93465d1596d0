// Bodies of network/layout_search.hpp.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/network/layout_inl.hpp"
#include "mpo/network/layout_search.hpp"

namespace mpo {

MPO_DETAIL_INLINE Index multiply_adds_of_best_sweep(const Layout& layout, const Shape& bonds) {
    return (std::min)(multiply_adds_right_to_left(layout, bonds),
                      multiply_adds_left_to_right(layout, bonds));
}

MPO_DETAIL_INLINE PricedLayout price_layout(const Layout& layout, const LayoutLimits& limits) {
    const auto fits = [&](Index cap) {
        const Shape bonds = uniform_bonds(layout, cap);
        return num_stored(layout, bonds, limits.stored_as) <= limits.max_parameters &&
               multiply_adds_of_best_sweep(layout, bonds) <= limits.max_multiply_adds;
    };
    validate(layout, "price_layout");
    const Index known = detail::largest_uniform_bond(layout, fits);
    PricedLayout priced{layout, known, uniform_bonds(layout, (std::max)(known, Index{1}))};
    priced.parameters = num_stored(layout, priced.bonds, limits.stored_as);
    priced.multiply_adds = multiply_adds_of_best_sweep(layout, priced.bonds);
    return priced;
}

MPO_DETAIL_INLINE std::optional<Layout> opposed_layout(Index m, Index n, Index f, Index sites) {
    detail::require_matrix(m, n, "opposed_layout");
    if (f < 1) detail::raise<ArgumentError>({"opposed_layout: f must be at least 1, got ", f});
    if (sites < 2 || sites > max_num_sites)
        detail::raise<ArgumentError>(
            {"opposed_layout: need 2 to ", max_num_sites, " sites, got ", sites});
    const auto short_legs = static_cast<std::size_t>(sites - 1);
    for (std::size_t k = 0; k < short_legs; ++k) {
        if (m % f != 0 || n % f != 0) return std::nullopt;
        m /= f;
        n /= f;
    }
    Layout layout{Shape(short_legs, f), Shape(short_legs, f)};
    layout.out.insert(layout.out.begin(), m);
    layout.in.push_back(n);
    return layout;
}

namespace detail {

/// Layouts in the order in which they were added, each once.
class LayoutList {
  public:
    LayoutList(Index m, Index n) : low_rank_again_{{1, m}, {n, 1}} {}

    void add(Layout layout) {
        for (std::size_t k = 0; k < layout.out.size(); ++k)
            if (layout.out[k] == 1 && layout.in[k] == 1) return;
        if (layout == low_rank_again_ || contains(layout)) return;
        layouts_.push_back(std::move(layout));
    }
    void add_both_ways(const Layout& layout) {
        add(layout);
        add(mirrored(layout));
    }
    [[nodiscard]] std::vector<Layout> take() && { return std::move(layouts_); }

  private:
    [[nodiscard]] bool contains(const Layout& layout) const {
        return std::find(layouts_.begin(), layouts_.end(), layout) != layouts_.end();
    }

    Layout low_rank_again_;
    std::vector<Layout> layouts_;
};

/// Every split over two sites, cheap ones first; equal costs in lexicographic order.
[[nodiscard]] MPO_DETAIL_INLINE std::vector<Layout> two_site_layouts(Index m, Index n) {
    struct Split {
        Index multiply_adds, parameters;  // per unit of bond
        Layout layout;
    };
    std::vector<Split> splits;
    for (const Index o : divisors(m))
        for (const Index i : divisors(n)) {
            Layout layout{{o, m / o}, {i, n / i}};
            const Shape bonds{1, 1, 1};
            splits.push_back({multiply_adds_of_best_sweep(layout, bonds),
                              num_parameters(layout, bonds), std::move(layout)});
        }
    std::stable_sort(splits.begin(), splits.end(), [](const Split& a, const Split& b) {
        return a.multiply_adds != b.multiply_adds ? a.multiply_adds < b.multiply_adds
                                                  : a.parameters < b.parameters;
    });
    std::vector<Layout> layouts;
    layouts.reserve(splits.size());
    for (auto& split : splits) layouts.push_back(std::move(split.layout));
    return layouts;
}

}  // namespace detail

MPO_DETAIL_INLINE std::vector<Layout> search_layouts(Index m, Index n, Index max_sites) {
    detail::require_matrix(m, n, "search_layouts");
    if (max_sites < 2 || max_sites > max_num_sites)
        detail::raise<ArgumentError>(
            {"search_layouts: need 2 to ", max_num_sites, " sites, got ", max_sites});
    detail::LayoutList list(m, n);
    list.add(low_rank_layout(m, n));
    const Shape short_legs = detail::divisors(m);
    const auto add_opposed = [&](Index sites) {
        for (const Index f : short_legs)
            if (const auto layout = f > 1 ? opposed_layout(m, n, f, sites) : std::nullopt)
                list.add_both_ways(*layout);
    };
    add_opposed(2);
    for (Index sites = 2; sites <= max_sites; ++sites)
        list.add_both_ways(balanced_layout(m, n, sites));
    for (Index sites = 3; sites <= max_sites; ++sites) add_opposed(sites);
    for (auto& layout : detail::two_site_layouts(m, n)) list.add(std::move(layout));
    return std::move(list).take();
}

}  // namespace mpo

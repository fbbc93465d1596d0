// Bodies of network/layout.hpp, and the searches behind its makers.
#pragma once

#include <algorithm>
#include <limits>
#include <utility>

#include "mpo/core/inline.hpp"
#include "mpo/network/layout.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_INLINE Index checked_multiply(Index a, Index b) {
    if (b != 0 && a > (std::numeric_limits<Index>::max)() / b)
        raise<ShapeError>({"layout: ", a, " * ", b, " is more than an index holds"});
    return a * b;
}

MPO_DETAIL_INLINE Index checked_add(Index a, Index b) {
    if (a > (std::numeric_limits<Index>::max)() - b)
        raise<ShapeError>({"layout: ", a, " + ", b, " is more than an index holds"});
    return a + b;
}

MPO_DETAIL_INLINE Shape divisors(Index n) {
    Shape small, large;
    for (Index d = 1; d <= n / d; ++d) {
        if (n % d != 0) continue;
        small.push_back(d);
        if (d != n / d) large.push_back(n / d);
    }
    small.insert(small.end(), large.rbegin(), large.rend());
    return small;
}

MPO_DETAIL_INLINE void require_matrix(Index m, Index n, std::string_view who) {
    if (m < 1 || n < 1)
        raise<ArgumentError>({who, ": both sides must be at least 1, got ", m, " x ", n});
}

MPO_DETAIL_INLINE void require_sites(Index sites, std::string_view who) {
    if (sites < 1 || sites > max_num_sites)
        raise<ArgumentError>({who, ": need 1 to ", max_num_sites, " sites, got ", sites});
}

}  // namespace detail

MPO_DETAIL_INLINE std::string to_string(const Layout& layout) {
    return detail::joined(layout.out, "x") + " : " + detail::joined(layout.in, "x");
}

MPO_DETAIL_INLINE void validate(const Layout& layout, std::string_view who) {
    if (layout.out.size() != layout.in.size())
        detail::raise<ShapeError>({who, ": need as many out legs as in legs, got ",
                                   layout.out.size(), " and ", layout.in.size()});
    detail::require_sites(num_sites(layout), who);
    for (const auto* legs : {&layout.out, &layout.in})
        for (const Index leg : *legs)
            if (leg < 1)
                detail::raise<ArgumentError>(
                    {who, ": every leg must be at least 1, got ", to_string(layout)});
}

MPO_DETAIL_INLINE void validate(const Layout& layout, Index num_rows, Index num_cols,
                                std::string_view who) {
    validate(layout, who);
    const auto require = [who](const Shape& legs, std::string_view side, Index got,
                               std::string_view what, Index expected) {
        if (got != expected)
            detail::raise<ShapeError>({who, ": ", side, " legs ", detail::joined(legs, "*"), " = ",
                                       got, " must equal ", what, " of W = ", expected});
    };
    require(layout.out, "out", rows(layout), "rows", num_rows);
    require(layout.in, "in", cols(layout), "cols", num_cols);
}

MPO_DETAIL_INLINE Shape useful_bond_dims(const Layout& layout) {
    const auto sites = layout.out.size();
    Shape bonds(sites + 1, 1);
    for (std::size_t k = 0; k < sites; ++k)
        bonds[k + 1] = detail::checked_multiply(
            bonds[k], detail::checked_multiply(layout.out[k], layout.in[k]));
    Index right = 1;
    for (std::size_t k = sites + 1; k-- > 0;) {
        bonds[k] = (std::min)(bonds[k], right);
        if (k > 0) right *= layout.out[k - 1] * layout.in[k - 1];
    }
    return bonds;
}

MPO_DETAIL_INLINE Shape uniform_bonds(const Layout& layout, Index cap) {
    if (cap < 1) detail::raise<ArgumentError>({"uniform_bonds: cap must be at least 1, got ", cap});
    Shape bonds = useful_bond_dims(layout);
    for (Index& bond : bonds) bond = (std::min)(bond, cap);
    return bonds;
}

namespace detail {

MPO_DETAIL_INLINE void require_bonds(const Layout& layout, const Shape& bonds,
                                     std::string_view who) {
    validate(layout, who);
    if (bonds.size() != layout.out.size() + 1)
        raise<ShapeError>({who, ": ", num_sites(layout), " sites need ", num_sites(layout) + 1,
                           " bonds, got ", bonds.size()});
    if (bonds.front() != 1 || bonds.back() != 1 ||
        *std::min_element(bonds.begin(), bonds.end()) < 1)
        raise<ArgumentError>(
            {who, ": bonds must be at least 1 and end in 1, got ", joined(bonds, ", ")});
}

}  // namespace detail

MPO_DETAIL_INLINE Index num_parameters(const Layout& layout, const Shape& bonds) {
    detail::require_bonds(layout, bonds, "num_parameters");
    Index sum = 0;
    for (std::size_t k = 0; k + 1 < bonds.size(); ++k)
        sum = detail::checked_add(
            sum, num_elements({bonds[k], layout.out[k], layout.in[k], bonds[k + 1]}));
    return sum;
}

namespace detail {

/// a b, or the limit where it is smaller or an index cannot hold a b; all positive.
[[nodiscard]] MPO_DETAIL_INLINE Index multiply_up_to(Index a, Index b, Index limit) {
    return a > limit / b ? limit : (std::min)(a * b, limit);
}

}  // namespace detail

MPO_DETAIL_INLINE Shape supported_bonds(const Layout& layout, const Shape& bonds) {
    detail::require_bonds(layout, bonds, "supported_bonds");
    Shape supported = bonds;
    const auto sites = layout.out.size();
    const auto leg = [&](std::size_t k) {
        return detail::checked_multiply(layout.out[k], layout.in[k]);
    };
    for (std::size_t k = 0; k + 1 < sites; ++k)
        supported[k + 1] = detail::multiply_up_to(supported[k], leg(k), supported[k + 1]);
    for (std::size_t k = sites; k-- > 1;)
        supported[k] = detail::multiply_up_to(supported[k + 1], leg(k), supported[k]);
    return supported;
}

MPO_DETAIL_INLINE Index num_stored(const Layout& layout, const Shape& bonds) {
    const Shape supported = supported_bonds(layout, bonds);
    Index sum = num_parameters(layout, supported);
    for (std::size_t k = 1; k + 1 < supported.size(); ++k) sum -= supported[k] * supported[k];
    return sum;
}

MPO_DETAIL_INLINE Index num_stored(const Layout& layout, const Shape& bonds, StoredAs stored_as) {
    return stored_as == StoredAs::gauge_fixed ? num_stored(layout, bonds)
                                              : num_parameters(layout, bonds);
}

MPO_DETAIL_INLINE Index price_of_bond(const Layout& layout, const Shape& bonds, Index k) {
    Shape larger = supported_bonds(layout, bonds);
    if (k < 1 || k >= num_sites(layout))
        detail::raise<ArgumentError>({"price_of_bond: an inner bond of ", num_sites(layout),
                                      " sites is one of 1..", num_sites(layout) - 1, ", got ", k});
    const Index before = num_stored(layout, larger);
    ++larger[static_cast<std::size_t>(k)];
    return num_stored(layout, larger) - before;
}

MPO_DETAIL_INLINE Index multiply_adds_right_to_left(const Layout& layout, const Shape& bonds) {
    detail::require_bonds(layout, bonds, "multiply_adds_right_to_left");
    Index sum = 0;
    for (std::size_t k = 0; k < layout.out.size(); ++k) {
        Shape factors(layout.in.begin(), layout.in.begin() + static_cast<Index>(k) + 1);
        factors.insert(factors.end(), layout.out.begin() + static_cast<Index>(k), layout.out.end());
        factors.insert(factors.end(), {bonds[k], bonds[k + 1]});
        sum = detail::checked_add(sum, num_elements(factors));
    }
    return sum;
}

MPO_DETAIL_INLINE Index multiply_adds_left_to_right(const Layout& layout, const Shape& bonds) {
    return multiply_adds_right_to_left(mirrored(layout), {bonds.rbegin(), bonds.rend()});
}

MPO_DETAIL_INLINE Index max_uniform_bond(const Layout& layout, Index parameter_budget,
                                         StoredAs stored_as) {
    validate(layout, "max_uniform_bond");
    return detail::largest_uniform_bond(layout, [&](Index cap) {
        return num_stored(layout, uniform_bonds(layout, cap), stored_as) <= parameter_budget;
    });
}

MPO_DETAIL_INLINE Layout low_rank_layout(Index m, Index n) {
    detail::require_matrix(m, n, "low_rank_layout");
    return {{m, 1}, {1, n}};
}

MPO_DETAIL_INLINE std::optional<Layout> opposed_layout(Index m, Index n, Index f) {
    detail::require_matrix(m, n, "opposed_layout");
    if (f < 1) detail::raise<ArgumentError>({"opposed_layout: f must be at least 1, got ", f});
    if (m % f != 0 || n % f != 0) return std::nullopt;
    return Layout{{m / f, f}, {f, n / f}};
}

namespace detail {

/// Minimises (sum of out[k] in[k], sum of all legs) over all factorisations, site by site.
class BalancedSearch {
  public:
    struct Best {
        Index products = 0, legs = 0;  // the two sums over the sites that remain; 0: not known yet
        Index out = 0, in = 0;         // legs of the first of them
    };

    BalancedSearch(Index m, Index n, Index sites)
        : rows_(divisors(m)),
          cols_(divisors(n)),
          known_(rows_.size() * cols_.size() * static_cast<std::size_t>(sites)) {}

    /// m and n: divisors of the two sides.
    const Best& best(Index m, Index n, Index sites) {
        Best& found = known_[(static_cast<std::size_t>(sites - 1) * rows_.size() + at(rows_, m)) *
                                 cols_.size() +
                             at(cols_, n)];
        if (found.products != 0) return found;
        Best least{checked_multiply(m, n), m + n, m, n};
        if (sites > 1) least.products = (std::numeric_limits<Index>::max)();
        for (std::size_t i = rows_.size(); sites > 1 && i-- > 0;) {
            for (std::size_t j = cols_.size(); j-- > 0;) {  // large legs first
                const Index out = rows_[i], in = cols_[j];
                if (m % out != 0 || n % in != 0 || out * in >= least.products) continue;
                const Best& rest = best(m / out, n / in, sites - 1);
                const Index products = out * in + rest.products, legs = out + in + rest.legs;
                if (products < least.products || (products == least.products && legs < least.legs))
                    least = {products, legs, out, in};
            }
        }
        return found = least;
    }

  private:
    [[nodiscard]] static std::size_t at(const Shape& sorted, Index value) {
        return static_cast<std::size_t>(std::lower_bound(sorted.begin(), sorted.end(), value) -
                                        sorted.begin());
    }

    Shape rows_, cols_;        // divisors, ascending
    std::vector<Best> known_;  // (sites, rows, cols)
};

}  // namespace detail

MPO_DETAIL_INLINE Layout balanced_layout(Index m, Index n, Index sites) {
    detail::require_matrix(m, n, "balanced_layout");
    detail::require_sites(sites, "balanced_layout");
    (void)detail::checked_multiply(m, n);
    detail::BalancedSearch search(m, n, sites);
    Layout layout;
    for (; sites > 0; --sites) {
        const auto& site = search.best(m, n, sites);
        layout.out.push_back(site.out);
        layout.in.push_back(site.in);
        m /= site.out;
        n /= site.in;
    }
    return layout;
}

namespace detail {

/// Appends to `all` every way to write n as an ordered product of `count` factors.
MPO_DETAIL_INLINE void append_factorisations(Index n, Index count, Shape& head,
                                             std::vector<Shape>& all) {
    if (count == 1) {
        all.push_back(head);
        all.back().push_back(n);
        return;
    }
    for (const Index d : divisors(n)) {
        head.push_back(d);
        append_factorisations(n / d, count - 1, head, all);
        head.pop_back();
    }
}

/// Number of ordered factorisations: prod over prime exponents e of C(e + count - 1, e).
[[nodiscard]] MPO_DETAIL_INLINE Index count_factorisations(Index n, Index count) {
    Index ways = 1;
    for (Index p = 2; n > 1; ++p) {
        if (p > n / p) p = n;  // what remains is prime
        for (Index e = 1; n % p == 0; n /= p, ++e) ways = checked_multiply(ways, e + count - 1) / e;
    }
    return ways;
}

}  // namespace detail

MPO_DETAIL_INLINE std::vector<Layout> enumerate_layouts(Index m, Index n, Index sites) {
    detail::require_matrix(m, n, "enumerate_layouts");
    detail::require_sites(sites, "enumerate_layouts");
    const Index outs = detail::count_factorisations(m, sites);
    const Index ins = detail::count_factorisations(n, sites);
    if (outs > max_enumerated_layouts / ins)
        detail::raise<ArgumentError>({"enumerate_layouts: ", m, " x ", n, " on ", sites,
                                      " sites has ", outs, " * ", ins, " layouts, more than ",
                                      max_enumerated_layouts});
    std::vector<Shape> out_legs, in_legs;
    Shape head;
    detail::append_factorisations(m, sites, head, out_legs);
    detail::append_factorisations(n, sites, head, in_legs);
    std::vector<Layout> layouts;
    layouts.reserve(static_cast<std::size_t>(outs * ins));
    for (const Shape& out : out_legs)
        for (const Shape& in : in_legs) layouts.push_back({out, in});
    return layouts;
}

}  // namespace mpo

// Layout: how the two sides of a matrix split into legs. Integers only, every product checked.
//
//   W[(o1 .. oN), (i1 .. iN)],   rows = out[0] * .. * out[N-1],   cols = in[0] * .. * in[N-1]
//
// The first leg is the slowest; legs of size 1 are allowed, so plain low rank is the layout
// (m, 1), (1, n). Bonds are given as the N+1 numbers D[0] .. D[N] with D[0] = D[N] = 1.
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
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

/// "16*16*8" for messages.
[[nodiscard]] inline std::string product_text(const Shape& legs, std::string_view times = "*") {
    std::string text;
    for (std::size_t k = 0; k < legs.size(); ++k)
        text += (k == 0 ? std::string() : std::string(times)) + std::to_string(legs[k]);
    return text;
}

/// a b for a, b >= 0. Throws ShapeError where an index cannot hold it.
[[nodiscard]] inline Index checked_multiply(Index a, Index b) {
    if (b != 0 && a > (std::numeric_limits<Index>::max)() / b)
        throw ShapeError(concat("layout: ", a, " * ", b, " is more than an index holds"));
    return a * b;
}

/// a + b for a, b >= 0. Throws ShapeError where an index cannot hold it.
[[nodiscard]] inline Index checked_add(Index a, Index b) {
    if (a > (std::numeric_limits<Index>::max)() - b)
        throw ShapeError(concat("layout: ", a, " + ", b, " is more than an index holds"));
    return a + b;
}

/// Every divisor of n >= 1, ascending. O(sqrt(n)).
[[nodiscard]] inline Shape divisors(Index n) {
    Shape small, large;
    for (Index d = 1; d <= n / d; ++d) {
        if (n % d != 0) continue;
        small.push_back(d);
        if (d != n / d) large.push_back(n / d);
    }
    small.insert(small.end(), large.rbegin(), large.rend());
    return small;
}

inline void require_matrix(Index m, Index n, std::string_view who) {
    if (m < 1 || n < 1)
        throw ArgumentError(concat(who, ": both sides must be at least 1, got ", m, " x ", n));
}

inline void require_sites(Index sites, std::string_view who) {
    if (sites < 1 || sites > max_num_sites)
        throw ArgumentError(concat(who, ": need 1 to ", max_num_sites, " sites, got ", sites));
}

}  // namespace detail

/// "64x64 : 64x64", out legs first.
[[nodiscard]] inline std::string to_string(const Layout& layout) {
    return detail::product_text(layout.out, "x") + " : " + detail::product_text(layout.in, "x");
}

/// Throws ShapeError where the two sides have different numbers of legs, ArgumentError where there
/// are not 1 to 12 of them or one is below 1. `who` opens the message.
inline void validate(const Layout& layout, std::string_view who) {
    if (layout.out.size() != layout.in.size())
        throw ShapeError(detail::concat(who, ": need as many out legs as in legs, got ",
                                        layout.out.size(), " and ", layout.in.size()));
    detail::require_sites(num_sites(layout), who);
    for (const auto* legs : {&layout.out, &layout.in})
        for (const Index leg : *legs)
            if (leg < 1)
                throw ArgumentError(
                    detail::concat(who, ": every leg must be at least 1, got ", to_string(layout)));
}

/// The same, and the legs must multiply up to a rows x cols matrix W (ShapeError).
inline void validate(const Layout& layout, Index num_rows, Index num_cols, std::string_view who) {
    validate(layout, who);
    const auto require = [who](const Shape& legs, std::string_view side, Index got,
                               std::string_view what, Index expected) {
        if (got != expected)
            throw ShapeError(detail::concat(who, ": ", side, " legs ", detail::product_text(legs),
                                            " = ", got, " must equal ", what,
                                            " of W = ", expected));
    };
    require(layout.out, "out", rows(layout), "rows", num_rows);
    require(layout.in, "in", cols(layout), "cols", num_cols);
}

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
[[nodiscard]] inline Shape useful_bond_dims(const Layout& layout) {
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

/// One cap for all bonds, clipped at each to the useful maximum. Throws ArgumentError below 1.
[[nodiscard]] inline Shape uniform_bonds(const Layout& layout, Index cap) {
    if (cap < 1)
        throw ArgumentError(detail::concat("uniform_bonds: cap must be at least 1, got ", cap));
    Shape bonds = useful_bond_dims(layout);
    for (Index& bond : bonds) bond = (std::min)(bond, cap);
    return bonds;
}

namespace detail {

inline void require_bonds(const Layout& layout, const Shape& bonds, std::string_view who) {
    validate(layout, who);
    if (bonds.size() != layout.out.size() + 1)
        throw ShapeError(concat(who, ": ", num_sites(layout), " sites need ", num_sites(layout) + 1,
                                " bonds, got ", bonds.size()));
    if (bonds.front() != 1 || bonds.back() != 1 ||
        *std::min_element(bonds.begin(), bonds.end()) < 1)
        throw ArgumentError(concat(who, ": bonds must be at least 1 and end in 1, got ",
                                   product_text(bonds, ", ")));
}

}  // namespace detail

/// Sum over k of D[k] out[k] in[k] D[k+1]. Throws as validate, and ShapeError on overflow.
[[nodiscard]] inline Index num_parameters(const Layout& layout, const Shape& bonds) {
    detail::require_bonds(layout, bonds, "num_parameters");
    Index sum = 0;
    for (std::size_t k = 0; k + 1 < bonds.size(); ++k)
        sum = detail::checked_add(
            sum, num_elements({bonds[k], layout.out[k], layout.in[k], bonds[k + 1]}));
    return sum;
}

/// Multiply-adds for one token when the last core is applied first:
/// sum over k of (prod_{j<k} in[j]) (in[k] D[k+1]) (out[k] D[k]) (prod_{j>k} out[j]).
/// Source: Novikov et al., Tensorizing Neural Networks, NIPS 2015, section 4.
[[nodiscard]] inline Index multiply_adds_right_to_left(const Layout& layout, const Shape& bonds) {
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

/// Multiply-adds for one token when the first core is applied first: the cost of the mirror image.
[[nodiscard]] inline Index multiply_adds_left_to_right(const Layout& layout, const Shape& bonds) {
    return multiply_adds_right_to_left(mirrored(layout), {bonds.rbegin(), bonds.rend()});
}

/// Largest uniform cap whose parameters (bonds clipped to the useful maximum) fit the budget;
/// 0 where even bonds of 1 do not. A result of max(useful_bond_dims) means nothing need be dropped.
[[nodiscard]] inline Index max_uniform_bond(const Layout& layout, Index parameter_budget) {
    validate(layout, "max_uniform_bond");
    const Shape useful = useful_bond_dims(layout);
    Index fits = 0, above = *std::max_element(useful.begin(), useful.end()) + 1;
    while (above - fits > 1) {  // fits: known to fit or 0; above: too large, or beyond all use
        const Index cap = fits + (above - fits) / 2;
        (num_parameters(layout, uniform_bonds(layout, cap)) <= parameter_budget ? fits : above) =
            cap;
    }
    return fits;
}

// -- makers -------------------------------------------------------------------------------------

/// W = U V: (m, 1), (1, n). Throws ArgumentError for a side below 1.
[[nodiscard]] inline Layout low_rank_layout(Index m, Index n) {
    detail::require_matrix(m, n, "low_rank_layout");
    return {{m, 1}, {1, n}};
}

/// out (m/f, f), in (f, n/f): the unfolding of a balanced layout of the same p and q at a fraction
/// of the multiply-adds, right to left. Its mirror image (see mirrored) does the same, left to
/// right. nullopt where f divides not both sides. Throws ArgumentError for a side or f below 1.
[[nodiscard]] inline std::optional<Layout> opposed_layout(Index m, Index n, Index f) {
    detail::require_matrix(m, n, "opposed_layout");
    if (f < 1) throw ArgumentError(detail::concat("opposed_layout: f must be at least 1, got ", f));
    if (m % f != 0 || n % f != 0) return std::nullopt;
    return Layout{{m / f, f}, {f, n / f}};
}

namespace detail {

/// Minimises (sum of out[k] in[k], sum of all legs) over all factorisations, site by site.
class BalancedSearch {
  public:
    struct Best {
        Index products, legs;  // the two sums, over the sites that remain
        Index out, in;         // legs of the first of them
    };

    const Best& best(Index m, Index n, Index sites) {
        const auto key = std::tuple(sites, m, n);
        if (const auto known = known_.find(key); known != known_.end()) return known->second;
        Best found{checked_multiply(m, n), m + n, m, n};
        if (sites > 1) {
            found.products = (std::numeric_limits<Index>::max)();
            for (const Index out : descending(m))
                for (const Index in : descending(n)) {
                    if (out * in >= found.products) continue;
                    const Best& rest = best(m / out, n / in, sites - 1);
                    const Best candidate{out * in + rest.products, out + in + rest.legs, out, in};
                    if (std::tie(candidate.products, candidate.legs) <
                        std::tie(found.products, found.legs))
                        found = candidate;
                }
        }
        return known_.emplace(key, found).first->second;
    }

  private:
    const Shape& descending(Index n) {
        auto& list = divisors_[n];
        if (list.empty()) {
            list = divisors(n);
            std::reverse(list.begin(), list.end());
        }
        return list;
    }

    std::map<std::tuple<Index, Index, Index>, Best> known_;
    std::map<Index, Shape> divisors_;
};

}  // namespace detail

/// The layout with the fewest parameters per unit of bond: minimises sum over k of out[k] in[k]
/// (their product is m n, so they come out nearly equal), then the sum of the legs (so that out and
/// in are nearly equal too), then prefers large legs first. 4096 x 4096 on 3 sites: 16x16x16 :
/// 16x16x16. Throws ArgumentError for a side below 1 or not 1 to 12 sites, ShapeError where m n
/// overflows.
[[nodiscard]] inline Layout balanced_layout(Index m, Index n, Index sites) {
    detail::require_matrix(m, n, "balanced_layout");
    detail::require_sites(sites, "balanced_layout");
    (void)detail::checked_multiply(m, n);
    detail::BalancedSearch search;
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
inline void append_factorisations(Index n, Index count, Shape& head, std::vector<Shape>& all) {
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
[[nodiscard]] inline Index count_factorisations(Index n, Index count) {
    Index ways = 1;
    for (Index p = 2; n > 1; ++p) {
        if (p > n / p) p = n;  // what remains is prime
        for (Index e = 1; n % p == 0; n /= p, ++e) ways = checked_multiply(ways, e + count - 1) / e;
    }
    return ways;
}

}  // namespace detail

/// Most layouts that enumerate_layouts lists.
inline constexpr Index max_enumerated_layouts = 1'000'000;

/// All factorisations of m and n over the sites, size-1 legs included, in lexicographic order.
/// Throws ArgumentError for a side below 1, not 1 to 12 sites, or more than a million layouts.
[[nodiscard]] inline std::vector<Layout> enumerate_layouts(Index m, Index n, Index sites) {
    detail::require_matrix(m, n, "enumerate_layouts");
    detail::require_sites(sites, "enumerate_layouts");
    const Index outs = detail::count_factorisations(m, sites);
    const Index ins = detail::count_factorisations(n, sites);
    if (outs > max_enumerated_layouts / ins)
        throw ArgumentError(detail::concat("enumerate_layouts: ", m, " x ", n, " on ", sites,
                                           " sites has ", outs, " * ", ins, " layouts, more than ",
                                           max_enumerated_layouts));
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

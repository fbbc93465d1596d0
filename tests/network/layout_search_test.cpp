// The layouts that a search considers are all there, once, and their bonds are the largest that fit.
#include "mpo/network/layout_search.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "support/catch.hpp"

using namespace mpo;

namespace {

/// Law: W splits into these legs, no site is empty, nothing occurs twice, plain low rank is first.
void check_list(const std::vector<Layout>& layouts, Index m, Index n, Index max_sites) {
    std::set<std::pair<Shape, Shape>> seen;
    for (const auto& layout : layouts) {
        CAPTURE(to_string(layout));
        REQUIRE_NOTHROW(validate(layout, m, n, "test"));
        CHECK(num_sites(layout) >= 2);
        CHECK(num_sites(layout) <= max_sites);
        for (std::size_t k = 0; k < layout.out.size(); ++k) CHECK(layout.out[k] * layout.in[k] > 1);
        CHECK(seen.insert({layout.out, layout.in}).second);
    }
    if (m > 1 && n > 1) {
        REQUIRE(!layouts.empty());
        CHECK(layouts.front() == low_rank_layout(m, n));
    }
}

[[nodiscard]] bool holds(const std::vector<Layout>& layouts, const Layout& layout) {
    return std::find(layouts.begin(), layouts.end(), layout) != layouts.end();
}

[[nodiscard]] bool fits(const Layout& layout, const Shape& bonds, const LayoutLimits& limits) {
    return num_stored(layout, bonds, limits.stored_as) <= limits.max_parameters &&
           std::min(multiply_adds_right_to_left(layout, bonds),
                    multiply_adds_left_to_right(layout, bonds)) <= limits.max_multiply_adds;
}

}  // namespace

TEST_CASE("layout search: every split over two sites is considered, once") {
    for (Index m = 1; m <= 24; ++m)
        for (Index n = 1; n <= 24; ++n) {
            CAPTURE(m, n);
            const auto layouts = search_layouts(m, n, 2);
            check_list(layouts, m, n, 2);
            Index expected = 0;
            for (const auto& layout : enumerate_layouts(m, n, 2)) {
                const bool empty_site =
                    layout.out[0] * layout.in[0] == 1 || layout.out[1] * layout.in[1] == 1;
                const bool low_rank_again =
                    layout == Layout{{1, m}, {n, 1}} && layout != low_rank_layout(m, n);
                if (!empty_site && !low_rank_again) ++expected;
            }
            CHECK(static_cast<Index>(layouts.size()) == expected);
        }
}

TEST_CASE("layout search: opposed legs both ways, balanced ones, two to four sites") {
    const auto layouts = search_layouts(64, 96, 4);
    check_list(layouts, 64, 96, 4);
    CHECK(holds(layouts, {{16, 4}, {4, 24}}));
    CHECK(holds(layouts, {{4, 16}, {24, 4}}));
    CHECK(holds(layouts, {{16, 2, 2}, {2, 2, 24}}));
    CHECK(holds(layouts, {{2, 2, 16}, {24, 2, 2}}));
    CHECK(holds(layouts, {{8, 2, 2, 2}, {2, 2, 2, 12}}));
    CHECK(holds(layouts, {{1, 64}, {8, 12}}));
    for (Index sites = 2; sites <= 4; ++sites) {
        CHECK(holds(layouts, balanced_layout(64, 96, sites)));
        CHECK(holds(layouts, mirrored(balanced_layout(64, 96, sites))));
    }
    // the cheap ones are sketched first
    CHECK(layouts[1] == Layout{{32, 2}, {2, 48}});
    CHECK(layouts[2] == Layout{{2, 32}, {48, 2}});
}

TEST_CASE("layout search: the bond cap is the largest within both limits") {
    for (const Layout& layout : {Layout{{6, 1}, {1, 8}}, Layout{{6, 4}, {4, 6}},
                                 Layout{{4, 3, 2}, {2, 3, 4}}, Layout{{7}, {5}}})
        for (const Index parameters : {1, 30, 100, 500, 100000})
            for (const Index multiply_adds : {1, 100, 700, 100000})
                for (const StoredAs stored_as : {StoredAs::cores, StoredAs::gauge_fixed}) {
                    const LayoutLimits limits{parameters, multiply_adds, stored_as};
                    const auto priced = price_layout(layout, limits);
                    CAPTURE(to_string(layout), parameters, multiply_adds, priced.max_bond_dim);
                    const Shape useful = useful_bond_dims(layout);
                    const Index largest = *std::max_element(useful.begin(), useful.end());
                    if (priced.max_bond_dim > 0) CHECK(fits(layout, priced.bonds, limits));
                    if (priced.max_bond_dim < largest)
                        CHECK(
                            !fits(layout, uniform_bonds(layout, priced.max_bond_dim + 1), limits));
                    CHECK(priced.bonds ==
                          uniform_bonds(layout, std::max<Index>(1, priced.max_bond_dim)));
                    CHECK(priced.parameters == num_stored(layout, priced.bonds, stored_as));
                    CHECK(priced.multiply_adds ==
                          multiply_adds_of_best_sweep(layout, priced.bonds));
                }
}

TEST_CASE("layout search: opposed legs on any number of sites") {
    CHECK(opposed_layout(4096, 4096, 8, 3) == Layout{{64, 8, 8}, {8, 8, 64}});
    CHECK(opposed_layout(12, 20, 2, 2) == opposed_layout(12, 20, 2));
    CHECK(opposed_layout(12, 20, 2, 3) == Layout{{3, 2, 2}, {2, 2, 5}});
    CHECK(!opposed_layout(12, 20, 2, 4));
    CHECK(!opposed_layout(12, 20, 3, 2));
    CHECK_THROWS_AS(opposed_layout(12, 20, 0, 2), ArgumentError);
    CHECK_THROWS_AS(opposed_layout(12, 20, 2, 1), ArgumentError);
    CHECK_THROWS_AS(opposed_layout(12, 20, 2, 13), ArgumentError);
    CHECK_THROWS_AS(opposed_layout(0, 20, 2, 2), ArgumentError);
    CHECK_THROWS_AS(search_layouts(4, 4, 1), ArgumentError);
    CHECK_THROWS_AS(search_layouts(4, 4, 13), ArgumentError);
    CHECK_THROWS_AS(search_layouts(4, 0, 2), ArgumentError);
}

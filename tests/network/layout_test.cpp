// Layouts are integers, so every law is checked against brute force over all small cases.
#include "mpo/network/layout.hpp"

#include <limits>
#include <set>

#include "support/catch.hpp"
#include "support/naive.hpp"

using namespace mpo;

namespace {

constexpr Index huge = std::numeric_limits<Index>::max();

/// Every tuple in [1, n]^count whose product is n, by trying all.
std::set<Shape> factorisations(Index n, Index count) {
    std::set<Shape> found;
    test::naive::for_each_index(Shape(static_cast<std::size_t>(count), n), [&](Shape legs) {
        for (Index& leg : legs) ++leg;
        if (num_elements(legs) == n) found.insert(legs);
    });
    return found;
}

/// Calls law(layout, m, n, sites) for every layout of every matrix up to `side` x `side`.
template <class Law>
void for_every_layout(Index side, Index max_sites, Law&& law) {
    for (Index m = 1; m <= side; ++m)
        for (Index n = 1; n <= side; ++n)
            for (Index sites = 1; sites <= max_sites; ++sites)
                for (const Layout& layout : enumerate_layouts(m, n, sites))
                    law(layout, m, n, sites);
}

Index product(const Shape& legs, Index first, Index last) {
    Index result = 1;
    for (Index k = first; k < last; ++k) result *= legs[static_cast<std::size_t>(k)];
    return result;
}

/// Multiply-adds of a sweep that really goes through its index space, core by core. The running
/// tensor has one extent per site (in legs not yet used, out legs already made) and one bond.
Index count_sweep(const Layout& layout, const Shape& bonds, bool from_the_right) {
    Shape extents = layout.in;
    Index operations = 0;
    for (std::size_t step = 0; step < layout.out.size(); ++step) {
        const std::size_t k = from_the_right ? layout.out.size() - 1 - step : step;
        Shape loops = extents;  // includes in[k], which is summed over
        loops.insert(loops.end(), {layout.out[k], bonds[k], bonds[k + 1]});
        test::naive::for_each_index(loops, [&](const Shape&) { ++operations; });
        extents[k] = layout.out[k];
    }
    return operations;
}

}  // namespace

TEST_CASE("enumerate_layouts finds every factorisation once") {
    for (Index m = 1; m <= 12; ++m)
        for (Index n = 1; n <= 12; ++n)
            for (Index sites = 1; sites <= 3; ++sites) {
                std::set<std::pair<Shape, Shape>> expected, found;
                for (const auto& out : factorisations(m, sites))
                    for (const auto& in : factorisations(n, sites)) expected.emplace(out, in);
                const auto layouts = enumerate_layouts(m, n, sites);
                for (const auto& layout : layouts) found.emplace(layout.out, layout.in);
                REQUIRE(found == expected);
                REQUIRE(layouts.size() == expected.size());
            }
}

TEST_CASE("enumerate_layouts goes up to its limit and refuses what lies beyond") {
    CHECK(enumerate_layouts(1, 1, 12).size() == 1);
    CHECK(enumerate_layouts(8191, 2, 12).size() == 144);               // both prime: 12 places each
    CHECK(enumerate_layouts(4096, 4096, 4).size() == 455u * 455u);     // C(12 + 3, 3) squared
    CHECK_THROWS_AS(enumerate_layouts(4096, 4096, 5), ArgumentError);  // 1820 squared
    CHECK_THROWS_WITH(
        enumerate_layouts(4096, 4096, 12),
        "enumerate_layouts: 4096 x 4096 on 12 sites has 1352078 * 1352078 layouts, more "
        "than 1000000");
    CHECK_THROWS_AS(enumerate_layouts(0, 4, 2), ArgumentError);
    CHECK_THROWS_AS(enumerate_layouts(4, -1, 2), ArgumentError);
    CHECK_THROWS_AS(enumerate_layouts(4, 4, 0), ArgumentError);
    CHECK_THROWS_AS(enumerate_layouts(4, 4, 13), ArgumentError);
}

TEST_CASE("rows, cols and num_sites are those of the matrix") {
    for_every_layout(12, 3, [](const Layout& layout, Index m, Index n, Index sites) {
        REQUIRE(rows(layout) == m);
        REQUIRE(cols(layout) == n);
        REQUIRE(num_sites(layout) == sites);
        REQUIRE_NOTHROW(validate(layout, m, n, "test"));
    });
}

TEST_CASE("useful_bond_dims is the smaller side of every unfolding") {
    for_every_layout(12, 3, [](const Layout& layout, Index m, Index n, Index sites) {
        const Shape bonds = useful_bond_dims(layout);
        REQUIRE(bonds.size() == static_cast<std::size_t>(sites) + 1);
        for (Index k = 0; k <= sites; ++k) {
            const Index left = product(layout.out, 0, k) * product(layout.in, 0, k);
            REQUIRE(bonds[static_cast<std::size_t>(k)] == std::min(left, m * n / left));
        }
    });
}

TEST_CASE("num_parameters counts the elements of the cores") {
    for_every_layout(8, 3, [](const Layout& layout, Index m, Index n, Index sites) {
        for (Index cap = 1; cap <= m * n; cap = 2 * cap + 1) {
            const Shape bonds = uniform_bonds(layout, cap);
            Index elements = 0;
            for (Index k = 0; k < sites; ++k) {
                const auto at = static_cast<std::size_t>(k);
                REQUIRE(bonds[at] == std::min(cap, useful_bond_dims(layout)[at]));
                elements += bonds[at] * layout.out[at] * layout.in[at] * bonds[at + 1];
            }
            REQUIRE(num_parameters(layout, bonds) == elements);
        }
    });
}

TEST_CASE("num_stored leaves out one square per bond, and grows with every bond") {
    for_every_layout(6, 3, [](const Layout& layout, Index m, Index n, Index sites) {
        CAPTURE(to_string(layout));
        const Shape useful = useful_bond_dims(layout);
        CHECK(num_stored(layout, useful) == m * n);  // nothing dropped: nothing superfluous
        Index before = 0;
        for (Index cap = 1; cap <= *std::max_element(useful.begin(), useful.end()); ++cap) {
            const Shape bonds = uniform_bonds(layout, cap);
            REQUIRE(supported_bonds(layout, bonds) == bonds);
            Index squares = 0;
            for (Index k = 1; k < sites; ++k)
                squares += bonds[static_cast<std::size_t>(k)] * bonds[static_cast<std::size_t>(k)];
            const Index stored = num_stored(layout, bonds);
            REQUIRE(stored == num_parameters(layout, bonds) - squares);
            REQUIRE(stored > before);
            before = stored;
            for (Index k = 1; k < sites; ++k) {  // the price is a difference
                Shape larger = bonds;
                ++larger[static_cast<std::size_t>(k)];
                REQUIRE(price_of_bond(layout, bonds, k) == num_stored(layout, larger) - stored);
                REQUIRE(price_of_bond(layout, bonds, k) >= 0);
            }
        }
    });
    CHECK(num_stored({{4, 3}, {2, 5}}, {1, 3, 1}) == 3 * (8 + 15 - 3));
    CHECK(price_of_bond({{4, 3}, {2, 5}}, {1, 3, 1}, 1) == 4 * (8 + 15 - 4) - 60);
    CHECK(price_of_bond({{4, 3}, {2, 5}}, {1, 8, 1}, 1) == 0);
    CHECK(num_stored({{4, 3}, {2, 5}}, {1, 3, 1}, StoredAs::cores) == 3 * (8 + 15));
    CHECK(num_stored({{4, 3}, {2, 5}}, {1, 3, 1}, StoredAs::gauge_fixed) == 60);
    CHECK(to_string(StoredAs::cores) == "cores");
    CHECK(to_string(StoredAs::gauge_fixed) == "gauge_fixed");
}

TEST_CASE("supported_bonds are the largest that both neighbours support") {
    for_every_layout(4, 3, [](const Layout& layout, Index, Index, Index sites) {
        if (sites < 3) return;
        for (const Shape& bonds : {Shape{1, 2, 9, 1}, Shape{1, 9, 2, 1}, Shape{1, 50, 50, 1}}) {
            const Shape supported = supported_bonds(layout, bonds);
            for (std::size_t k = 1; k < 3; ++k) {
                const Index left = supported[k - 1] * layout.out[k - 1] * layout.in[k - 1];
                const Index right = layout.out[k] * layout.in[k] * supported[k + 1];
                REQUIRE(supported[k] <= std::min({left, right, bonds[k]}));
                REQUIRE(price_of_bond(layout, bonds, static_cast<Index>(k)) >= 0);
            }
            for (Index a = 1; a <= bonds[1]; ++a)  // nothing else that is supported is larger
                for (Index b = 1; b <= bonds[2]; ++b)
                    if (a <= layout.out[0] * layout.in[0] &&
                        a <= layout.out[1] * layout.in[1] * b &&
                        b <= a * layout.out[1] * layout.in[1] && b <= layout.out[2] * layout.in[2])
                        REQUIRE((a <= supported[1] && b <= supported[2]));
        }
    });
    CHECK_THROWS_AS(supported_bonds({{2, 2}, {2, 2}}, {1, 2, 2}), ArgumentError);
    CHECK_THROWS_AS(price_of_bond({{2, 2}, {2, 2}}, {1, 2, 1}, 0), ArgumentError);
    CHECK_THROWS_AS(price_of_bond({{2, 2}, {2, 2}}, {1, 2, 1}, 2), ArgumentError);
    const Layout wide{{4, huge / 2, 4}, {1, 1, 1}};  // 4 * huge / 2 is only compared
    CHECK(supported_bonds(wide, {1, 4, 9, 1}) == Shape{1, 4, 4, 1});
}

TEST_CASE("multiply-adds are those of a sweep that is really made") {
    for_every_layout(6, 3, [](const Layout& layout, Index, Index, Index) {
        for (const Index cap : {1, 2, 5}) {
            const Shape bonds = uniform_bonds(layout, cap);
            REQUIRE(multiply_adds_right_to_left(layout, bonds) == count_sweep(layout, bonds, true));
            REQUIRE(multiply_adds_left_to_right(layout, bonds) ==
                    count_sweep(layout, bonds, false));
        }
    });
}

TEST_CASE("multiply-adds at sizes of real layers") {
    // two sites in closed form: dense * chi * (1/m1 + 1/n2), and its mirror image
    const Index dense = 4096 * 4096;
    const Layout balanced{{64, 64}, {64, 64}}, opposed{{256, 16}, {16, 256}};
    CHECK(multiply_adds_right_to_left(balanced, {1, 32, 1}) == dense);
    CHECK(multiply_adds_left_to_right(balanced, {1, 32, 1}) == dense);
    CHECK(multiply_adds_right_to_left(opposed, {1, 64, 1}) == dense / 2);
    CHECK(multiply_adds_left_to_right(opposed, {1, 64, 1}) == dense * 8);
    CHECK(multiply_adds_right_to_left(low_rank_layout(4096, 4096), {1, 100, 1}) == 100 * 8192);
}

TEST_CASE("max_uniform_bond is the largest cap that fits") {
    for_every_layout(7, 3, [](const Layout& layout, Index m, Index n, Index) {
        const Shape useful = useful_bond_dims(layout);
        const Index largest = *std::max_element(useful.begin(), useful.end());
        for (Index budget = 0; budget <= m * n * m * n; budget = budget + budget / 3 + 1) {
            Index expected = 0;
            for (Index cap = 1; cap <= largest; ++cap)
                if (num_parameters(layout, uniform_bonds(layout, cap)) <= budget) expected = cap;
            REQUIRE(max_uniform_bond(layout, budget) == expected);
            for (Index cap = expected + 1; cap <= largest; ++cap)
                if (num_stored(layout, uniform_bonds(layout, cap)) <= budget) expected = cap;
            REQUIRE(max_uniform_bond(layout, budget, StoredAs::gauge_fixed) == expected);
        }
    });
    CHECK(max_uniform_bond({{2, 2}, {2, 2}}, -1) == 0);
}

TEST_CASE("balanced_layout is the best of all layouts") {
    const auto cost = [](const Layout& layout) {
        Index products = 0, legs = 0;
        for (std::size_t k = 0; k < layout.out.size(); ++k) {
            products += layout.out[k] * layout.in[k];
            legs += layout.out[k] + layout.in[k];
        }
        return std::pair(products, legs);
    };
    for (Index m = 1; m <= 24; ++m)
        for (Index n = 1; n <= 24; ++n)
            for (Index sites = 1; sites <= 4; ++sites) {
                const Layout best = balanced_layout(m, n, sites);
                REQUIRE_NOTHROW(validate(best, m, n, "test"));
                for (const Layout& other : enumerate_layouts(m, n, sites))
                    REQUIRE(cost(best) <= cost(other));
            }
}

TEST_CASE("balanced_layout at sizes of real layers") {
    const std::vector<std::pair<std::string, Layout>> cases = {
        {"64x64 : 64x64", balanced_layout(4096, 4096, 2)},
        {"16x16x16 : 16x16x16", balanced_layout(4096, 4096, 3)},
        {"2x2x2x2x2x2x2x2x2x2x2x2 : 2x2x2x2x2x2x2x2x2x2x2x2", balanced_layout(4096, 4096, 12)},
        {"32x18 : 32x48", balanced_layout(576, 1536, 2)},
        {"7x1 : 1x13", balanced_layout(7, 13, 2)},
        {"1x1x1 : 1x1x1", balanced_layout(1, 1, 3)},
        {"5 : 3", balanced_layout(5, 3, 1)},
    };
    for (const auto& [text, layout] : cases) CHECK(to_string(layout) == text);
}

TEST_CASE("opposed_layout exists where its factor divides both sides") {
    for (Index m = 1; m <= 24; ++m)
        for (Index n = 1; n <= 24; ++n)
            for (Index f = 1; f <= 25; ++f) {
                const auto layout = opposed_layout(m, n, f);
                REQUIRE(layout.has_value() == (m % f == 0 && n % f == 0));
                if (layout) REQUIRE(*layout == Layout{{m / f, f}, {f, n / f}});
                if (layout) REQUIRE(mirrored(*layout) == Layout{{f, m / f}, {n / f, f}});
            }
    CHECK(opposed_layout(6, 4, 1) == low_rank_layout(6, 4));
}

TEST_CASE("mirrored and transposed are involutions with known costs") {
    for_every_layout(8, 3, [](const Layout& layout, Index m, Index n, Index) {
        REQUIRE(mirrored(mirrored(layout)) == layout);
        REQUIRE(transposed(transposed(layout)) == layout);
        REQUIRE_NOTHROW(validate(transposed(layout), n, m, "test"));
        const Shape bonds = uniform_bonds(layout, 3), back(bonds.rbegin(), bonds.rend());
        REQUIRE(num_parameters(mirrored(layout), back) == num_parameters(layout, bonds));
        REQUIRE(multiply_adds_right_to_left(mirrored(layout), back) ==
                multiply_adds_left_to_right(layout, bonds));
    });
}

TEST_CASE("a layout that does not fit the matrix is refused with its numbers") {
    CHECK_THROWS_AS(validate({{16, 16, 8}, {2, 2, 2}}, 4096, 8, "decompose"), ShapeError);
    CHECK_THROWS_WITH(validate({{16, 16, 8}, {2, 2, 2}}, 4096, 8, "decompose"),
                      "decompose: out legs 16*16*8 = 2048 must equal rows of W = 4096");
    CHECK_THROWS_WITH(validate({{4}, {7}}, 4, 8, "decompose"),
                      "decompose: in legs 7 = 7 must equal cols of W = 8");
    CHECK_THROWS_AS(validate({{2, 2}, {4}}, "decompose"), ShapeError);
    CHECK_THROWS_WITH(validate({{2, 2}, {4}}, "decompose"),
                      "decompose: need as many out legs as in legs, got 2 and 1");
    CHECK_THROWS_AS(validate({{2, 0}, {4, 1}}, "decompose"), ArgumentError);
    CHECK_THROWS_WITH(validate({{2, -2}, {4, 1}}, "decompose"),
                      "decompose: every leg must be at least 1, got 2x-2 : 4x1");
    CHECK_THROWS_AS(validate({{2, 1}, {4, 0}}, 2, 0, "decompose"), ArgumentError);
    CHECK_THROWS_WITH(validate(Layout{}, "decompose"), "decompose: need 1 to 12 sites, got 0");
    CHECK_THROWS_AS(validate({Shape(13, 1), Shape(13, 1)}, "decompose"), ArgumentError);
    CHECK_NOTHROW(validate({Shape(12, 2), Shape(12, 1)}, 4096, 1, "decompose"));
}

TEST_CASE("prices refuse bonds that are none") {
    const Layout layout{{2, 3}, {4, 5}};
    for (const auto& price :
         {num_parameters, multiply_adds_right_to_left, multiply_adds_left_to_right}) {
        CHECK_THROWS_AS(price(layout, {1, 2}), ShapeError);
        CHECK_THROWS_AS(price(layout, {1, 0, 1}), ArgumentError);
        CHECK_THROWS_AS(price(layout, {2, 2, 1}), ArgumentError);
        CHECK_THROWS_AS(price(layout, {1, 2, 2}), ArgumentError);
        CHECK_THROWS_AS(price({{2}, {4, 5}}, {1, 2, 1}), ShapeError);
    }
    CHECK_THROWS_AS(uniform_bonds(layout, 0), ArgumentError);
    CHECK_THROWS_AS(max_uniform_bond({{0}, {1}}, 10), ArgumentError);
}

TEST_CASE("makers refuse sides, factors and site counts outside their domain") {
    CHECK_THROWS_AS(low_rank_layout(0, 3), ArgumentError);
    CHECK_THROWS_AS(low_rank_layout(3, -3), ArgumentError);
    CHECK_THROWS_AS(opposed_layout(4, 0, 2), ArgumentError);
    CHECK_THROWS_AS(opposed_layout(4, 4, 0), ArgumentError);
    CHECK_THROWS_AS(balanced_layout(0, 4, 2), ArgumentError);
    CHECK_THROWS_AS(balanced_layout(4, 4, 0), ArgumentError);
    CHECK_THROWS_AS(balanced_layout(4, 4, 13), ArgumentError);
    CHECK_THROWS_WITH(opposed_layout(4, 4, -2), "opposed_layout: f must be at least 1, got -2");
}

TEST_CASE("numbers beyond an index are refused, not wrapped") {
    const Index half = Index{1} << 32;
    CHECK_THROWS_AS(rows({{half, half}, {1, 1}}), ShapeError);
    CHECK_THROWS_AS(useful_bond_dims({{half, 1}, {1, half}}), ShapeError);
    CHECK_THROWS_AS(useful_bond_dims({{half, 1}, {half, 1}}), ShapeError);
    CHECK_THROWS_AS(num_parameters({{half, 1}, {1, 1}}, {1, half, 1}), ShapeError);
    CHECK_THROWS_AS(num_parameters({{huge, 1}, {1, 1}}, {1, 1, 1}), ShapeError);  // huge + 1
    CHECK_THROWS_AS(multiply_adds_right_to_left({{half, 1}, {half, 1}}, {1, 1, 1}), ShapeError);
    CHECK_THROWS_AS(balanced_layout(half, half, 2), ShapeError);
    CHECK(num_parameters({{huge}, {1}}, {1, 1}) == huge);
}

// What is stored expands to whole cores, and what does not fit together is refused.
#include "mpo/network/stored_form.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/naive.hpp"
#include "support/scalars.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Cores 0, 1, 2, .. of the shapes that belong to a layout, bonds and a centre.
template <class T>
[[nodiscard]] std::vector<Tensor<T>> counting_cores(const Layout& layout, const Shape& bonds,
                                                    Index center) {
    std::vector<Tensor<T>> cores;
    for (Index k = 0; k < num_sites(layout); ++k) {
        auto& core = cores.emplace_back(stored_core_shape(layout, bonds, center, k));
        for (Index n = 0; n < core.size(); ++n)
            core.data()[n] = T(static_cast<Real<T>>(10 * (k + 1) + n));
    }
    return cores;
}

}  // namespace

TEST_CASE("stored form: shapes leave out one identity per bond") {
    const Layout layout{{2, 3, 1}, {2, 1, 5}};
    const Shape bonds{1, 3, 5, 1};
    const Shape expected[3][3] = {{{1, 2, 2, 3}, {3, 12}, {5, 0}},
                                  {{1, 3}, {3, 3, 1, 5}, {5, 0}},
                                  {{1, 3}, {4, 5}, {5, 1, 5, 1}}};
    for (Index center = 0; center < 3; ++center) {
        Index sum = 0;
        for (Index k = 0; k < 3; ++k) {
            const auto shape = stored_core_shape(layout, bonds, center, k);
            CHECK(shape == expected[center][k]);
            sum += num_elements(shape);
        }
        CHECK(sum == num_stored(layout, bonds));
    }
    CHECK_THROWS_AS(stored_core_shape(layout, bonds, 3, 0), ArgumentError);
    CHECK_THROWS_AS(stored_core_shape(layout, bonds, -1, 0), ArgumentError);
    CHECK_THROWS_AS(stored_core_shape(layout, bonds, 0, 3), ArgumentError);
    CHECK_THROWS_AS(stored_core_shape(layout, {1, 3, 1}, 0, 1), ShapeError);
    CHECK_THROWS_AS(stored_core_shape(layout, {1, 3, 0, 1}, 0, 1), ArgumentError);
    CHECK_THROWS_WITH(stored_core_shape(layout, {1, 5, 5, 1}, 1, 0),
                      "stored_core_shape: core 0 of shape 1 x 2 x 2 x 5 has no room for the "
                      "identity of bond 1");
    CHECK_NOTHROW(stored_core_shape(layout, {1, 5, 5, 1}, 0, 0));
}

TEST_CASE("stored form: the largest core is the centre, and each bond has its pivots beside it") {
    const Layout layout{{2, 3, 1}, {2, 1, 5}};
    CHECK(largest_core(layout, {1, 3, 5, 1}) == 1);
    CHECK(largest_core(layout, {1, 1, 1, 1}) == 2);
    CHECK(largest_core({{2, 1}, {2, 4}}, {1, 3, 1}) == 0);  // of equal cores the first
    CHECK_THROWS_AS(largest_core(layout, {1, 3, 1}), ShapeError);
    const Index expected[3][2] = {
        {15, 5}, {4, 5}, {4, 9}};  // o i D' behind the centre, D o i before
    for (Index center = 0; center < 3; ++center)
        for (Index k = 1; k < 3; ++k)
            CHECK(pivot_rows(layout, {1, 3, 5, 1}, center, k) == expected[center][k - 1]);
    CHECK_THROWS_AS(pivot_rows(layout, {1, 3, 5, 1}, 0, 0), ArgumentError);
    CHECK_THROWS_AS(pivot_rows(layout, {1, 3, 5, 1}, 0, 3), ArgumentError);
    CHECK_THROWS_AS(pivot_rows(layout, {1, 3, 5, 1}, 3, 1), ArgumentError);
}

TEMPLATE_LIST_TEST_CASE("stored form: pivots become the identity, numbers go between them", "",
                        EveryScalar) {
    using T = TestType;
    const Layout layout{{2, 2, 1}, {2, 1, 3}};
    const Shape bonds{1, 2, 2, 1};
    const GaugeFixedMpo<T> stored(layout, bonds, 1, counting_cores<T>(layout, bonds, 1),
                                  {{0, 3}, {0, 2}});
    CHECK(stored.num_stored() == 4 + 8 + 2);
    CHECK(stored.largest_coefficient() == 31);
    const auto whole = stored.expand();
    const Tensor<T> first({1, 2, 2, 2}, {1, 0, 10, 11, 12, 13, 0, 1});
    const Tensor<T> last({2, 1, 3, 1}, {1, 30, 0, 0, 31, 1});
    CHECK(naive::distance(whole.core(0), first) == 0);
    CHECK(naive::distance(whole.core(1), stored.cores()[1]) == 0);
    CHECK(naive::distance(whole.core(2), last) == 0);
    CHECK(GaugeFixedMpo<T>().expand().num_sites() == 0);
}

TEST_CASE("stored form: what does not fit together is refused") {
    const Layout layout{{2, 2, 1}, {2, 1, 3}};
    const Shape bonds{1, 2, 2, 1};
    const auto make = [&](auto change) {
        auto cores = counting_cores<float>(layout, bonds, 1);
        std::vector<Shape> pivots{{0, 3}, {0, 2}};
        Index center = 1;
        change(cores, pivots, center);
        return GaugeFixedMpo<float>(layout, bonds, center, std::move(cores), std::move(pivots));
    };
    using C = std::vector<Tensor<float>>;
    using P = std::vector<Shape>;
    CHECK_NOTHROW(make([](C&, P&, Index&) {}));
    CHECK_THROWS_AS(make([](C& c, P&, Index&) { c.pop_back(); }), ArgumentError);
    CHECK_THROWS_AS(make([](C&, P& p, Index&) { p.pop_back(); }), ArgumentError);
    CHECK_THROWS_AS(make([](C&, P&, Index& center) { center = 3; }), ArgumentError);
    CHECK_THROWS_AS(make([](C&, P&, Index& center) { center = 0; }), ShapeError);
    CHECK_THROWS_WITH(make([](C& c, P&, Index&) {
                          c[0] = Tensor<float>({3, 2});
                      }),
                      "GaugeFixedMpo: of core 0 must be stored 2 x 2, got 3 x 2");
    CHECK_THROWS_WITH(make([](C&, P& p, Index&) { p[0] = {0}; }),
                      "bond 1 must have 2 pivots, got 1");
    for (const Shape& wrong : {Shape{3, 0}, Shape{1, 1}, Shape{0, 4}, Shape{-1, 2}})
        CHECK_THROWS_AS(make([&](C&, P& p, Index&) { p[0] = wrong; }), ArgumentError);
    CHECK_THROWS_WITH(make([](C&, P& p, Index&) {
                          p[1] = {1, 3};
                      }),
                      "the pivots of bond 2 must ascend and lie in 0..2, got 3 behind 1");
}

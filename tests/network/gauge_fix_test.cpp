// Gauge-fixed storage keeps W, as many numbers as integers promise, and coefficients small.
#include "mpo/network/gauge_fix.hpp"

#include <limits>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/matrices.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Chains of 1 to 5 sites: low rank and its mirror image, prime legs, legs of 1, bonds of 1, of full
/// rank and of a little less.
[[nodiscard]] std::vector<Chain> chains_of_every_kind() {
    auto chains = awkward_chains();
    for (const Chain& chain : std::vector<Chain>{
             {{{13, 1}, {1, 17}}, {1, 13, 1}},
             {{{13, 1}, {1, 17}}, {1, 12, 1}},
             {{{1, 11}, {7, 1}}, {1, 5, 1}},
             {{{5, 4}, {4, 6}}, {1, 1, 1}},
             {{{5, 4}, {4, 6}}, {1, 20, 1}},
             {{{3, 4, 2}, {5, 2, 3}}, {1, 15, 6, 1}},
             {{{3, 4, 2}, {5, 2, 3}}, {1, 7, 4, 1}},
             {{{2, 3, 2, 3}, {3, 2, 3, 2}}, {1, 6, 20, 6, 1}},
             {{{2, 3, 1, 2, 2}, {2, 1, 5, 2, 3}}, {1, 4, 9, 8, 3, 1}},
         })
        chains.push_back(chain);
    return chains;
}

/// The bonds that are left where every core keeps at least as many rows as columns, by lowering them
/// one by one.
[[nodiscard]] Shape lowered_bonds(const Layout& layout, Shape bonds) {
    for (bool changed = true; changed;) {
        changed = false;
        for (std::size_t k = 1; k + 1 < bonds.size(); ++k) {
            const Index left = bonds[k - 1] * layout.out[k - 1] * layout.in[k - 1];
            const Index right = layout.out[k] * layout.in[k] * bonds[k + 1];
            if (bonds[k] <= std::min(left, right)) continue;
            --bonds[k];
            changed = true;
        }
    }
    return bonds;
}

/// Law: it is W, with numbers and pivots where they belong.
template <class T>
void check_stored(const GaugeFixedMpo<T>& stored, const Mpo<T>& mpo, double max_coefficient) {
    const auto& layout = stored.layout();
    CHECK(layout == mpo.layout());
    CHECK(stored.bond_dims() == lowered_bonds(layout, mpo.bond_dims()));
    CHECK(stored.num_stored() == num_stored(layout, mpo.bond_dims()));
    CHECK(stored.num_stored() <= rows(layout) * cols(layout));
    CHECK(stored.largest_coefficient() <= max_coefficient + tolerance<T>(mpo.num_parameters(), 1));
    const auto W = naive::to_dense(mpo);
    const auto whole = stored.expand();
    CHECK(whole.bond_dims() == stored.bond_dims());
    CHECK(naive::distance(naive::to_dense(whole), W) <= sweep_rounding(mpo, naive::norm(W)));
    for (Index k = 0; k < stored.num_sites(); ++k) {  // every core but the centre has its identity
        if (k == stored.center()) continue;
        const bool left = k < stored.center();
        const auto& core = whole.core(k);
        const auto& pivots = stored.pivots()[static_cast<std::size_t>(left ? k : k - 1)];
        const auto D = static_cast<Index>(pivots.size()), m = core.size() / D;
        for (Index a = 0; a < D; ++a)
            for (Index b = 0; b < D; ++b) {
                const Index row = pivots[static_cast<std::size_t>(a)];
                CHECK(core.data()[left ? row * D + b : b * m + row] == T(a == b ? 1 : 0));
            }
    }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("gauge_fix: the same matrix from as few numbers as promised", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [layout, bonds] : chains_of_every_kind()) {
        CAPTURE(to_string(layout), to_string(bonds));
        const auto mpo = random_mpo<T>(layout, bonds, 5);
        check_stored(gauge_fix(mpo, backend), mpo, GaugeFixOptions{}.max_coefficient);
        for (Index center = 0; center < num_sites(layout); ++center) {
            const auto stored = gauge_fix(mpo, {center, 1.5}, backend);
            CHECK(stored.center() == center);
            check_stored(stored, mpo, 1.5);
        }
    }
}

TEMPLATE_LIST_TEST_CASE("gauge_fix: of two sites the centre holds entries of W, whatever the gauge",
                        "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const Layout layout{{4, 3}, {2, 5}};
    const auto mpo = random_mpo<T>(layout, {1, 5, 1}, 3);
    const auto W = naive::to_dense(mpo);
    for (Index gauge = 0; gauge < 2; ++gauge)
        for (Index center = 0; center < 2; ++center) {
            const auto stored = gauge_fix(move_center(mpo, gauge, backend), {center, 1.1}, backend);
            const auto& whole = stored.cores()[static_cast<std::size_t>(center)];  // (D, o, i, D')
            double distance = 0;
            for (Index a = 0; a < 5; ++a) {
                const Index pivot = stored.pivots()[0][static_cast<std::size_t>(a)];
                const Index o = pivot / layout.in[1 - static_cast<std::size_t>(center)];
                const Index i = pivot % layout.in[1 - static_cast<std::size_t>(center)];
                for (Index row = 0; row < whole.extent(1); ++row)
                    for (Index col = 0; col < whole.extent(2); ++col)
                        distance += center == 0 ? std::abs(Wide<T>(whole(0, row, col, a)) -
                                                           W(row * 3 + o, col * 5 + i))
                                                : std::abs(Wide<T>(whole(a, row, col, 0)) -
                                                           W(o * 3 + row, i * 5 + col));
            }
            CHECK(distance <= sweep_rounding(mpo, naive::norm(W)));
        }
    CHECK(gauge_fix(mpo, backend).center() == 1);  // 5 * 15 numbers; of equal cores the first
    CHECK(gauge_fix(random_mpo<T>({{2, 3}, {3, 2}}, {1, 5, 1}, 3), backend).center() == 0);
}

TEMPLATE_LIST_TEST_CASE("gauge_fix: scales and zeros are no obstacle, NaN and overflow are", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const Layout layout{{4, 3}, {2, 5}};
    const auto mpo = random_mpo<T>(layout, {1, 4, 1}, 8);
    const auto scaled = [&](Index site, Real<T> factor) {
        auto cores = mpo.cores();
        auto& core = cores[static_cast<std::size_t>(site)];
        for (Index n = 0; n < core.size(); ++n) core.data()[n] *= factor;
        return Mpo<T>(std::move(cores));
    };
    for (const Real<T> factor : {Real<T>(0), std::numeric_limits<Real<T>>::min(),
                                 std::numeric_limits<Real<T>>::max() / 64})
        for (Index site = 0; site < 2; ++site)
            check_stored(gauge_fix(scaled(site, factor), backend), scaled(site, factor), 1.1);
    for (const Real<T> bad :
         {std::numeric_limits<Real<T>>::quiet_NaN(), std::numeric_limits<Real<T>>::infinity()}) {
        auto cores = mpo.cores();
        cores[1].data()[3] = T(bad);
        CHECK_THROWS_WITH(gauge_fix(Mpo<T>(std::move(cores)), backend),
                          "gauge_fix: core 1 holds NaN or Inf");
    }
    std::vector<Tensor<T>> large;
    for (const Shape& shape : {Shape{1, 2, 2, 1}, Shape{1, 2, 2, 1}}) {
        large.emplace_back(shape);
        std::fill_n(large.back().data(), 4, T(std::numeric_limits<Real<T>>::max() / 4));
    }
    CHECK_THROWS_AS(gauge_fix(Mpo<T>(std::move(large)), backend), NumericalError);
}

TEST_CASE("gauge_fix: a smaller bound makes smaller coefficients") {
    const EigenBackend cpu;
    const auto mpo = random_mpo<float>({{20, 6}, {5, 20}}, {1, 40, 1}, 4);
    const auto loose = gauge_fix(mpo, {0, 100.0}, cpu), tight = gauge_fix(mpo, {0, 1.01}, cpu);
    CHECK(loose.largest_coefficient() > 1.1);
    CHECK(tight.largest_coefficient() <= 1.01 + tolerance<float>(mpo.num_parameters(), 1));
}

TEST_CASE("gauge_fix: wrong options are refused") {
    const EigenBackend cpu;
    const auto mpo = random_mpo<float>({{4, 3}, {2, 5}}, {1, 4, 1}, 8);
    CHECK_THROWS_WITH(gauge_fix(mpo, {2, 1.1}, cpu),
                      "gauge_fix: the centre of 2 sites must be in 0..1, got 2");
    CHECK_THROWS_AS(gauge_fix(mpo, {-1, 1.1}, cpu), ArgumentError);
    for (const double bound : {1.0, -2.0, std::numeric_limits<double>::quiet_NaN(),
                               std::numeric_limits<double>::infinity()})
        CHECK_THROWS_AS(gauge_fix(mpo, {0, bound}, cpu), ArgumentError);
    CHECK_THROWS_AS(gauge_fix(Mpo<float>(), cpu), ArgumentError);
}

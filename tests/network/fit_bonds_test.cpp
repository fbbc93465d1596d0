// Bonds that move to where they are worth most: a chain with uneven bonds is found from even ones, limits hold,
// no round loses, and what a split drops is what it says.
#include "mpo/network/fit_bonds.hpp"

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"
#include "support/files.hpp"
#include "support/matrices.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// A second moment whose eigenvalues fall by 10.
template <class G>
[[nodiscard]] Tensor<G> moment(Index n) {
    std::vector<double> falling;
    for (Index k = 0; k < n; ++k)
        falling.push_back(std::pow(10.0, -static_cast<double>(k) / static_cast<double>(n)));
    return hermitian<G>(falling, 41);
}

/// A chain of even bonds with no more numbers and multiply-adds than the limits allow, fitted.
template <class T, class B>
[[nodiscard]] Fitted<T> even_fit(const Tensor<T>& w, const Tensor<GramScalar<B, T>>& s,
                                 const Layout& layout, const FitBondsOptions& options,
                                 const B& backend) {
    auto fit_options = options.fit;
    fit_options.layout = layout;
    fit_options.max_bond_dim = price_layout(layout, options.limits).max_bond_dim;
    return fit(w, s, fit_options, backend);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("fit_bonds: a chain of uneven bonds is found from even ones", "",
                        BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    const std::vector<Chain> chains{{{{3, 4, 4}, {4, 3, 3}}, {1, 2, 9, 1}},
                                    {{{3, 4, 4}, {4, 3, 3}}, {1, 10, 2, 1}},
                                    {{{3, 2, 2, 3}, {3, 2, 3, 2}}, {1, 2, 8, 2, 1}}};
    for (const auto& [layout, bonds] : chains) {
        CAPTURE(to_string(layout), to_string(bonds));
        const auto w = to_dense(random_mpo<T>(layout, bonds, 51), backend);
        const auto s = moment<GramScalar<B, T>>(cols(layout));
        FitBondsOptions options;
        options.limits.max_parameters = num_parameters(layout, bonds);
        options.max_rounds = 8;
        options.fit.ridge = 0;
        const auto even = even_fit(w, s, layout, options, backend);
        REQUIRE(even.report.relative_loss() > 1e-2);
        const auto found = fit_bonds(w, s, even.mpo, options, backend);
        CHECK(found.mpo.bond_dims() == bonds);
        CHECK(found.report.relative_loss() < 1e3 * std::numeric_limits<Real<T>>::epsilon());
    }
}

TEMPLATE_LIST_TEST_CASE("fit_bonds: limits hold and no round loses", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    for (const Layout& layout : {Layout{{4, 3, 2}, {2, 3, 5}}, Layout{{2, 3, 2, 2}, {3, 2, 2, 3}},
                                 Layout{{6, 4}, {5, 6}}, Layout{{5, 1, 4}, {1, 12, 2}}})
        for (const auto stored_as : {StoredAs::cores, StoredAs::gauge_fixed})
            for (const double adds : {1e9, 0.8}) {
                const Index m = rows(layout), n = cols(layout);
                const auto w = normal_tensor<T>({m, n}, 52);
                const auto s = moment<GramScalar<B, T>>(n);
                FitBondsOptions options;
                options.limits.stored_as = stored_as;
                options.limits.max_parameters = m * n / 2;
                options.limits.max_multiply_adds =
                    static_cast<Index>(adds * static_cast<double>(m * n));
                if (price_layout(layout, options.limits).max_bond_dim < 1) continue;
                CAPTURE(to_string(layout), to_string(stored_as), adds);
                const auto even = even_fit(w, s, layout, options, backend);
                const auto found = fit_bonds(w, s, even.mpo, options, backend);
                const auto bonds = found.mpo.bond_dims();
                CAPTURE(to_string(bonds));
                CHECK(num_stored(layout, bonds, stored_as) <= options.limits.max_parameters);
                CHECK(multiply_adds_of_best_sweep(layout, bonds) <=
                      options.limits.max_multiply_adds);
                CHECK(found.mpo.layout() == layout);
                CHECK(found.report.loss <= even.report.loss * (1 + 1e-6));
                CHECK(std::is_sorted(found.report.losses.rbegin(), found.report.losses.rend()));
                CHECK(found.report.loss == found.report.losses.back());
            }
}

TEMPLATE_LIST_TEST_CASE("fit_bonds: a pair split drops what it says it drops", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using namespace mpo::detail;
    const B backend;
    // Two sites alone and S a product of two: the traces are exact, and the loss of the split is the tail.
    const Layout layout{{4, 3}, {3, 4}};
    const auto s1 = moment<T>(3), s2 = moment<T>(4);
    Tensor<T> S({12, 12});
    naive::for_each_index({3, 4, 3, 4}, [&](const Shape& at) {
        S(at[0] * 4 + at[1], at[2] * 4 + at[3]) = s1(at[0], at[2]) * s2(at[1], at[3]);
    });
    const auto mpo = random_mpo<T>(layout, {1, 12, 1}, 53);
    const auto s = send<T>(S, backend);
    const FitBlock<T, B> end;
    const SiteProblem<T, B> site(end, end, 12, 12, s.data(), s.data(), backend);
    const auto pair = merge(load(mpo.core(0), backend), load(mpo.core(1), backend), backend);
    REQUIRE(pair.shape == Shape{1, 4, 3, 3, 4, 1});
    const auto dense = naive::to_dense(mpo);
    for (const Index bond : {1, 5, 9, 12}) {
        const auto split = split_pair(pair, site.pair_traces(3), bond, backend);
        REQUIRE(split.bond == bond);
        REQUIRE(split.weights.size() == 12);
        double dropped = 0, total = 0;
        for (std::size_t k = 0; k < 12; ++k) {
            total += split.weights[k];
            if (static_cast<Index>(k) >= bond) dropped += split.weights[k];
        }
        std::vector<Tensor<T>> cores{store(split.first, backend), store(split.second, backend)};
        const auto cut = naive::to_dense(Mpo<T>(std::move(cores)));
        const auto E = naive::combination(Wide<T>{1}, dense, Wide<T>{-1}, cut);
        const double loss = naive::weighted_loss(E, naive::widen(S));
        CHECK(std::abs(loss - dropped) <= 2e-5 * total);
    }
}

TEST_CASE("fit_bonds: numbers go where a direction is worth most for its price, up to the limit") {
    const Layout layout{{8, 4, 8}, {4, 4, 4}};
    const Shape even{1, 8, 8, 1};
    const std::vector<double> flat(16, 1.0);
    std::vector<double> falling;
    for (int k = 0; k < 16; ++k) falling.push_back(std::pow(0.5, k));
    for (const auto stored_as : {StoredAs::cores, StoredAs::gauge_fixed}) {
        LayoutLimits limits;
        limits.stored_as = stored_as;
        limits.max_parameters = num_stored(layout, even, stored_as);
        const auto right = detail::allot_bonds(layout, even, {falling, flat}, limits);
        const auto left = detail::allot_bonds(layout, even, {flat, falling}, limits);
        CAPTURE(to_string(stored_as), to_string(right), to_string(left));
        CHECK(right[2] > right[1]);
        CHECK(right[1] >= 4);
        CHECK(left == Shape{1, right[2], right[1], 1});
        for (const auto& bonds : {left, right}) {
            CHECK(num_stored(layout, bonds, stored_as) <= limits.max_parameters);
            for (const std::size_t k : {1, 2}) {
                Shape grown = bonds;
                ++grown[k];
                CHECK((grown[k] > 16 ||
                       num_stored(layout, grown, stored_as) > limits.max_parameters));
            }
        }
    }
}

TEST_CASE("fit_bonds: what does not fit is refused with its numbers") {
    const EigenBackend cpu;
    const auto w = normal_tensor<double>({12, 10}, 54);
    const auto s = moment<double>(10);
    const Layout layout{{4, 3}, {2, 5}};
    const auto start = random_mpo<double>(layout, {1, 4, 1}, 55);
    FitBondsOptions options;
    options.limits.max_parameters = 91;  // the start has 4 * 8 + 4 * 15 = 92
    const auto fitted = [&] { (void)fit_bonds(w, s, start, options, cpu); };
    check_throws<ArgumentError>(fitted, {"92 numbers", "91"});
    options.limits.max_parameters = 92;
    options.limits.max_multiply_adds = 10;
    check_throws<ArgumentError>(fitted, {"multiply-adds", "10"});
    options.limits = {};
    options.max_rounds = 0;
    check_throws<ArgumentError>(fitted, {"max_rounds"});
    options.max_rounds = 1;
    const auto other = random_mpo<double>({{4, 2}, {2, 5}}, {1, 4, 1}, 56);
    check_throws<ShapeError>([&] { (void)fit_bonds(w, s, other, options, cpu); }, {"12 x 10"});
    CHECK(fit_bonds(w, s, start, options, cpu).report.loss > 0);
}

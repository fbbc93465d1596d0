// The search for a chain: limits are kept, the loss is what the chain loses, nothing that was left aside would have
// been much better, and the report says of every layout what it costs and why it lost.
#include "mpo/network/fit_search.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/matrices.hpp"
#include "support/naive.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Eigenvalues that fall by so many decades.
template <class G>
[[nodiscard]] Tensor<G> falling_moment(Index n, std::uint64_t seed, double decades = 2) {
    const auto Q = orthonormal_columns<Wide<G>>(n, n, seed);
    auto scaled = Q;
    for (Index i = 0; i < n; ++i)
        for (Index k = 0; k < n; ++k)
            scaled(i, k) *=
                std::pow(10.0, -decades * static_cast<double>(k) / static_cast<double>(n));
    auto S = naive::product(scaled, naive::adjoint(Q));
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j <= i; ++j) {
            const auto mean = (S(i, j) + conjugated(S(j, i))) / 2.0;
            S(i, j) = mean;
            S(j, i) = conjugated(mean);
        }
    return naive::narrow<G>(S);
}

/// tr((W - A) S (W - A)^H) / tr(W S W^H) with the ridge of the fit.
template <class T, class G>
[[nodiscard]] double naive_relative_loss(const Tensor<T>& w, const Tensor<G>& s,
                                         const Tensor<Wide<T>>& A, double ridge) {
    auto S = naive::widen(s);
    double trace = 0;
    for (Index k = 0; k < S.extent(0); ++k) trace += std::real(S(k, k));
    for (Index k = 0; k < S.extent(0); ++k)
        S(k, k) += ridge * trace / static_cast<double>(S.extent(0));
    const auto W = naive::widen(w);
    return naive::weighted_loss(naive::combination(Wide<T>{1}, W, Wide<T>{-1}, A), S) /
           naive::weighted_loss(W, S);
}

template <class T>
[[nodiscard]] FitSearchOptions<T> with_parameters(Index most) {
    FitSearchOptions<T> options;
    options.max_parameters = most;
    return options;
}

/// A chain of these legs, and noise beside it.
[[nodiscard]] Tensor<float> near_chain(const Layout& layout, Index bond, double noise,
                                       std::uint64_t seed) {
    const auto chain =
        naive::to_dense(random_mpo<float>(layout, uniform_bonds(layout, bond), seed));
    const auto rest = normal_tensor<double>(chain.shape(), seed + 1);
    return naive::narrow<float>(naive::combination(1.0, chain, noise, rest));
}

[[nodiscard]] const FitCandidate& winner_of(const FitSearch<float>& found) {
    return found.candidates.at(static_cast<std::size_t>(found.winner));
}

/// The smallest loss of the MPOs that were fitted to the end.
[[nodiscard]] std::optional<double> best_mpo_loss(const FitSearch<float>& found,
                                                  const Layout& low_rank) {
    std::optional<double> best;
    for (const auto& candidate : found.candidates)
        if (candidate.loss && !(candidate.layout == low_rank))
            best = (std::min)(best.value_or(1e300), *candidate.loss);
    return best;
}

const EigenBackend backend;

}  // namespace

TEST_CASE("fit search: the layouts are valid, each once, and their mirror images are there") {
    const auto has = [](const std::vector<Layout>& all, const Layout& one) {
        return std::find(all.begin(), all.end(), one) != all.end();
    };
    for (const auto& [m, n] : std::vector<std::pair<Index, Index>>{
             {1, 1}, {1, 12}, {7, 11}, {24, 24}, {48, 36}, {35, 24}, {576, 192}, {1536, 576}})
        for (const Index sites : {2, 3, 4}) {
            CAPTURE(m, n, sites);
            const auto layouts = fit_layouts(m, n, sites);
            const auto low_rank = low_rank_layout(m, n);
            REQUIRE(layouts.front() == low_rank);
            for (std::size_t k = 0; k < layouts.size(); ++k) {
                CAPTURE(to_string(layouts[k]));
                CHECK_NOTHROW(validate(layouts[k], m, n, "test"));
                CHECK(num_sites(layouts[k]) <= sites);
                CHECK(std::count(layouts.begin(), layouts.end(), layouts[k]) == 1);
                if (k == 0) continue;
                CHECK_FALSE(layouts[k] == mirrored(low_rank));
                CHECK(has(layouts, mirrored(layouts[k])));
                for (std::size_t j = 0; j < layouts[k].out.size(); ++j)
                    CHECK((layouts[k].out[j] > 1 || layouts[k].in[j] > 1));
            }
            for (const Index f : {2, 3, 4, 8, 16})
                if (m % f == 0 && n % f == 0 && m > f && n > f)
                    CHECK(has(layouts, *opposed_layout(m, n, f)));
            for (const Index f : {2, 3, 4})
                if (n % f == 0 && n > f && m > 1) CHECK(has(layouts, {{1, m}, {n / f, f}}));
        }
    const auto deep = fit_layouts(64, 64, 4);
    for (const Index sites : {2, 3, 4})
        CHECK(std::any_of(deep.begin(), deep.end(), [&](const Layout& layout) {
            return layout == balanced_layout(64, 64, sites);
        }));
    for (const Index sites : {-1, 0, 1, 13})
        check_throws<ArgumentError>([&] { (void)fit_layouts(8, 8, sites); },
                                    {std::to_string(sites)});
    check_throws<ArgumentError>([] { (void)fit_layouts(0, 8, 2); }, {"0"});
}

TEMPLATE_LIST_TEST_CASE("fit search: limits are kept, and the losses are what the chains lose", "",
                        BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using G = GramScalar<B, T>;
    const B here;
    const Index m = 12, n = 8;
    const auto w = normal_tensor<T>({m, n}, 71);
    const auto s = falling_moment<G>(n, 72);
    const double inf = std::numeric_limits<double>::infinity();
    for (const Index most : {21, 60, 95})
        for (const double flops : {0.55, inf})
            for (const StoredAs stored_as : {StoredAs::cores, StoredAs::gauge_fixed}) {
                CAPTURE(most, flops, stored_as);
                auto options = with_parameters<T>(most);
                options.max_flops_ratio = flops;
                options.stored_as = stored_as;
                const auto found = search_fit(w, s, options, here);
                REQUIRE(found.winner < static_cast<Index>(found.candidates.size()));
                for (std::size_t k = 0; k < found.candidates.size(); ++k) {
                    const auto& candidate = found.candidates[k];
                    CAPTURE(to_string(candidate.layout));
                    CHECK(candidate.parameters <= most);
                    CHECK(candidate.parameters ==
                          num_stored(candidate.layout, candidate.bonds, stored_as));
                    CHECK(candidate.multiply_adds ==
                          multiply_adds_of_best_sweep(candidate.layout, candidate.bonds));
                    CHECK(static_cast<double>(candidate.multiply_adds) <=
                          flops * static_cast<double>(m * n));
                    CHECK(candidate.start_loss);
                    CHECK(candidate.why.empty() == (static_cast<Index>(k) == found.winner));
                    if (candidate.loss && candidate.first_loss)
                        CHECK(*candidate.loss <= *candidate.first_loss);
                    if (candidate.first_loss) CHECK(*candidate.first_loss <= *candidate.start_loss);
                }
                const auto& won = found.candidates[static_cast<std::size_t>(found.winner)];
                const auto& mpo = found.best.mpo;
                CHECK(mpo.layout() == won.layout);
                CHECK(num_stored(mpo.layout(), mpo.bond_dims(), stored_as) <= most);
                const auto A = naive::to_dense(mpo);
                const double loss = naive_relative_loss(w, s, A, options.fit.ridge);
                const double size = 1 + naive::norm(A) / naive::norm(w);
                CHECK(std::abs(*won.loss - loss) <= tolerance<T>(m * n, size * size));
                CHECK(found.best.report.relative_loss() == *won.loss);
                const auto& losses = found.best.report.losses;
                for (std::size_t k = 1; k < losses.size(); ++k) CHECK(losses[k] <= losses[k - 1]);
                CHECK(static_cast<Index>(losses.size()) <= options.fit.max_sweeps + 1);
                const double total = found.best.report.total;  // all sweeps since the start
                CHECK(losses.front() / total == Approx(*won.start_loss));
                if (won.first_loss && losses.size() > 1)
                    CHECK(losses[1] / total == Approx(*won.first_loss));
            }
}

TEMPLATE_LIST_TEST_CASE("fit search: never worse than low rank in closed form, where it competes",
                        "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using G = GramScalar<B, T>;
    const B here;
    const Index m = 10, n = 8;
    const auto low_rank = low_rank_layout(m, n);
    for (std::uint64_t seed = 81; seed < 84; ++seed) {
        const auto w = normal_tensor<T>({m, n}, seed);
        const auto s = falling_moment<G>(n, seed + 10);
        const auto a = detail::send<T>(w, here);
        const auto b = detail::send<G>(s, here);
        const auto spectrum = weighted_spectrum<T>(matrix<const T>(a.data(), m, n),
                                                   matrix<const G>(b.data(), n, n), here);
        for (const Index rank : {1, 2, 4}) {
            CAPTURE(seed, rank);
            const Shape bonds{1, rank, 1};
            const auto options = with_parameters<T>(num_stored(low_rank, bonds));
            const auto found = search_fit(w, s, options, here);
            const auto& closed = found.candidates.front();
            REQUIRE(closed.layout == low_rank);
            REQUIRE(closed.bonds == bonds);
            REQUIRE(closed.loss);
            const double best =
                spectrum.losses[static_cast<std::size_t>(rank)] / spectrum.losses[0];
            CHECK(std::abs(*closed.loss - best) <= 0.01 * best + tolerance<T>(m * n, 1));
            CHECK(found.best.report.relative_loss() <= *closed.loss);
        }
    }
}

TEST_CASE("fit search: nothing that it left aside is more than 3 % better") {
    struct Problem {
        Tensor<float> w;
        Index n;
        double budget, decades = 2;
        bool prunes = true;
    };
    const std::vector<Problem> problems{
        {normal_tensor<float>({24, 18}, 91), 18, 0.5},
        {normal_tensor<float>({18, 24}, 92), 24, 0.3},
        {near_chain({{6, 4}, {3, 6}}, 5, 0.2, 93), 18, 0.5},
        {near_chain({{2, 12}, {12, 2}}, 6, 0.3, 94), 24, 0.6},
        {matrix_with_spectrum<float>(24, 24, exponential_spectrum(24), 95), 24, 0.4},
        {matrix_with_spectrum<float>(32, 24, power_spectrum(24), 96), 24, 0.5, 1},
        // first sweeps say too little where a few directions are nearly all of S
        {normal_tensor<float>({24, 24}, 97), 24, 0.5, 4, false}};
    std::uint64_t seed = 100;
    for (const auto& [w, n, budget, decades, prunes] : problems) {
        const auto s = falling_moment<double>(n, ++seed, decades);
        const Index m = w.extent(0);
        auto options =
            with_parameters<float>(static_cast<Index>(budget * static_cast<double>(m * n)));
        if (!prunes) {
            options.start_margin = options.margin = options.hope = 1e6;
            options.max_finalists = 1000;
        }
        const auto found = search_fit(w, s, options, backend);
        double best = *found.candidates.front().loss;
        Layout layout = found.candidates.front().layout;
        REQUIRE(layout == low_rank_layout(m, n));
        for (const auto& candidate : found.candidates) {
            if (candidate.layout == low_rank_layout(m, n)) continue;
            auto fit_options = options.fit;
            fit_options.layout = candidate.layout;
            fit_options.max_bond_dim =
                *std::max_element(candidate.bonds.begin(), candidate.bonds.end());
            const double loss = fit(w, s, fit_options, backend).report.relative_loss();
            if (loss < best) {
                best = loss;
                layout = candidate.layout;
            }
        }
        CAPTURE(seed, to_string(layout), best, to_string(winner_of(found).layout));
        CHECK(*winner_of(found).loss <= 1.03 * best);
        CHECK(*winner_of(found).loss >= 0.97 * best);
    }
}

TEST_CASE("fit search: the form that W has wins") {
    const Index n = 18;
    const auto s = falling_moment<double>(n, 111);
    const Layout layout{{6, 4}, {3, 6}};
    REQUIRE(layout == balanced_layout(24, n, 2));
    const auto found = search_fit(near_chain(layout, 4, 0.01, 112), s,
                                  with_parameters<float>(24 * n / 3), backend);
    CHECK(winner_of(found).layout == layout);
    const auto W = matrix_with_spectrum<float>(24, n, {1, 0.9, 0.8}, 113);
    const auto low = search_fit(W, s, with_parameters<float>(24 * n / 3), backend);
    CHECK(winner_of(low).layout == low_rank_layout(24, n));
}

TEST_CASE("fit search: after healing an MPO wins within the margin, and only there") {
    Index compared = 0;
    for (std::uint64_t seed = 121; seed < 127; ++seed) {
        const Index m = 24, n = 24;
        const auto low_rank = low_rank_layout(m, n);
        const auto w = matrix_with_spectrum<float>(m, n, power_spectrum(n), seed);
        const auto s = falling_moment<double>(n, seed + 20);
        auto options = with_parameters<float>(m * n / 2);
        options.hope = 100;
        const auto before = search_fit(w, s, options, backend);
        const auto mpo_loss = best_mpo_loss(before, low_rank);
        REQUIRE(mpo_loss);
        const double ratio = *mpo_loss / *before.candidates.front().loss;
        CAPTURE(seed, ratio);
        CHECK((ratio > 1) == (winner_of(before).layout == low_rank));
        if (ratio <= 1.02) continue;
        ++compared;
        options.objective = FitObjective::after_healing;
        options.healing_margin = 1.01 * ratio;
        const auto within = search_fit(w, s, options, backend);
        CHECK_FALSE(winner_of(within).layout == low_rank);
        CHECK(*winner_of(within).loss == *mpo_loss);
        CHECK(within.candidates.front().why.find("heals better") != std::string::npos);
        options.healing_margin = 0.99 * ratio;
        CHECK(winner_of(search_fit(w, s, options, backend)).layout == low_rank);
    }
    CHECK(compared > 0);
}

TEST_CASE("fit search: what is far behind is not fitted to the end") {
    const Index m = 24, n = 24;
    const auto s = falling_moment<double>(n, 131);
    const auto w = near_chain({{2, 12}, {12, 2}}, 6, 0.05, 132);
    auto options = with_parameters<float>(m * n / 2);
    const auto swept = [](const FitSearch<float>& found) {
        return std::count_if(found.candidates.begin(), found.candidates.end(),
                             [](const auto& one) { return one.first_loss.has_value(); });
    };
    const auto fitted = [](const FitSearch<float>& found) {
        return std::count_if(found.candidates.begin() + 1, found.candidates.end(),
                             [](const auto& one) { return one.loss.has_value(); });
    };
    const auto usual = search_fit(w, s, options, backend);
    CHECK(fitted(usual) <= 2);
    CHECK(swept(usual) < static_cast<Index>(usual.candidates.size()) - 1);
    options.start_margin = options.margin = options.hope = 1e6;
    options.max_finalists = 1000;
    const auto all = search_fit(w, s, options, backend);
    CHECK(fitted(all) == static_cast<Index>(all.candidates.size()) - 1);
    options.max_finalists = 1;
    CHECK(fitted(search_fit(w, s, options, backend)) == 1);
    options.max_finalists = 5;
    CHECK(fitted(search_fit(w, s, options, backend)) == 5);
    CHECK(winner_of(usual).loss <= 1.03 * *winner_of(all).loss);
}

TEST_CASE("fit search: given layouts compete and no others, low rank in its closed form") {
    const Index m = 24, n = 18;
    const auto s = falling_moment<double>(n, 141);
    const auto w = normal_tensor<float>({m, n}, 142);
    auto options = with_parameters<float>(m * n / 2);
    const Layout balanced{{6, 4}, {3, 6}}, three{{4, 3, 2}, {2, 3, 3}};
    options.layouts = {balanced};
    const auto one = search_fit(w, s, options, backend);
    REQUIRE(one.candidates.size() == 1);
    CHECK(one.best.mpo.layout() == balanced);
    CHECK(one.candidates.front().why.empty());
    auto alone = options.fit;
    alone.layout = balanced;
    const auto& bonds = one.candidates.front().bonds;
    alone.max_bond_dim = *std::max_element(bonds.begin(), bonds.end());
    CHECK(one.best.report.relative_loss() ==
          Approx(fit(w, s, alone, backend).report.relative_loss()).epsilon(1e-3));
    options.layouts = {three, low_rank_layout(m, n), balanced};  // in any order
    const auto found = search_fit(w, s, options, backend);
    REQUIRE(found.candidates.size() == 3);
    CHECK(found.candidates[0].layout == low_rank_layout(m, n));
    CHECK(found.candidates[1].layout == three);
    CHECK(found.candidates[2].layout == balanced);
    const auto usual = search_fit(w, s, with_parameters<float>(m * n / 2), backend);
    CHECK(*found.candidates[0].loss == *usual.candidates[0].loss);
    options.layouts = {{{6, 4}, {3, 5}}};
    check_throws<ShapeError>([&] { (void)search_fit(w, s, options, backend); },
                             {"search_fit", "15"});
}

TEST_CASE("fit search: nothing to keep, nothing that is heard, few samples") {
    const Index m = 12, n = 8;
    const auto options = with_parameters<float>(48);
    const auto w = normal_tensor<float>({m, n}, 151);
    for (const auto& found :
         {search_fit(Tensor<float>({m, n}), falling_moment<double>(n, 152), options, backend),
          search_fit(w, Tensor<double>({n, n}), options, backend)}) {
        CHECK(found.best.report.loss == 0);
        CHECK(found.best.report.relative_loss() == 0);
        for (const auto& candidate : found.candidates)
            CHECK(candidate.why.find("nan") == std::string::npos);
    }
    const auto x = normal_tensor<double>({n, 2}, 153);  // of 2 samples every bond of 2 keeps all
    const auto found = search_fit(w, naive::product(x, naive::adjoint(x)), options, backend);
    CHECK(found.best.report.relative_loss() < 1e-4);
}

TEST_CASE("fit search: the smallest size that it names is one that it can reach") {
    const Index m = 24, n = 18;
    const auto s = falling_moment<double>(n, 161);
    const auto w = normal_tensor<float>({m, n}, 162);
    auto options = with_parameters<float>(1);
    options.layouts = {{{4, 3, 2}, {2, 3, 3}},
                       low_rank_layout(m, n)};  // the smallest is not the last
    check_throws<ArgumentError>(
        [&] { (void)search_fit(w, s, options, backend); },
        {"the smallest has " + std::to_string(num_stored(options.layouts[0], {1, 1, 1, 1}))});
    const auto text = message_of<ArgumentError>(
        [&] { (void)search_fit(w, s, with_parameters<float>(1), backend); });
    CHECK(text.find("24 x 18") != std::string::npos);
    const std::string before = "the smallest has ";
    REQUIRE(text.find(before) != std::string::npos);
    const Index smallest = std::stol(text.substr(text.find(before) + before.size()));
    const auto found = search_fit(w, s, with_parameters<float>(smallest), backend);
    CHECK(winner_of(found).parameters == smallest);
    check_throws<ArgumentError>(
        [&] { (void)search_fit(w, s, with_parameters<float>(smallest - 1), backend); }, {before});
}

TEST_CASE("fit search: what it refuses") {
    const Index m = 12, n = 8;
    const auto s = falling_moment<double>(n, 171);
    const auto w = normal_tensor<float>({m, n}, 172);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    using Options = FitSearchOptions<float>;
    const auto refused = [&](const std::vector<std::string>& pieces, auto&& change) {
        auto options = with_parameters<float>(48);
        change(options);
        check_throws<ArgumentError>([&] { (void)search_fit(w, s, options, backend); }, pieces);
    };
    refused({"max_parameters", "0"}, [](Options& o) { o.max_parameters = 0; });
    for (const double ratio : {0.0, -1.0, nan})
        refused({"max_flops_ratio"}, [&](Options& o) { o.max_flops_ratio = ratio; });
    refused({"no layout", "0.001"}, [](Options& o) { o.max_flops_ratio = 0.001; });
    for (const double margin : {0.99, nan}) {
        refused({"margins"}, [&](Options& o) { o.margin = margin; });
        refused({"margins"}, [&](Options& o) { o.start_margin = margin; });
        refused({"margins"}, [&](Options& o) { o.healing_margin = margin; });
        refused({"hope"}, [&](Options& o) { o.hope = margin; });
    }
    refused({"max_finalists"}, [](Options& o) { o.max_finalists = 0; });
    refused({"1"}, [](Options& o) { o.max_sites = 1; });
    refused({"13"}, [](Options& o) { o.max_sites = 13; });
    refused({"ridge"}, [&](Options& o) { o.fit.ridge = nan; });
    const auto options = with_parameters<float>(48);
    check_throws<ShapeError>(
        [&] { (void)search_fit(w, falling_moment<double>(n + 1, 1), options, backend); },
        {"9 x 9"});
    auto bad = w;
    bad(3, 4) = std::numeric_limits<float>::infinity();
    check_throws<NumericalError>([&] { (void)search_fit(bad, s, options, backend); }, {"Inf"});
    auto indefinite = s;
    indefinite(5, 5) -= 3;
    check_throws<NumericalError>([&] { (void)search_fit(w, indefinite, options, backend); },
                                 {"not positive semidefinite"});
}

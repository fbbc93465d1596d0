// The fit in the metric of the inputs: the quadratic form of a core is the loss, sweeps never raise it, where
// the optimum is known it is reached, and the loss that is reported is the loss.
#include "mpo/network/fit.hpp"

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"
#include "support/matrices.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// A second moment whose eigenvalues fall by 10^4, or of fewer samples than inputs.
template <class G>
[[nodiscard]] std::vector<Tensor<G>> moments(Index n) {
    std::vector<double> falling;
    for (Index k = 0; k < n; ++k)
        falling.push_back(std::pow(10.0, -4.0 * static_cast<double>(k) / static_cast<double>(n)));
    return {hermitian<G>(falling, 41), hermitian<G>(rank_deficient_spectrum(n, (n + 1) / 2), 42)};
}

/// What rounding in T may do to tr((W - A) S (W - A)^H): to W and A, which enters squared, and with their
/// difference. A may be large where S hears nothing.
template <class T, class G>
[[nodiscard]] double rounding_of_loss(const Tensor<T>& w, const Tensor<G>& s, double loss,
                                      double norm_of_A = 0) {
    double trace = 0;
    for (Index k = 0; k < s.extent(0); ++k) trace += std::real(s(k, k));
    const double error = tolerance<T>(w.size(), (naive::norm(w) + norm_of_A) * std::sqrt(trace));
    return error * (error + 2 * std::sqrt(loss));
}

/// S as the fit takes it, with what it adds to the diagonal.
template <class G>
[[nodiscard]] Tensor<G> with_ridge(Tensor<G> s) {
    double trace = 0;
    for (Index k = 0; k < s.extent(0); ++k) trace += std::real(s(k, k));
    for (Index k = 0; k < s.extent(0); ++k)
        s(k, k) +=
            static_cast<Real<G>>(FitOptions{}.ridge * trace / static_cast<double>(s.extent(0)));
    return s;
}

template <class T>
[[nodiscard]] double naive_loss(const Tensor<T>& w, const Tensor<Wide<T>>& A, const auto& s) {
    const auto E = naive::combination(Wide<T>{1}, naive::widen(w), Wide<T>{-1}, A);
    return naive::weighted_loss(E, naive::widen(s));
}

/// Sites first .. last - 1 of a chain as one tensor (D, out, in, D'), entry by entry.
template <class T>
[[nodiscard]] Tensor<T> merged(const Mpo<T>& mpo, Index first, Index last) {
    Tensor<T> block({1, 1, 1, 1}, {T{1}});
    if (first < last) {
        const Index bond = mpo.core(first).extent(0);
        block = Tensor<T>({bond, 1, 1, bond});
        for (Index a = 0; a < bond; ++a) block(a, 0, 0, a) = T{1};
    }
    for (Index k = first; k < last; ++k) {
        const auto& core = mpo.core(k);
        const Shape &s = block.shape(), &t = core.shape();
        Tensor<T> next({s[0], s[1] * t[1], s[2] * t[2], t[3]});
        naive::for_each_index({s[0], s[1], s[2], s[3], t[1], t[2], t[3]}, [&](const Shape& at) {
            next(at[0], at[1] * t[1] + at[4], at[2] * t[2] + at[5], at[6]) +=
                block(at[0], at[1], at[2], at[3]) * core(at[3], at[4], at[5], at[6]);
        });
        block = std::move(next);
    }
    return block;
}

/// The problem of core k of a chain, with all that it refers to.
template <class T, class B>
struct CoreProblem {
    using Blocks = detail::FitBlock<T, B>;

    CoreProblem(const Mpo<T>& mpo, Index k, const Tensor<T>& w, const Tensor<T>& s,
                const B& machine)
        : S(detail::send<T>(s, machine)),
          C(detail::send<T>(naive::narrow<T>(naive::product(naive::widen(w), naive::widen(s))),
                            machine)) {
        const auto l = merged(mpo, 0, k), r = merged(mpo, k + 1, mpo.num_sites());
        if (k > 0)
            left = Blocks({{detail::leg_ml, detail::leg_nl, detail::leg_a},
                           {l.extent(1), l.extent(2), l.extent(3)},
                           detail::send<T>(l, machine)},
                          detail::leg_ml, detail::leg_nl, detail::leg_a, machine);
        if (k + 1 < mpo.num_sites())
            right = Blocks({{detail::leg_b, detail::leg_mr, detail::leg_nr},
                            {r.extent(0), r.extent(1), r.extent(2)},
                            detail::send<T>(r, machine)},
                           detail::leg_mr, detail::leg_nr, detail::leg_b, machine);
        site.emplace(left, right, mpo.core(k).extent(1), mpo.core(k).extent(2), S.data(), C.data(),
                     machine);
    }

    BufferOf<B, T> S, C;
    Blocks left, right;
    std::optional<detail::SiteProblem<T, B>> site;
};

template <class T>
[[nodiscard]] Mpo<T> with_core(const Mpo<T>& mpo, Index k, Tensor<T> core) {
    auto cores = mpo.cores();
    cores[static_cast<std::size_t>(k)] = std::move(core);
    return Mpo<T>(std::move(cores));
}

/// Chains whose cores see blocks that are reduced by QR and blocks that are not, ends, legs of 1.
[[nodiscard]] std::vector<Chain> fitted_chains() {
    return {{{{4, 3}, {2, 5}}, {1, 6, 1}},
            {{{12, 2}, {2, 6}}, {1, 3, 1}},
            {{{2, 12}, {6, 2}}, {1, 3, 1}},
            {{{7, 1}, {1, 11}}, {1, 3, 1}},
            {{{3, 2, 4}, {2, 3, 2}}, {1, 4, 5, 1}},
            {{{5, 1, 3}, {1, 7, 2}}, {1, 2, 3, 1}},
            {{{2, 2, 3, 2}, {2, 3, 1, 2}}, {1, 3, 4, 2, 1}}};
}

template <class T>
[[nodiscard]] FitOptions options_for(const Chain& chain) {
    FitOptions options;
    options.layout = chain.layout;
    options.max_bond_dim = *std::max_element(chain.bonds.begin(), chain.bonds.end());
    return options;
}

/// What fit says to W, S and options; "" where it takes them.
template <class E, class T, class G>
[[nodiscard]] std::string refusal(const Tensor<T>& w, const Tensor<G>& s,
                                  const FitOptions& options) {
    try {
        (void)fit(w, s, options, EigenBackend{});
    } catch (const E& error) {
        return error.what();
    }
    return "";
}

[[nodiscard]] bool names(const std::string& text, std::string_view part) {
    UNSCOPED_INFO(text);
    return text.find(part) != std::string::npos;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("fit: the quadratic form of a core is the loss", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    for (const auto& [layout, bonds] : fitted_chains()) {
        const Index m = rows(layout), n = cols(layout);
        const auto w = normal_tensor<T>({m, n}, 31);
        const auto mpo = random_mpo<T>(layout, bonds, 32);
        for (const auto& wide : moments<Wide<T>>(n)) {
            const auto s = naive::narrow<T>(wide);
            const double constant = naive_loss(w, Tensor<Wide<T>>({m, n}), s);
            for (Index k = 0; k < mpo.num_sites(); ++k) {
                CAPTURE(to_string(layout), k);
                const CoreProblem<T, B> problem(mpo, k, w, s, backend);
                const auto& site = *problem.site;
                const auto X = normal_tensor<T>(mpo.core(k).shape(), 33);
                REQUIRE(site.core_shape() == X.shape());
                const auto x = detail::send<T>(X, backend);
                const auto hx = detail::fetch<T>(site.apply(x.data()).data(), X.size(), 1, backend);
                const auto q = detail::fetch<T>(site.rhs().data(), X.size(), 1, backend);
                const auto flat = naive::widen(X).reshape({X.size(), 1});
                const double quadratic = std::real(naive::inner(flat, naive::widen(hx))),
                             linear = std::real(naive::inner(naive::widen(q), flat));
                const double loss = naive_loss(w, naive::to_dense(with_core(mpo, k, X)), s);
                CHECK(std::abs(quadratic - 2 * linear + constant - loss) <=
                      tolerance<T>(m * n * n, constant + quadratic));
            }
        }
    }
}

TEMPLATE_LIST_TEST_CASE("fit: a core's matrix is what apply does", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    for (const auto& [layout, bonds] : fitted_chains()) {
        const auto w = normal_tensor<T>({rows(layout), cols(layout)}, 34);
        const auto mpo = random_mpo<T>(layout, bonds, 35);
        const auto s = naive::narrow<T>(moments<Wide<T>>(cols(layout)).front());
        for (Index k = 0; k < mpo.num_sites(); ++k) {
            CAPTURE(to_string(layout), k);
            const CoreProblem<T, B> problem(mpo, k, w, s, backend);
            const auto& site = *problem.site;
            const Index N = site.unknowns();
            const Shape shape = site.core_shape();
            const auto H = naive::widen(detail::fetch<T>(site.dense().data(), N, N, backend));
            const auto X = normal_tensor<T>(shape, 36);
            const auto x = detail::send<T>(X, backend);
            Tensor<T> applied(shape);
            backend.download(static_cast<const T*>(site.apply(x.data()).data()), applied.view());
            Tensor<Wide<T>> columns({N, shape[1]}), expected({N, shape[1]});
            naive::for_each_index(shape, [&](const Shape& at) {
                const Index row = (at[0] * shape[2] + at[2]) * shape[3] + at[3];
                columns(row, at[1]) = X(at[0], at[1], at[2], at[3]);
                expected(row, at[1]) = applied(at[0], at[1], at[2], at[3]);
            });
            const double size = naive::norm(H) * naive::norm(X);
            CHECK(naive::distance(naive::product(H, columns), expected) <=
                  tolerance<T>(N * cols(layout), size));
            CHECK(naive::distance(H, naive::adjoint(H)) <=
                  tolerance<T>(N * cols(layout), naive::norm(H)));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("fit: a solve takes a core to its minimum and says by how much", "",
                        BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    for (const auto& [layout, bonds] : fitted_chains()) {
        const auto w = normal_tensor<T>({rows(layout), cols(layout)}, 37);
        const auto mpo = right_canonicalize(random_mpo<T>(layout, bonds, 38), backend);
        const auto s = naive::narrow<T>(moments<Wide<T>>(cols(layout)).front());
        const double before = naive_loss(w, naive::to_dense(mpo), s);
        const CoreProblem<T, B> problem(mpo, 0, w, s, backend);
        const detail::SiteSolver<T, B> solver(*problem.site, backend);
        double reached[2] = {};
        for (const bool direct : {true, false}) {
            CAPTURE(to_string(layout), direct);
            auto x = detail::send<T>(mpo.core(0), backend);
            const auto gain = direct ? solver.solve(x) : solver.iterate(x, {200, 0});
            Tensor<T> X(mpo.core(0).shape());
            backend.download(static_cast<const T*>(x.data()), X.view());
            const double after = naive_loss(w, naive::to_dense(with_core(mpo, 0, X)), s);
            CHECK(std::abs(before - gain.gain - after) <=
                  tolerance<T>(w.size() * w.extent(1), before));
            reached[direct ? 0 : 1] = after;
            // no direction leads further down
            const auto hx =
                detail::fetch<T>(problem.site->apply(x.data()).data(), X.size(), 1, backend);
            const auto q = detail::fetch<T>(problem.site->rhs().data(), X.size(), 1, backend);
            CHECK(naive::distance(hx, q) <=
                  tolerance<T>(w.size() * w.extent(1), 64 * naive::norm(q)));
        }
        CHECK(std::abs(reached[0] - reached[1]) <= tolerance<T>(w.size() * w.extent(1), before));
    }
}

TEMPLATE_LIST_TEST_CASE("fit: where S is a product over the sites one iteration is the solution",
                        "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using W = Wide<T>;
    const B backend;
    for (const auto& [layout, bonds] : std::vector<Chain>{{{{4, 3}, {3, 4}}, {1, 5, 1}},
                                                          {{{2, 3, 2}, {3, 2, 3}}, {1, 3, 3, 1}}}) {
        Tensor<W> S({1, 1}, {W{1}});
        for (const Index n : layout.in) {
            std::vector<double> spectrum;
            for (Index k = 0; k < n; ++k) spectrum.push_back(std::pow(0.4, static_cast<double>(k)));
            const auto factor = hermitian<W>(spectrum, 63 + static_cast<std::uint64_t>(S.size()));
            const Index m = S.extent(0);
            Tensor<W> product({m * n, m * n});
            naive::for_each_index({m, n, m, n}, [&](const Shape& at) {
                product(at[0] * n + at[1], at[2] * n + at[3]) =
                    S(at[0], at[2]) * factor(at[1], at[3]);
            });
            S = std::move(product);
        }
        const auto w = normal_tensor<T>({rows(layout), cols(layout)}, 64);
        const auto mpo = random_mpo<T>(layout, bonds, 65);
        for (Index k = 0; k < mpo.num_sites(); ++k) {
            CAPTURE(to_string(layout), k);
            const CoreProblem<T, B> problem(mpo, k, w, naive::narrow<T>(S), backend);
            const detail::SiteSolver<T, B> solver(*problem.site, backend);
            auto x = detail::send<T>(mpo.core(k), backend);
            auto y = detail::send<T>(mpo.core(k), backend);
            const double best = solver.solve(x).gain, first = solver.iterate(y, {1, 0}).gain;
            CHECK(first >= 0.99 * best);
        }
    }
}

TEMPLATE_LIST_TEST_CASE("fit: losses never rise, and the last one is that of the chain", "",
                        BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    for (const auto& chain : fitted_chains()) {
        const Index m = rows(chain.layout), n = cols(chain.layout);
        const auto w = normal_tensor<T>({m, n}, 43);
        const auto heard = moments<GramScalar<B, T>>(n);
        for (const auto& s : heard)
            for (const FitStart start : {FitStart::plain, FitStart::whitened})
                for (const FitSolver solver : {FitSolver::direct, FitSolver::iterative}) {
                    // of the second moment each start with one solver
                    if (&s == &heard.back() &&
                        (start == FitStart::plain) == (solver == FitSolver::iterative))
                        continue;
                    CAPTURE(to_string(chain.layout), start, solver);
                    auto options = options_for<T>(chain);
                    options.start = start;
                    options.solver = solver;
                    options.max_sweeps = 2;
                    const auto [mpo, report] = fit(w, s, options, backend);
                    REQUIRE(mpo.layout() == chain.layout);
                    REQUIRE(report.losses.size() >= 1);
                    for (std::size_t k = 1; k < report.losses.size(); ++k)
                        CHECK(report.losses[k] <= report.losses[k - 1]);
                    CHECK(report.loss == report.losses.back());
                    const auto A = naive::to_dense(mpo);
                    const double loss = naive_loss(w, A, with_ridge(s)),
                                 slack = rounding_of_loss(w, s, loss, naive::norm(A));
                    CAPTURE(report.loss / loss, slack / loss, naive::norm(A));
                    CHECK(std::abs(report.loss - loss) <= slack);
                    const double total = naive_loss(w, Tensor<Wide<T>>({m, n}), with_ridge(s));
                    CHECK(std::abs(report.total - total) <= rounding_of_loss(w, s, total));
                    CHECK(naive::canonical_defect(mpo) <= sweep_rounding(mpo, 1));
                    for (const FitSolver used : report.solvers) CHECK(used == solver);
                }
    }
}

TEMPLATE_LIST_TEST_CASE("fit: what the steps of a sweep gain adds up to what it gains", "",
                        BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    for (const auto& chain : fitted_chains())
        for (const FitSolver solver : {FitSolver::direct, FitSolver::iterative}) {
            CAPTURE(to_string(chain.layout), solver);
            const Index m = rows(chain.layout), n = cols(chain.layout);
            const auto w = normal_tensor<T>({m, n}, 61);
            const auto s = moments<GramScalar<B, T>>(n).front();
            auto options = options_for<T>(chain);
            options.solver = solver;
            const detail::FitMetric<T, B> metric(w, s, options.ridge, backend);
            const auto start =
                right_canonicalize(random_mpo<T>(chain.layout, chain.bonds, 62), backend);
            const double before = metric.loss(start);
            detail::ChainFit<T, B> fitted(start, metric, options, backend);
            FitReport report;
            const double claimed = fitted.sweep(before, report);
            const double after = metric.loss(fitted.chain());
            CHECK(after < before);
            CHECK(std::abs(claimed - after) <= tolerance<T>(m * n * n, before));
        }
}

TEMPLATE_LIST_TEST_CASE("fit: where the optimum is known it is reached", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using G = GramScalar<B, T>;
    const B backend;
    const Index m = 12, n = 10;
    const auto w = normal_tensor<T>({m, n}, 44);
    SECTION("low rank: the closed form") {
        for (const auto& s : moments<G>(n))
            for (const auto& layout : {low_rank_layout(m, n), mirrored(low_rank_layout(m, n))})
                for (const Index rank : {1, 3, 9}) {
                    CAPTURE(to_string(layout), rank);
                    FitOptions options;
                    options.layout = layout;
                    options.max_bond_dim = rank;
                    const auto a = detail::send<T>(w, backend);
                    const auto b = detail::send<G>(with_ridge(s), backend);
                    const auto spectrum = weighted_spectrum<T>(
                        matrix<const T>(a.data(), m, n), matrix<const G>(b.data(), n, n), backend);
                    const double best = spectrum.losses[static_cast<std::size_t>(rank)];
                    const auto fitted = fit(w, s, options, backend);
                    const double slack = rounding_of_loss(w, s, best) + spectrum.resolution;
                    CAPTURE(fitted.report.loss / best, slack / best);
                    CHECK(fitted.report.loss >= best - slack);
                    if (layout.in[0] == 1) CHECK(fitted.report.loss <= 1.01 * best + slack);
                }
    }
    SECTION("equal inputs, two sites: Eckart and Young") {
        const auto one = naive::narrow<G>(naive::identity<Wide<G>>(n));
        FitOptions options;
        options.layout = {{3, 4}, {5, 2}};
        options.max_bond_dim = 4;
        const auto plain =
            decompose(w, {.layout = options.layout, .truncation = {.max_bond_dim = 4}}, backend);
        const double best =
            std::pow(plain.report.relative_error * plain.report.norm, 2) * (1 + options.ridge);
        const auto fitted = fit(w, one, options, backend);
        CHECK(std::abs(fitted.report.loss - best) <= rounding_of_loss(w, one, best));
    }
    SECTION("a chain with these bonds") {
        for (const auto& chain : fitted_chains()) {
            const auto exact = random_mpo<T>(chain.layout, chain.bonds, 45);
            const auto dense = naive::narrow<T>(naive::to_dense(exact));
            for (const auto& s : moments<G>(cols(chain.layout))) {
                CAPTURE(to_string(chain.layout));
                const auto fitted = fit(dense, s, options_for<T>(chain), backend);
                CHECK(fitted.report.loss <= rounding_of_loss(dense, s, fitted.report.loss) * 64);
            }
        }
    }
}

TEST_CASE("fit: correlated inputs make the fit several times better than TT-SVD") {
    const EigenBackend backend;
    const Index m = 48, n = 36;
    const auto w = normal_tensor<float>({m, n}, 46);
    const auto s = moments<double>(n).front();
    for (const Layout& layout :
         {Layout{{6, 8}, {6, 6}}, Layout{{24, 2}, {2, 18}}, Layout{{4, 4, 3}, {3, 4, 3}}}) {
        CAPTURE(to_string(layout));
        FitOptions options;
        options.layout = layout;
        options.max_bond_dim = max_uniform_bond(layout, m * n / 2);
        auto plain = options;
        plain.start = FitStart::plain;
        plain.max_sweeps = 0;
        const double before = fit(w, s, plain, backend).report.loss;
        CHECK(fit(w, s, options, backend).report.loss < before / 3);
    }
}

TEST_CASE("fit: the units of W and S do not matter") {
    const EigenBackend backend;
    const auto w = normal_tensor<float>({12, 10}, 47);
    const auto s = moments<double>(10).front();
    FitOptions options;
    options.layout = {{3, 4}, {5, 2}};
    options.max_bond_dim = 4;
    const double loss = fit(w, s, options, backend).report.relative_loss();
    for (const float unit : {1e-18F, 1e-3F, 1e15F})
        for (const double scale : {1e-20, 1e18}) {
            CAPTURE(unit, scale);
            auto scaled = w;
            for (Index k = 0; k < w.size(); ++k) scaled.data()[k] *= unit;
            auto moment = s;
            for (Index k = 0; k < s.size(); ++k) moment.data()[k] *= scale;
            const auto fitted = fit(scaled, moment, options, backend);
            CHECK(std::abs(fitted.report.relative_loss() - loss) <= 1e-2 * loss);
        }
}

TEST_CASE("fit: nothing to keep and nothing that is heard") {
    const EigenBackend backend;
    FitOptions options;
    options.layout = {{3, 4}, {5, 2}};
    options.max_bond_dim = 4;
    const auto w = normal_tensor<double>({12, 10}, 48);
    const auto silent = fit(w, Tensor<double>({10, 10}), options, backend);
    CHECK(silent.report.loss == 0);
    CHECK(silent.report.total == 0);
    CHECK(silent.report.relative_loss() == 0);
    const auto zero = fit(Tensor<double>({12, 10}), moments<double>(10).front(), options, backend);
    CHECK(zero.report.loss == 0);
    CHECK(naive::norm(naive::to_dense(zero.mpo)) == 0);
}

TEST_CASE("fit: a start of one's own") {
    const EigenBackend backend;
    const auto w = normal_tensor<double>({12, 10}, 49);
    const auto s = moments<double>(10).front();
    const Layout layout{{3, 4}, {5, 2}};
    const auto start = random_mpo<double>(layout, {1, 3, 1}, 50);
    FitOptions options;
    options.max_sweeps = 40;
    options.min_gain = 1e-6;
    const auto fitted = fit(w, s, start, options, backend);
    CHECK(fitted.mpo.bond_dims() == Shape{1, 3, 1});
    CHECK(fitted.report.losses.size() > 2);
    CHECK(fitted.report.losses.front() ==
          Approx(naive_loss(w, naive::to_dense(start), with_ridge(s))));
    options.max_sweeps = 0;
    const auto untouched = fit(w, s, start, options, backend);
    CHECK(naive::distance(naive::to_dense(untouched.mpo), naive::to_dense(start)) <=
          tolerance<double>(start.num_parameters(), naive::norm(naive::to_dense(start))));
    options.max_sweeps = 1;  // on from where an earlier fit ended
    const auto again = fit(w, s, fitted.mpo, options, backend);
    CHECK(again.report.losses.front() == Approx(fitted.report.loss));
    CHECK(again.report.loss <= again.report.losses.front());
}

TEST_CASE("fit: what it refuses") {
    const auto w = normal_tensor<float>({12, 10}, 51);
    const auto s = moments<double>(10).front();
    FitOptions options;
    options.layout = {{3, 4}, {5, 2}};
    options.max_bond_dim = 4;
    CHECK(names(refusal<ShapeError>(w, moments<double>(9).front(), options), "9 x 9"));
    CHECK(names(refusal<ShapeError>(normal_tensor<float>({12, 10, 2}, 1), s, options),
                "must be a matrix"));
    auto bad = w;
    bad(3, 4) = std::numeric_limits<float>::quiet_NaN();
    CHECK(names(refusal<NumericalError>(bad, s, options), "NaN"));
    auto skewed = s;
    skewed(1, 2) += 0.5;
    CHECK(names(refusal<NumericalError>(w, skewed, options), "not symmetric"));
    auto indefinite = s;
    indefinite(5, 5) -= 3;
    CHECK(names(refusal<NumericalError>(w, indefinite, options), "not positive semidefinite"));
    auto infinite = s;
    infinite(2, 2) = std::numeric_limits<double>::infinity();
    CHECK(names(refusal<NumericalError>(w, infinite, options), "S(2, 2)"));
    auto wrong = options;
    wrong.max_bond_dim = 0;
    CHECK(names(refusal<ArgumentError>(w, s, wrong), "max_bond_dim"));
    wrong = options;
    wrong.min_gain = std::numeric_limits<double>::quiet_NaN();
    CHECK(names(refusal<ArgumentError>(w, s, wrong), "min_gain"));
    wrong = options;
    wrong.layout = {{3, 4}, {5, 3}};
    CHECK(names(refusal<ShapeError>(w, s, wrong), "15"));
}

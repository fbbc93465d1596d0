// fit at the shapes of SmolLM2's linears: what a sweep costs beside the closed-form low rank, how near to the
// machine's rate of multiply-adds it comes, and whether the faster of its two solvers is the one it takes.
//
// Counted are the multiply-adds of the algorithm, two flops each: the right-hand side, forming H, n^3 / 6 for
// its factor, n^2 for two triangular solves and for every product with H per column and iteration,
// conjugate gradients as SiteProblem counts them, 2 m n^2 for the QR of a core (m, n) and m n^2 for what it
// carries on. Not counted: copies, blocks, preconditioners, the loss.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/linalg/weighted_low_rank.hpp"
#include "mpo/network/fit.hpp"
#include "support/probe.hpp"
#include "support/program.hpp"

namespace {

using namespace mpo;
using bench::Bar;
using bench::Comparison;
using bench::median;
using bench::median_interval;
using bench::Options;
using bench::ratios;
using bench::Row;
using bench::Side;

using Problem = detail::SiteProblem<float, EigenBackend>;
using Block = detail::FitBlock<float, EigenBackend>;
using Chain = detail::ChainFit<float, EigenBackend>;

const EigenBackend backend;

/// A seeded W (m, n), and S = sum over k of y_k y_k^T / k with normal y_k: eigenvalues that decay.
struct Linear {
    Tensor<float> W;
    Tensor<double> S;

    Linear(Index m, Index n) : W(normal_tensor<float>({m, n}, 1)), S({n, n}) {
        auto Y = normal_tensor<double>({n, n}, 2);
        for (Index i = 0; i < n; ++i)
            for (Index k = 0; k < n; ++k) Y(i, k) /= std::sqrt(static_cast<double>(k + 1));
        backend.syrk(matrix<const double>(Y.data(), n, n), matrix(S.data(), n, n));
    }
    [[nodiscard]] Index rows() const { return W.extent(0); }
    [[nodiscard]] Index cols() const { return W.extent(1); }
};

/// The largest bond of two sites, and the largest rank, whose parameters without the gauge fit into
/// `keep` of m n.
[[nodiscard]] Index largest_dim(Index sides, Index most, double keep, Index numbers) {
    Index dim = 1;
    while (dim < most && static_cast<double>((dim + 1) * (sides - dim - 1)) <=
                             keep * static_cast<double>(numbers))
        ++dim;
    return dim;
}
[[nodiscard]] Index bond_for(const Layout& layout, double keep) {
    const Index left = layout.out[0] * layout.in[0], right = layout.out[1] * layout.in[1];
    return largest_dim(left + right, std::min(left, right), keep, left * right);
}

/// A fit of two sites before its first sweep, and the problems of both cores.
class TwoSites {
  public:
    TwoSites(const Linear& linear, const Layout& layout, Index bond, const Options& options)
        : metric_(linear.W, linear.S, FitOptions{}.ridge, backend),
          options_{.layout = layout, .max_bond_dim = bond} {
        set_num_threads(options.threads);
        options_.max_sweeps = 0;
        auto found = fit(linear.W, linear.S, options_, backend);
        loss_ = found.report.loss / metric_.unit();
        start_ = scale(std::move(found.mpo), static_cast<float>(metric_.weight_scale()));
        const auto &first = start_->core(0), &last = start_->core(1);
        using namespace detail;
        const auto loaded = [](const Tensor<float>& core, std::vector<Index> legs, Shape shape) {
            return LegTensor<float, EigenBackend>{std::move(legs), std::move(shape),
                                                  send<float>(core, backend)};
        };
        left_ = Block(loaded(first, {leg_ml, leg_nl, leg_a},
                             {first.extent(1), first.extent(2), first.extent(3)}),
                      leg_ml, leg_nl, leg_a, backend);
        right_ = Block(
            loaded(last, {leg_b, leg_mr, leg_nr}, {last.extent(0), last.extent(1), last.extent(2)}),
            leg_mr, leg_nr, leg_b, backend);
    }

    [[nodiscard]] Problem problem(Index site) const {
        const auto& core = start_->core(site);
        return {site == 0 ? end_ : left_, site == 0 ? right_ : end_, core.extent(1), core.extent(2),
                metric_.moment(),         metric_.target(),          backend};
    }
    void prepare() { chain_.emplace(*start_, metric_, options_, backend); }
    void sweep() { (void)chain_->sweep(loss_, report_); }
    [[nodiscard]] const FitReport& report() const { return report_; }
    [[nodiscard]] double loss() const { return loss_; }
    [[nodiscard]] const Tensor<float>& core(Index site) const { return start_->core(site); }

    /// Of the sweep that the report tells of; `iterations` all of it.
    [[nodiscard]] double multiply_adds(Index iterations) const {
        const auto number = [](Index n) { return static_cast<double>(n); };
        double sum = 0, least_apply = INFINITY;
        bool iterates = false;
        for (const Index site : {Index{0}, Index{1}}) {
            const auto p = problem(site);
            const double N = number(p.unknowns()), o = number(p.core_shape()[1]);
            const double bond = number(start_->bond_dim(1));
            sum += bond * number(rows(options_.layout) * cols(options_.layout));  // right-hand side
            if (report_.solvers[static_cast<std::size_t>(site)] == FitSolver::direct) {
                sum += p.cost_of_dense().multiply_adds + N * N * N / 6 + 5 * N * N * o;
            } else {
                iterates = true;
                sum += p.multiply_adds_of_apply();  // the residual
                least_apply = std::min(least_apply, p.multiply_adds_of_apply());
            }
            sum += 2 * N * o * bond + bond * number(start_->core(1 - site).size());
        }
        return iterates ? sum + number(iterations) * least_apply : sum;
    }

  private:
    detail::FitMetric<float, EigenBackend> metric_;
    FitOptions options_;
    double loss_ = 0;
    std::optional<Mpo<float>> start_;
    Block end_, left_, right_;
    std::optional<Chain> chain_;
    FitReport report_;
};

/// One sweep: its rate beside the FMA probe, its time beside the closed-form low rank.
[[nodiscard]] Row sweep_row(Index m, Index n, const Layout& layout, Index bond, Index rank,
                            Bar* rate, const Options& options) {
    set_num_threads(options.threads);
    const Linear linear(m, n);
    TwoSites sites(linear, layout, bond, options);
    const bench::FmaProbe<float> probe;
    Index iterations = 0;
    std::vector<Side> sides{
        {.run =
             [&] {
                 const Index before = sites.report().iterations;
                 sites.sweep();
                 iterations = sites.report().iterations - before;
             },
         .prepare = [&] { sites.prepare(); }},
        {.run = [&] { probe.run(); }},
        {.run = [&] {
            benchmark::DoNotOptimize(weighted_low_rank<float>(
                matrix<const float>(linear.W.data(), m, n),
                matrix<const double>(linear.S.data(), n, n), {.max_bond_dim = rank}, backend));
        }}};
    sites.prepare();
    sites.sweep();  // warm
    const auto seconds = bench::interleave(
        {.rounds = options.size == bench::Size::full ? 9 : 3, .warm_up = bench::WarmUp::none},
        sides);
    const double flops = 2 * sites.multiply_adds(iterations);
    Row row{.seconds = median(seconds[0]),
            .flops = flops,
            .threads = options.threads,
            .ratio = median_interval(ratios(seconds[0], seconds[2])),
            .label = "ratio: time of a sweep to that of the closed-form low rank"};
    for (const FitSolver solver : sites.report().solvers)
        row.label += solver == FitSolver::direct ? "; direct" : "; iterative";
    row.counters["bond_dim"] = static_cast<double>(bond);
    row.counters["rank"] = static_cast<double>(rank);
    row.counters["low_rank_ms"] = 1e3 * median(seconds[2]);
    row.counters["iterations"] = static_cast<double>(iterations);
    auto rates = ratios(seconds[1], seconds[0]);
    for (double& x : rates) x *= flops / probe.flops(options.threads);
    row.counters["fma_share"] = median(rates);
    if (rate != nullptr) {
        rate->measured(median_interval(rates));
        row.bars = {rate};
    }
    return row;
}

/// Both solvers on one core: conjugate gradients as long as it takes to gain 0.99 of what the direct
/// solution gains. The bar gets the time of the one that the rule takes over that of the faster one.
[[nodiscard]] Row crossing_row(Index m, Index n, const Layout& layout, Index bond,
                               std::vector<double>& regrets, const Options& options) {
    set_num_threads(options.threads);
    const Linear linear(m, n);
    const TwoSites sites(linear, layout, bond, options);
    const auto problem = sites.problem(1);
    const detail::SiteSolver<float, EigenBackend> solver(problem, backend);
    auto X = detail::send<float>(sites.core(1), backend);
    const auto reset = [&] { backend.upload<float>(sites.core(1).view(), X.data()); };
    const double direct_gain = solver.solve(X).gain;
    Index needed = 1;
    for (bool enough = false; !enough && needed < 256;) {
        reset();
        enough = solver.iterate(X, {needed, 0}).gain >= 0.99 * direct_gain;
        if (!enough) needed += std::max<Index>(1, needed / 5);
    }
    const auto seconds = bench::interleave(
        {.rounds = 5}, {{.run = [&] { (void)solver.solve(X); }, .prepare = reset},
                        {.run =
                             [&] {
                                 benchmark::DoNotOptimize(solver.iterate(X, {needed, 0}));
                             },
                         .prepare = reset}});
    const double direct = median(seconds[0]), iterative = median(seconds[1]);
    const FitOptions defaults;
    const bool takes_direct = detail::direct_is_faster(problem, std::numeric_limits<Index>::max(),
                                                       defaults.max_iterations);
    regrets.push_back((takes_direct ? direct : iterative) / std::min(direct, iterative));
    Row row{.seconds = takes_direct ? direct : iterative, .threads = options.threads};
    row.label = takes_direct ? "the rule takes the direct route" : "the rule iterates";
    row.counters["unknowns"] = static_cast<double>(problem.unknowns());
    row.counters["columns"] = static_cast<double>(problem.core_shape()[1]);
    row.counters["direct_ms"] = 1e3 * direct;
    row.counters["iterative_ms"] = 1e3 * iterative;
    row.counters["iterations"] = static_cast<double>(needed);
    row.counters["worst_so_far"] = *std::max_element(regrets.begin(), regrets.end());
    return row;
}

/// The product W S.
[[nodiscard]] Row dense_row(Index m, Index n, const Options& options) {
    set_num_threads(options.threads);
    const auto W = normal_tensor<float>({m, n}, 1), S = normal_tensor<float>({n, n}, 2);
    Tensor<float> C({m, n});
    const auto seconds = bench::interleave(
        {}, {{.run = [&] {
            backend.gemm(1.0f, matrix<const float>(W.data(), m, n),
                         matrix<const float>(S.data(), n, n), 0.0f, matrix(C.data(), m, n));
        }}});
    return {.seconds = median(seconds[0]),
            .flops = 2.0 * static_cast<double>(m * n * n),
            .threads = options.threads};
}

void declare_sweeps(const Options& options) {
    struct Shape {
        Index m, n;
    };
    for (const auto [m, n] : {Shape{576, 576}, {192, 576}, {1536, 576}, {576, 1536}})
        for (const double keep : {0.5, 0.3}) {
            const auto layout = balanced_layout(m, n, 2);
            const Index bond = bond_for(layout, keep);
            const Index rank = largest_dim(m + n, std::min(m, n), keep, m * n);
            bench::add_row(detail::concat("fit/", m, "x", n, "/keep:", keep), options,
                           [=] { return sweep_row(m, n, layout, bond, rank, nullptr, options); });
        }
    const Index m = 1536, n = 576, bond = 134;
    const auto add = [&](const std::string& name, const Layout& layout) {
        auto& bar = bench::declare_bar({.name = "fit 1536x576 chi 134 " + name,
                                        .limit = 0.4,
                                        .what = "multiply-adds of a sweep / FMA probe"});
        bench::add_row("fit/1536x576/chi:134/" + name, options,
                       [=, &bar] { return sweep_row(m, n, layout, bond, bond, &bar, options); });
    };
    add("balanced", balanced_layout(m, n, 2));
    for (const Index f : {Index{2}, Index{4}})
        if (const auto layout = opposed_layout(m, n, f))
            add(detail::concat("opposed ", f), *layout);
}

void declare_crossing(const Options& options) {
    static std::vector<double> regrets;
    auto& bar = bench::declare_bar({.name = "fit: the solver that is taken",
                                    .comparison = Comparison::at_most,
                                    .limit = 1.5,
                                    .what = "its time / that of the faster one, worst of all"});
    const auto add = [&](const Layout& layout, Index bond, const char* name) {
        bench::add_row(detail::concat("fit/crossing/", name, "/chi:", bond), options, [=, &bar] {
            const Index m = rows(layout), n = cols(layout);
            Row row = crossing_row(m, n, layout, bond, regrets, options);
            const double worst = *std::max_element(regrets.begin(), regrets.end());
            const double best = *std::min_element(regrets.begin(), regrets.end());
            bar.measured({worst, best, worst}, detail::concat(regrets.size(), " problems"));
            row.bars = {&bar};
            return row;
        });
    };
    for (const Index bond : {8, 16, 32, 64, 96, 134})
        add(balanced_layout(1536, 576, 2), bond, "balanced");
    for (const Index bond : {8, 16, 24}) add(*opposed_layout(1536, 576, 4), bond, "opposed");
    for (const Index bond : {32, 96}) add(balanced_layout(192, 576, 2), bond, "narrow");
}

void declare_rows(const Options& options) {
    bench::add_row("dense_gemm/float/1536x576x576", options,
                   [=] { return dense_row(1536, 576, options); });
    declare_sweeps(options);
    declare_crossing(options);
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}

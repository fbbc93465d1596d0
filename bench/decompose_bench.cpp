// decompose against the SVD that everybody has: LAPACK's divide and conquer on OpenBLAS, and Eigen's
// where the spectrum is flat. Our times include the interleaving permutation, the peers' do not.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/decompose.hpp"
#include "support/eigen_bdcsvd.hpp"
#include "support/matrices.hpp"
#include "support/openblas.hpp"
#include "support/program.hpp"

namespace {

using namespace mpo;
using bench::Bar;
using bench::Comparison;
using bench::Interval;
using bench::median_interval;
using bench::Options;
using bench::ratios;
using bench::Row;
using bench::Side;

const EigenBackend backend;

/// Our side: decompositions of one W with a new seed each, and the errors they really made.
struct Ours {
    const Tensor<float>& W;
    DecomposeOptions options;
    std::vector<double> errors = {};
    Decomposition<float> last = {};

    [[nodiscard]] Side side(int samples_per_round) {
        return {
            .run =
                [this] {
                    ++options.seed;
                    last = decompose(W, options, backend);
                },
            .finish =
                [this] {
                    errors.push_back(bench::relative_difference(W, to_dense(last.mpo, backend)));
                },
            .samples_per_round = samples_per_round};
    }
    /// The worst error over a reference, between the least and the worst.
    [[nodiscard]] Interval errors_over(double reference) const {
        const auto [least, worst] = std::minmax_element(errors.begin(), errors.end());
        return {*worst / reference, *least / reference, *worst / reference};
    }
    [[nodiscard]] std::string methods() const {
        std::string text;
        for (const LowRankMethod method : last.report.methods)
            text += (text.empty() ? "" : ", ") + std::string(to_string(method));
        return text;
    }
};

/// Thin SVD of a row-major (m, n) matrix by LAPACK, which sees its transpose and destroys its copy.
struct LapackSvd {
    Index m, n, r;
    std::vector<float> A, left, sigma, right;  // left (m, r) and right (r, n), row-major

    LapackSvd(Index rows, Index cols)
        : m(rows),
          n(cols),
          r(std::min(rows, cols)),
          A(size(m * n)),
          left(size(m * r)),
          sigma(size(r)),
          right(size(n * r)) {}
    void run() {  // A^T = right^T sigma left^T, as LAPACK sees it
        bench::openblas::sgesdd(n, m, A.data(), right.data(), sigma.data(), left.data());
    }
    /// Sum of squares of the singular values beyond `rank`.
    [[nodiscard]] double tail_squared(Index rank) const {
        double sum = 0;
        for (Index k = r; k-- > rank;) {
            const double s = sigma[static_cast<std::size_t>(k)];
            sum += s * s;
        }
        return sum;
    }
    [[nodiscard]] static std::size_t size(Index n) { return static_cast<std::size_t>(n); }
};

/// Rounds and samples such that ours is measured 9 times and a peer that takes many seconds thrice.
[[nodiscard]] bench::Schedule few_peers(int rounds) {
    return {.rounds = rounds, .warm_up = bench::WarmUp::none};
}

struct Bars {
    Bar *error, *speed;
};

[[nodiscard]] Bars declare_bars(const std::string& name, double error_limit, double speed_limit,
                                const std::string& optimum, const std::string& peer) {
    auto& error = bench::declare_bar({.name = "decompose " + name + " error",
                                      .comparison = Comparison::at_most,
                                      .limit = error_limit,
                                      .what = "worst of all seeds / " + optimum});
    auto& speed = bench::declare_bar(
        {.name = "decompose " + name + " speed", .limit = speed_limit, .what = "speed / " + peer});
    if (!bench::openblas::refusal().empty()) speed.note = bench::openblas::refusal();
    return {&error, &speed};
}

/// Counters that all rows here share; `reference` is the error to compare with.
[[nodiscard]] Row decompose_row(const Ours& ours, const bench::Seconds& seconds,
                                const Options& options, double reference) {
    Row row{.seconds = bench::median(seconds),
            .bytes = static_cast<double>(sizeof(float)) *
                     static_cast<double>(ours.W.size() + ours.last.mpo.num_parameters()),
            .error = ours.errors.back(),
            .threads = options.threads};
    row.counters["reported_error"] = ours.last.report.relative_error;
    row.counters["reference_error"] = reference;
    row.label = ours.methods();
    return row;
}

/// Two sites: one SVD of the unfolding, whose spectrum is known.
[[nodiscard]] Row two_site_row(Index n, Index chi, const Bars& bars, const Options& options) {
    set_num_threads(options.threads);
    const auto root = static_cast<Index>(std::lround(std::sqrt(static_cast<double>(n))));
    const Layout layout{{root, root}, {root, root}};
    const auto sigma = bench::power_spectrum(n);
    const auto M = bench::matrix_with_spectrum(sigma, 1);  // (o1 i1, o2 i2)
    const auto W = bench::deinterleaved(M, layout);        // (out, in)
    Ours ours{W, {.layout = layout, .truncation = {.max_bond_dim = chi}}};
    (void)decompose(W, ours.options, backend);  // warm

    std::vector<Side> sides{ours.side(3)};
    const bool fair = bench::openblas::refusal().empty();
    LapackSvd svd(fair ? n : 1, fair ? n : 1);
    if (fair) {
        sides.push_back({.run = [&] { svd.run(); },
                         .prepare =
                             [&] {
                                 bench::openblas::set_threads(options.threads);
                                 std::copy_n(M.data(), M.size(), svd.A.data());
                             },
                         .finish = [] { bench::openblas::settle(); }});
    }
    const auto seconds = bench::interleave(few_peers(3), sides);
    const double optimum = bench::optimal_error(sigma, chi);
    Row row = decompose_row(ours, seconds[0], options, optimum);
    bars.error->measured(ours.errors_over(optimum));
    row.bars = {bars.speed};
    if (fair) {
        row.ratio = median_interval(ratios(seconds[1], seconds[0]));
        row.label += "; ratio: speed to LAPACKE_sgesdd, measured 3 times";
        row.counters["sgesdd_ms"] = 1e3 * bench::median(seconds[1]);
        row.counters["sgesdd_error"] = std::sqrt(svd.tail_squared(chi) / svd.tail_squared(0));
        bars.speed->measured(row.ratio, "peer measured 3 times");
    }
    return row;
}

/// The sweep of decompose over three sites with an exact SVD at each bond: the peer of three_site_row.
class LapackSweep {
  public:
    /// M (s, s s), the interleaved tensor; cap: bond.
    LapackSweep(const Tensor<float>& M, Index cap)
        : s_(M.extent(0)),
          cap_(std::min(cap, s_)),
          M_(M),
          first_(s_, s_ * s_),
          second_(cap_ * s_, s_) {}

    void prepare() { std::copy_n(M_.data(), M_.size(), first_.A.data()); }
    void run() {
        first_.run();
        for (Index k = 0; k < cap_; ++k) {  // the rest: sigma V^T, (cap, s s) = (cap s, s)
            const float sigma = first_.sigma[static_cast<std::size_t>(k)];
            for (Index j = 0; j < s_ * s_; ++j) {
                const auto at = static_cast<std::size_t>(k * s_ * s_ + j);
                second_.A[at] = sigma * first_.right[at];
            }
        }
        second_.run();
    }
    [[nodiscard]] double relative_error() const {
        const double lost = first_.tail_squared(cap_) + second_.tail_squared(cap_);
        return std::sqrt(lost / first_.tail_squared(0));
    }

  private:
    Index s_, cap_;
    const Tensor<float>& M_;
    LapackSvd first_, second_;
};

[[nodiscard]] Row three_site_row(Index leg, Index terms, Index chi, const Bars& bars,
                                 const Options& options) {
    set_num_threads(options.threads);
    const Layout layout{{leg, leg, leg}, {leg, leg, leg}};
    const auto M = bench::kronecker_sum(leg * leg, terms, 0.05, 1);  // (o1 i1, o2 i2 o3 i3)
    const auto W = bench::deinterleaved(M, layout);                  // (out, in)
    Ours ours{W, {.layout = layout, .truncation = {.max_bond_dim = chi}}};
    if (!bench::openblas::refusal().empty()) {
        const auto seconds = bench::interleave({}, {ours.side(1)});
        bars.error->note = bench::openblas::refusal();
        return decompose_row(ours, seconds[0], options, NAN);
    }
    LapackSweep sweep(M, chi);
    const auto seconds =
        bench::interleave({}, {ours.side(1),
                               {.run = [&] { sweep.run(); },
                                .prepare =
                                    [&] {
                                        bench::openblas::set_threads(options.threads);
                                        sweep.prepare();
                                    },
                                .finish = [] { bench::openblas::settle(); }}});
    Row row = decompose_row(ours, seconds[0], options, sweep.relative_error());
    row.ratio = median_interval(ratios(seconds[1], seconds[0]));
    row.label += "; ratio: speed to the sweep with LAPACKE_sgesdd";
    row.counters["sgesdd_sweep_ms"] = 1e3 * bench::median(seconds[1]);
    row.bars = {bars.speed};
    bars.error->measured(ours.errors_over(sweep.relative_error()));
    bars.speed->measured(row.ratio);
    return row;
}

/// Nothing can be dropped: the tolerance asks for nearly full rank.
[[nodiscard]] Row flat_row(Index n, int pairs, Bar& bar, const Options& options) {
    set_num_threads(options.threads);
    const auto root = static_cast<Index>(std::lround(std::sqrt(static_cast<double>(n))));
    const auto W = normal_tensor<float>({n, n}, 1);  // (out, in)
    Ours ours{W,
              {.layout = {{root, root}, {root, root}}, .truncation = {.max_relative_error = 1e-2}}};
    const auto seconds = bench::interleave(
        few_peers(pairs),
        {ours.side(1), {.run = [&] {
             benchmark::DoNotOptimize(bench::eigen_bdcsvd(matrix<const float>(W.data(), n, n)));
         }}});
    Row row = decompose_row(ours, seconds[0], options, 1e-2);
    row.ratio = median_interval(ratios(seconds[0], seconds[1]));
    row.label += detail::concat("; ratio: time to Eigen::BDCSVD alone, ", pairs, " pairs");
    row.counters["bdcsvd_ms"] = 1e3 * bench::median(seconds[1]);
    row.counters["bond_dim"] = static_cast<double>(ours.last.mpo.bond_dim(1));
    row.bars = {&bar};
    bar.measured(row.ratio, detail::concat(pairs, pairs == 1 ? " pair" : " pairs"));
    return row;
}

/// The product of the same size: how long a dense multiplication of W by itself takes.
[[nodiscard]] Row dense_row(Index n, const Options& options) {
    set_num_threads(options.threads);
    const auto W = normal_tensor<float>({n, n}, 1);
    Tensor<float> C({n, n});
    const auto A = matrix<const float>(W.data(), n, n);
    const auto seconds = bench::interleave(
        {}, {{.run = [&] { backend.gemm(1.0f, A, A, 0.0f, matrix(C.data(), n, n)); }}});
    return {.seconds = bench::median(seconds[0]),
            .flops = 2.0 * std::pow(static_cast<double>(n), 3),
            .bytes = static_cast<double>(sizeof(float)) * 3 * static_cast<double>(n * n),
            .threads = options.threads};
}

void declare_rows(const Options& options) {
    const Index n = options.shape(4096, 1024), chi = options.shape(100, 50);
    const Index leg = options.shape(16, 10), terms = options.shape(300, 150);
    const Index flat = options.shape(4096, 1024);
    const int pairs = options.size == bench::Size::full ? options.flat_pairs : 3;
    const auto root = static_cast<Index>(std::lround(std::sqrt(static_cast<double>(n))));
    bench::add_row(detail::concat("dense_gemm/float/", n), options,
                   [=] { return dense_row(n, options); });

    const std::string two = detail::concat("(", root, ",", root, ")^2 chi ", chi);
    const Bars two_bars =
        declare_bars(two, 1.003, 30, "the optimum", "LAPACKE_sgesdd of the unfolding");
    bench::add_row(detail::concat("decompose/two_sites/", n, "/chi:", chi), options,
                   [=] { return two_site_row(n, chi, two_bars, options); });

    const std::string three = detail::concat("(", leg, ",", leg, ",", leg, ")^2 chi ", chi);
    const Bars three_bars =
        declare_bars(three, 1.001, 8, "the same sweep with sgesdd", "the same sweep with sgesdd");
    bench::add_row(detail::concat("decompose/three_sites/", leg * leg * leg, "/chi:", chi), options,
                   [=] { return three_site_row(leg, terms, chi, three_bars, options); });

    auto& flat_bar = bench::declare_bar(
        {.name = detail::concat("decompose flat ", flat, "x", flat, " tolerance 1e-2"),
         .comparison = Comparison::at_most,
         .limit = 1.3,
         .what = "time / Eigen's BDCSVD alone"});
    bench::add_row(detail::concat("decompose/flat/", flat, "/tolerance:0.01"), options,
                   [=, &flat_bar] { return flat_row(flat, pairs, flat_bar, options); });
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}

// The planner: for every shape, bond and batch the way it takes against the fastest one that the options
// admit, and its prediction against the clock. Ways predicted above four times the cheapest are counted,
// not timed. The dense product of our backend is beside; what that is worth says dense_bench.cpp.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/measure_machine.hpp"
#include "support/matrices.hpp"
#include "support/program.hpp"

namespace {

using namespace mpo;
using bench::Bar;
using bench::Comparison;
using bench::median;
using bench::Options;
using bench::ratios;
using bench::Row;

const EigenBackend backend;

struct Point {
    Index out, in, chi, batch;
    std::string kind;
    Layout layout;
};

/// What the bars add up over all points.
struct Totals {
    double log_loss = 0;  // of the plan against the fastest way, logarithms
    double worst_loss = 0;
    double points = 0;
    double lost_to_dense = 0;  // where it should win: fewer than 0.75 of the multiply-adds, B >= 8
    double worst_prediction = 1;  // of plan / dense where the plan loses, as a factor
    Bar *geometric, *worst, *wins, *predicted;
};

[[nodiscard]] const MachineTable& machine() {
    static const MachineTable table = measure_machine<float>(backend);
    return table;
}

/// Seconds of every way that may be the fastest, the plan's own first; the dense product last.
[[nodiscard]] std::vector<bench::Seconds> time_ways(
    const std::vector<std::unique_ptr<Plan<float, EigenBackend>>>& ways, const Tensor<float>& X,
    Tensor<float>& Y, const std::function<void()>& dense) {
    std::vector<bench::Side> sides;
    for (const auto& way : ways)
        sides.push_back({.run = [&X, &Y, plan = way.get()] { plan->apply(X, Y); }});
    sides.push_back({.run = dense});
    return bench::interleave({.least_seconds = 1e-3}, sides);
}

[[nodiscard]] Row plan_row(const Point& point, const Options& options, Totals& totals) {
    set_num_threads(options.threads);
    const auto bonds = uniform_bonds(point.layout, point.chi);
    const auto op = bench::random_mpo(point.layout, bonds, 1);
    const auto W = normal_tensor<float>({point.out, point.in}, 2);
    const auto X = normal_tensor<float>({point.batch, point.in}, 3);
    Tensor<float> Y({point.batch, point.out}), dense_Y({point.batch, point.out});
    const PlanOptions asked{.batch = point.batch, .machine = &machine()};
    const auto packed =
        backend.prepare(Side::right, transpose(matrix<const float>(W.data(), point.out, point.in)));
    const auto dense = [&] {
        backend.gemm_right(matrix<const float>(X.data(), point.batch, point.in), packed, 0.0F,
                           matrix(dense_Y.data(), point.batch, point.out));
    };
    std::vector<std::unique_ptr<Plan<float, EigenBackend>>> ways;
    ways.push_back(std::make_unique<Plan<float, EigenBackend>>(make_plan(op, asked, backend)));
    const auto candidates = ways.front()->candidates();
    Index counted = 0;
    for (std::size_t k = 1; k < candidates.size(); ++k) {
        if (!candidates[k].admissible) continue;
        if (candidates[k].seconds > 4 * candidates[0].seconds) {
            ++counted;
            continue;
        }
        auto forced = candidates;
        std::swap(forced[0], forced[k]);
        ways.push_back(std::make_unique<Plan<float, EigenBackend>>(op, forced, asked, backend));
    }
    auto seconds = time_ways(ways, X, Y, dense);
    const auto loss_of = [&] {
        double worst = 1;
        for (std::size_t k = 1; k < ways.size(); ++k)
            worst = std::max(worst, median(ratios(seconds[0], seconds[k])));
        return worst;
    };
    double loss = loss_of();
    if (loss > 1.15) {  // once more, before it counts
        seconds = time_ways(ways, X, Y, dense);
        loss = std::min(loss, loss_of());
    }
    const double to_dense = median(ratios(seconds.back(), seconds.front()));
    const PlanQuestion question{
        .batch = point.batch, .max_workspace_bytes = Index{1} << 40, .dense_cache = true};
    double dense_predicted = 0;
    for (const auto& candidate : plan_candidates(point.layout, bonds, question, machine()))
        if (candidate.form == PlanForm::dense) dense_predicted = candidate.seconds;
    const double predicted = dense_predicted / candidates[0].seconds;
    const double share = candidates[0].multiply_adds / static_cast<double>(point.out * point.in);
    totals.log_loss += std::log(loss);
    totals.worst_loss = std::max(totals.worst_loss, loss);
    totals.points += 1;
    if (share < 0.75 && point.batch >= 8 && to_dense < 1) totals.lost_to_dense += 1;
    if (std::min(predicted, to_dense) < 1)
        totals.worst_prediction =
            std::max({totals.worst_prediction, predicted / to_dense, to_dense / predicted});
    const double mean = std::exp(totals.log_loss / totals.points);
    totals.geometric->measured({mean, mean, mean});
    totals.worst->measured({totals.worst_loss, totals.worst_loss, totals.worst_loss});
    totals.wins->measured({totals.lost_to_dense, totals.lost_to_dense, totals.lost_to_dense});
    totals.predicted->measured(
        {totals.worst_prediction, totals.worst_prediction, totals.worst_prediction});
    Row row{.seconds = median(seconds.front()),
            .flops = 2.0 * candidates[0].multiply_adds * static_cast<double>(point.batch),
            .bytes = static_cast<double>(candidates[0].factor_bytes),
            .threads = options.threads,
            .ratio = bench::median_interval(ratios(seconds.back(), seconds.front())),
            .label = detail::concat(to_string(candidates[0].form), " (",
                                    detail::joined(candidates[0].groups, " "), ") ",
                                    to_string(candidates[0].direction), "; ratio: dense / plan")};
    row.counters["loss"] = loss;
    row.counters["ways_timed"] = static_cast<double>(ways.size());
    row.counters["ways_counted"] = static_cast<double>(counted);
    row.counters["predicted_us"] = 1e6 * candidates[0].seconds;
    row.counters["predicted_ratio"] = predicted;
    row.counters["dense_us"] = 1e6 * median(seconds.back());
    row.counters["share_of_multiply_adds"] = share;
    return row;
}

[[nodiscard]] std::vector<std::pair<std::string, Layout>> layouts_of(Index out, Index in) {
    std::vector<std::pair<std::string, Layout>> all{{"balanced", balanced_layout(out, in, 2)},
                                                    {"three_sites", balanced_layout(out, in, 3)},
                                                    {"low_rank", low_rank_layout(out, in)}};
    for (const Index f : {2, 16}) {
        const auto opposed = opposed_layout(out, in, f);
        if (opposed) all.emplace_back("opposed" + std::to_string(f), *opposed);
    }
    return all;
}

void declare_rows(const Options& options) {
    static Totals totals{};
    const std::string what = "over all points of the grid, ";
    totals.geometric = &bench::declare_bar({.name = "plan against the fastest way, geometric mean",
                                            .comparison = Comparison::at_most,
                                            .limit = 1.03,
                                            .what = what + "time / time"});
    totals.worst = &bench::declare_bar({.name = "plan against the fastest way, worst",
                                        .comparison = Comparison::at_most,
                                        .limit = 1.15,
                                        .what = what + "after one repetition"});
    totals.wins = &bench::declare_bar(
        {.name = "lost to dense where it should win",
         .unit = "points",
         .comparison = Comparison::at_most,
         .limit = 0,
         .what = "fewer than 0.75 of dense's multiply-adds and B >= 8, same backend"});
    totals.predicted = &bench::declare_bar({.name = "dense / plan, predicted against measured",
                                            .comparison = Comparison::at_most,
                                            .limit = 1.25,
                                            .what = "where one of the two says that dense is "
                                                    "faster, the worst factor"});
    for (const auto& [out, in] : bench::layer_shapes(options.size == bench::Size::quick))
        for (const auto& [kind, layout] : layouts_of(out, in))
            for (const Index chi : {8, 16, 32, 64, 100, 200})
                for (const Index batch : {1, 8, 32, 64, 512}) {
                    const Point point{out, in, chi, batch, kind, layout};
                    bench::add_row(detail::concat("plan/", out, "x", in, "/", kind, "/chi:", chi,
                                                  "/B:", batch),
                                   options,
                                   [point, options] { return plan_row(point, options, totals); });
                }
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}

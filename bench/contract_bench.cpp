// apply: a sweep against the FMA rate of the same moment, one token also against the rate at which its cores
// can be read, and against the dense product it replaces, ours and OpenBLAS's. The program counts what apply
// and gradient allocate. What choosing costs: a row of its own.
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/contract.hpp"
#include "support/counting_new.hpp"
#include "support/matrices.hpp"
#include "support/openblas.hpp"
#include "support/probe.hpp"
#include "support/program.hpp"
#include "support/read_probe.hpp"

namespace {

using namespace mpo;
using bench::Bar;
using bench::Comparison;
using bench::median_interval;
using bench::Options;
using bench::ratios;
using bench::Row;
using bench::Side;

constexpr Index width = 4096;
const EigenBackend backend;

/// Bytes that `run` holds at most: a fresh thread and a fresh pool, so that nothing is left from earlier
/// calls. Many calls, because a thread that starts late borrows the intermediates of one that has finished.
template <class Run>
[[nodiscard]] double bytes_held(int threads, const Run& run) {
    set_num_threads(threads + 1);
    parallel_for(0, threads + 1, 1, [](Index, Index) {});
    set_num_threads(threads);
    std::size_t held = 0;
    std::thread([&] {
        parallel_for(0, threads, 1, [](Index, Index) {});  // the new pool is not workspace
        const std::size_t before = bench::live_bytes();
        bench::reset_peak();
        for (double spent = 0; spent < 0.25;) spent += bench::seconds_of(run);
        held = bench::peak_bytes() - before;
    }).join();
    return static_cast<double>(held);
}

constexpr double mebi = 1 << 20;

/// What apply and gradient hold beyond the option, both with everything that the products pack; the
/// gradients themselves are results.
[[nodiscard]] double gradient_workspace(const Mpo<float>& op, const Tensor<float>& X,
                                        const Tensor<float>& dY, int threads) {
    const auto plan = make_plan(op, {.batch = X.extent(0), .with_gradient = true}, backend);
    Tensor<float> dX(X.shape());
    std::vector<Tensor<float>> dcores;
    for (const auto& core : op.cores()) dcores.emplace_back(core.shape());
    const double results = static_cast<double>(op.num_parameters()) * 3 * sizeof(float);
    return bytes_held(threads, [&] { plan.gradient(X, dY, dX, dcores); }) - results;
}

/// Y = X W^T by one product: what an MPO replaces.
struct Dense {
    MatrixView<const float> X, Wt;
    MatrixView<float> Y;

    Dense(const Tensor<float>& x, const Tensor<float>& w, Tensor<float>& y)
        : X(matrix(x.data(), x.extent(0), width)),
          Wt(transpose(matrix(w.data(), width, width))),
          Y(matrix(y.data(), x.extent(0), width)) {}
    [[nodiscard]] double flops() const {
        return 2.0 * static_cast<double>(X.size()) * static_cast<double>(width);
    }
    [[nodiscard]] Side ours() const {
        return {.run = [this] { backend.gemm(1.0f, X, Wt, 0.0f, Y); }};
    }
    [[nodiscard]] Side openblas(int threads) const {
        return {.run = [this] { bench::openblas::gemm<float>(X, Wt, Y); },
                .prepare = [threads] { bench::openblas::set_threads(threads); },
                .finish = [] { bench::openblas::settle(); }};
    }
};

struct Point {
    std::string kind;
    Layout layout;
    Index chi, batch;
    double limit;  // of the rate
    Bar* speed = nullptr;
};

/// The most that any point has held so far.
struct Held {
    Bar *apply = nullptr, *gradient = nullptr;
    double apply_mib = 0, gradient_mib = 0;
};

[[nodiscard]] Row apply_row(const Point& point, Held& most, const Options& options) {
    set_num_threads(options.threads);
    const auto op = bench::random_mpo(point.layout, {1, point.chi, 1}, 1);
    const auto W = to_dense(op, backend);                                  // (out, in)
    const auto X = normal_tensor<float>({point.batch, width}, 3);          // (B, in)
    Tensor<float> Y({point.batch, width}), dense_Y({point.batch, width});  // (B, out)
    const auto plan =
        make_plan(op, {.batch = point.batch, .direction = SweepDirection::right_to_left}, backend);
    const double held =
        bytes_held(options.threads, [&] { plan.apply(X, Y); }) / mebi / options.threads;
    const double back = gradient_workspace(op, X, Y, options.threads) / mebi;
    most.apply_mib = (std::max)(most.apply_mib, held);
    most.gradient_mib = (std::max)(most.gradient_mib, back);
    most.apply->measured({most.apply_mib, most.apply_mib, most.apply_mib});
    most.gradient->measured({most.gradient_mib, most.gradient_mib, most.gradient_mib});

    const Dense dense(X, W, dense_Y);
    const bench::FmaProbe<float> probe;
    const Index bytes = op.num_parameters() * static_cast<Index>(sizeof(float));
    const bench::ReadProbe reading(bytes);
    std::vector<Side> sides{{.run = [&] { plan.apply(X, Y); }},
                            {.run = [&] { probe.run(); }},
                            dense.ours(),
                            {.run = [&] { reading.run(); }}};
    const bool fair = bench::openblas::refusal().empty();
    if (fair) sides.push_back(dense.openblas(options.threads));
    const auto seconds = bench::interleave({}, sides);

    Row row{.seconds = bench::median(seconds[0]),
            .flops = 2.0 * static_cast<double>(plan.multiply_adds_per_token() * point.batch),
            .bytes = static_cast<double>(sizeof(float)) *
                     static_cast<double>(op.num_parameters() + X.size() + Y.size()),
            .error = bench::relative_difference(dense_Y, Y),
            .threads = options.threads,
            .ratio = median_interval(ratios(seconds[1], seconds[0])),
            .label = "ratio: of the FMA probe",
            .bars = {point.speed}};
    const double scale = row.flops / probe.flops(options.threads);
    row.ratio = {row.ratio.median * scale, row.ratio.low * scale, row.ratio.high * scale};
    const auto of_reading = median_interval(ratios(seconds[3], seconds[0]));
    row.counters["of_reading_the_cores"] = of_reading.median;
    if (point.batch == 1 && of_reading.median > row.ratio.median) {
        row.ratio = of_reading;
        row.label = "ratio: of reading the cores";
    }
    point.speed->measured(row.ratio);
    row.counters["workspace_MiB_per_thread"] = held;
    row.counters["gradient_workspace_MiB"] = back;
    row.counters["dense_ms"] = 1e3 * bench::median(seconds[2]);
    row.counters["speed_to_dense"] = bench::median(ratios(seconds[2], seconds[0]));
    if (fair) {
        row.counters["openblas_dense_ms"] = 1e3 * bench::median(seconds[4]);
        row.counters["speed_to_openblas_dense"] = bench::median(ratios(seconds[4], seconds[0]));
    }
    return row;
}

void declare_apply(Point point, Held& most, const Options& options) {
    const std::string at = detail::concat(point.kind, " chi ", point.chi, " B ", point.batch);
    const std::string what =
        point.batch == 1 ? "the tighter of FMA probe and reading the cores" : "flops/s / FMA probe";
    point.speed =
        &bench::declare_bar({.name = "apply " + at,
                             .limit = point.limit,
                             .what = "4096x4096 " + to_string(point.layout) + " float, " + what});
    bench::add_row(detail::concat("apply/", point.kind, "/chi:", point.chi, "/B:", point.batch),
                   options, [point, &most, options] { return apply_row(point, most, options); });
}

/// Choosing among all ways of two sites, without packing.
[[nodiscard]] Row choosing_row(Bar& bar, const Options& options) {
    const auto layout = balanced_layout(width, width, 2);
    const Shape bonds{1, 100, 1};
    const auto choose = [&] {
        const auto table = detail::table_of({}, options.threads);
        benchmark::DoNotOptimize(
            plan_candidates(layout, bonds, detail::question_of({.batch = 64}, 4), table));
    };
    const auto seconds = bench::interleave({}, {{.run = choose}});
    bench::Seconds micros;
    for (const double value : seconds[0]) micros.push_back(1e6 * value);
    bar.measured(median_interval(micros));
    return {.seconds = bench::median(seconds[0]), .threads = 1, .label = "two sites, batch 64"};
}

/// The dense product alone; the ratio is to OpenBLAS.
[[nodiscard]] Row dense_row(Index batch, const Options& options) {
    set_num_threads(options.threads);
    const auto W = normal_tensor<float>({width, width}, 1);
    const auto X = normal_tensor<float>({batch, width}, 2);
    Tensor<float> Y({batch, width});
    const Dense dense(X, W, Y);
    std::vector<Side> sides{dense.ours()};
    const bool fair = bench::openblas::refusal().empty();
    if (fair) sides.push_back(dense.openblas(options.threads));
    const auto seconds = bench::interleave({}, sides);
    Row row{.seconds = bench::median(seconds[0]),
            .flops = dense.flops(),
            .bytes = static_cast<double>(sizeof(float)) *
                     static_cast<double>(W.size() + X.size() + Y.size()),
            .threads = options.threads};
    dense.ours().run();
    row.error = bench::product_error<float>(dense.X, dense.Wt, dense.Y);
    if (fair) {
        row.ratio = median_interval(ratios(seconds[1], seconds[0]));
        row.counters["openblas_ms"] = 1e3 * bench::median(seconds[1]);
    }
    row.label = fair ? "ratio: speed to OpenBLAS " + bench::openblas::core_name()
                     : bench::openblas::refusal();
    return row;
}

void declare_rows(const Options& options) {
    auto& choosing = bench::declare_bar({.name = "choosing a plan, two sites",
                                         .unit = "us",
                                         .comparison = Comparison::at_most,
                                         .limit = 50,
                                         .what = "all ways priced, without packing"});
    bench::add_row("plan/4096x4096/two_sites", options,
                   [=, &choosing] { return choosing_row(choosing, options); });
    static Held most;
    most.apply = &bench::declare_bar({.name = "workspace of apply, the most of all points",
                                      .unit = "MiB",
                                      .comparison = Comparison::at_most,
                                      .limit = 4,
                                      .what = "allocated per thread, packing included"});
    most.gradient = &bench::declare_bar({.name = "workspace of gradient, the most of all points",
                                         .unit = "MiB",
                                         .comparison = Comparison::at_most,
                                         .limit = 64,
                                         .what = "allocated, packing included, results not"});
    struct Kind {
        std::string name;
        Layout layout;
        double limit;
    };
    const std::vector<Kind> kinds{{"balanced", balanced_layout(width, width, 2), 0.75},
                                  {"opposed16", *opposed_layout(width, width, 16), 0.55},
                                  {"opposed2", *opposed_layout(width, width, 2), 0.55}};
    for (const Index batch : {1, 8, 64, 512}) {
        if (options.size == bench::Size::quick && batch == 512) continue;
        bench::add_row(detail::concat("dense/4096x4096/B:", batch), options,
                       [=] { return dense_row(batch, options); });
        for (const auto& kind : kinds)
            for (const Index chi : {16, 32, 64, 100, 200})
                declare_apply({.kind = kind.name,
                               .layout = kind.layout,
                               .chi = chi,
                               .batch = batch,
                               .limit = batch == 1 ? 0.7 : kind.limit},
                              most, options);
    }
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}

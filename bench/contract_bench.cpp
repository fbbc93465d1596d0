// apply: both products of a sweep against the FMA rate of the same moment, and against the dense
// product it replaces, ours and OpenBLAS's. The program counts what apply allocates.
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

namespace {

using namespace mpo;
using bench::Bar;
using bench::Comparison;
using bench::median_interval;
using bench::Options;
using bench::ratios;
using bench::Row;
using bench::Side;

constexpr Index leg = 64, width = leg * leg;
const EigenBackend backend;

/// Bytes per thread that apply allocates, intermediates and the packing scratch of its products:
/// a fresh thread and a fresh pool, so that nothing is left from earlier calls. Many calls,
/// because a thread that starts late borrows the intermediates of one that has finished.
[[nodiscard]] double workspace_per_thread(const Plan<float, EigenBackend>& plan,
                                          const Tensor<float>& X, Tensor<float>& Y, int threads) {
    set_num_threads(threads + 1);
    parallel_for(0, threads + 1, 1, [](Index, Index) {});
    set_num_threads(threads);
    std::size_t held = 0;
    std::thread([&] {
        parallel_for(0, threads, 1, [](Index, Index) {});  // the new pool is not workspace
        const std::size_t before = bench::live_bytes();
        bench::reset_peak();
        for (double spent = 0; spent < 0.25;) spent += bench::seconds_of([&] { plan.apply(X, Y); });
        held = bench::peak_bytes() - before;
    }).join();
    return static_cast<double>(held) / threads;
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
    Index chi, batch;
    Bar* speed;
    Bar* workspace;
};

[[nodiscard]] Row apply_row(const Point& point, const Options& options) {
    set_num_threads(options.threads);
    const auto op = bench::random_mpo({{leg, leg}, {leg, leg}}, {1, point.chi, 1}, 1);
    const auto W = to_dense(op, backend);                                  // (out, in)
    const auto X = normal_tensor<float>({point.batch, width}, 3);          // (B, in)
    Tensor<float> Y({point.batch, width}), dense_Y({point.batch, width});  // (B, out)
    const auto plan =
        make_plan(op, {.batch = point.batch, .direction = SweepDirection::right_to_left}, backend);
    const double mib =
        workspace_per_thread(plan, X, Y, options.threads) / static_cast<double>(1 << 20);
    point.workspace->measured({mib, mib, mib});

    const Dense dense(X, W, dense_Y);
    const bench::FmaProbe<float> probe;
    std::vector<Side> sides{
        {.run = [&] { plan.apply(X, Y); }}, {.run = [&] { probe.run(); }}, dense.ours()};
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
    point.speed->measured(row.ratio);
    row.counters["workspace_MiB_per_thread"] = mib;
    row.counters["dense_ms"] = 1e3 * bench::median(seconds[2]);
    row.counters["speed_to_dense"] = bench::median(ratios(seconds[2], seconds[0]));
    if (fair) {
        row.counters["openblas_dense_ms"] = 1e3 * bench::median(seconds[3]);
        row.counters["speed_to_openblas_dense"] = bench::median(ratios(seconds[3], seconds[0]));
    }
    return row;
}

void declare_apply(Index chi, Index batch, const Options& options) {
    const std::string at = detail::concat("chi ", chi, " B ", batch);
    auto& speed = bench::declare_bar({.name = "apply " + at,
                                      .limit = 0.4,
                                      .what = "4096x4096 (64,64)^2 float, flops/s / FMA probe"});
    auto& workspace =
        bench::declare_bar({.name = "apply workspace " + at,
                            .unit = "MiB",
                            .comparison = Comparison::at_most,
                            .limit = 4,
                            .what = "allocated by apply per thread, packing included"});
    bench::add_row(detail::concat("apply/64x64/chi:", chi, "/B:", batch), options,
                   [=, &speed, &workspace] {
                       return apply_row({chi, batch, &speed, &workspace}, options);
                   });
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
    for (const Index batch : {8, 64, 512}) {
        if (options.size == bench::Size::quick && batch == 512) continue;
        bench::add_row(detail::concat("dense/4096x4096/B:", batch), options,
                       [=] { return dense_row(batch, options); });
        for (const Index chi : {16, 32, 64, 100}) declare_apply(chi, batch, options);
    }
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}

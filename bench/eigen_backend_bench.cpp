// Products, the pool and the interleaving permutation, beside OpenBLAS, an FMA probe and a copy.
#include <benchmark/benchmark.h>

#include <chrono>
#include <complex>
#include <cstdio>
#include <string>
#include <thread>

#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/network/decompose.hpp"
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

struct GemmShape {
    Index m, k, n;
    [[nodiscard]] std::string name() const { return detail::concat(m, 'x', k, 'x', n); }
};

/// Operands of one product, C (m, n) = A (m, k) B (k, n).
template <Scalar T>
struct Operands {
    GemmShape shape;
    Tensor<T> A, B, C;

    explicit Operands(const GemmShape& s)
        : shape(s),
          A(normal_tensor<T>({s.m, s.k}, 1)),
          B(normal_tensor<T>({s.k, s.n}, 2)),
          C({s.m, s.n}) {}
    [[nodiscard]] MatrixView<const T> a() const { return matrix(A.data(), shape.m, shape.k); }
    [[nodiscard]] MatrixView<const T> b() const { return matrix(B.data(), shape.k, shape.n); }
    [[nodiscard]] MatrixView<T> c() { return matrix(C.data(), shape.m, shape.n); }
    [[nodiscard]] double flops() const {
        return (is_complex<T> ? 8.0 : 2.0) * static_cast<double>(shape.m) *
               static_cast<double>(shape.k) * static_cast<double>(shape.n);
    }
    [[nodiscard]] double bytes() const {
        return static_cast<double>(sizeof(T)) *
               static_cast<double>(A.size() + B.size() + 2 * C.size());
    }

    /// Of C as ours makes it.
    [[nodiscard]] double error() {
        ours(num_threads()).run();
        return bench::product_error<T>(a(), b(), c());
    }

    [[nodiscard]] Side ours(int threads) {
        return {.run = [this] { EigenBackend().gemm(T{1}, a(), b(), T{0}, c()); },
                .prepare = [threads] { set_num_threads(threads); }};
    }
    [[nodiscard]] Side openblas(int threads) {
        return {.run = [this] { bench::openblas::gemm<T>(a(), b(), c()); },
                .prepare = [threads] { bench::openblas::set_threads(threads); },
                .finish = [] { bench::openblas::settle(); }};
    }
};

template <class R>
[[nodiscard]] Side probe_side(int threads) {
    return {.run = [] { bench::FmaProbe<R>().run(); },
            .prepare = [threads] { set_num_threads(threads); }};
}

/// One product at one thread count; the ratio is to OpenBLAS.
template <Scalar T>
[[nodiscard]] Row gemm_row(const GemmShape& shape, int threads) {
    Operands<T> operands(shape);
    std::vector<Side> sides{operands.ours(threads), probe_side<Real<T>>(threads)};
    const bool fair = bench::openblas::refusal().empty();
    if (fair) sides.push_back(operands.openblas(threads));
    const auto seconds = bench::interleave({}, sides);
    Row row{.seconds = bench::median(seconds[0]),
            .flops = operands.flops(),
            .bytes = operands.bytes(),
            .error = operands.error(),
            .threads = threads};
    const double probe_flops = bench::FmaProbe<Real<T>>().flops(threads);
    row.counters["of_fma_probe"] =
        bench::median(ratios(seconds[1], seconds[0])) * row.flops / probe_flops;
    if (fair) {
        row.ratio = median_interval(ratios(seconds[2], seconds[0]));
        row.counters["openblas_GF/s"] = row.flops / bench::median(seconds[2]) * 1e-9;
    }
    row.label = fair ? "ratio: speed to OpenBLAS " + bench::openblas::core_name()
                     : bench::openblas::refusal();
    return row;
}

template <Scalar T>
void declare_gemm(const std::string& type, const GemmShape& shape, const Options& options) {
    for (int threads = 1; threads <= options.threads; threads += std::max(1, options.threads - 1))
        bench::add_row("gemm/" + type + "/" + shape.name() + "/threads:" + std::to_string(threads),
                       options, [=] { return gemm_row<T>(shape, threads); });
}

/// The same product on one thread and on two, in turns; the probe says what the machine gives.
[[nodiscard]] Row second_thread_row(const GemmShape& shape, Bar& bar) {
    Operands<float> operands(shape);
    const auto seconds = bench::interleave(
        {}, {operands.ours(1), operands.ours(2), probe_side<float>(1), probe_side<float>(2)});
    Row row{.seconds = bench::median(seconds[1]),
            .flops = operands.flops(),
            .bytes = operands.bytes(),
            .error = operands.error(),
            .threads = 2,
            .ratio = median_interval(ratios(seconds[0], seconds[1])),
            .label = "ratio: speed to one thread",
            .bars = {&bar}};
    const double probe = 2 * bench::median(ratios(seconds[2], seconds[3]));
    row.counters["probe_ratio"] = probe;
    char note[48];
    std::snprintf(note, sizeof note, "the FMA probe: %.2f", probe);
    bar.measured(row.ratio, note);
    return row;
}

void declare_second_thread(const GemmShape& shape, const Options& options) {
    auto& bar = bench::declare_bar({.name = "gemm second thread " + shape.name(),
                                    .limit = 1.7,
                                    .what = "float, speed with 2 threads / with 1"});
    if (options.threads < 2) {
        bar.note = "needs two hardware threads";
        return;
    }
    bench::add_row("gemm_second_thread/float/" + shape.name(), options,
                   [&bar, shape] { return second_thread_row(shape, bar); });
}

/// Medians of 9 blocks of empty fork-joins, `pause` apart.
[[nodiscard]] bench::Seconds fork_join_seconds(int threads, int calls,
                                               std::chrono::microseconds pause) {
    set_num_threads(threads);
    const auto fork_join = [threads] {
        parallel_for(0, threads, 1, [](Index first, Index) { benchmark::DoNotOptimize(first); });
    };
    fork_join();
    bench::Seconds medians;
    for (int block = 0; block < 9; ++block) {
        bench::Seconds seconds;
        for (int call = 0; call < calls; ++call) {
            if (pause.count() > 0) std::this_thread::sleep_for(pause);
            seconds.push_back(bench::seconds_of(fork_join));
        }
        medians.push_back(bench::median(std::move(seconds)));
    }
    return medians;
}

void declare_fork_join(const Options& options) {
    auto& bar = bench::declare_bar({.name = "fork-join latency",
                                    .unit = "us",
                                    .comparison = Comparison::at_most,
                                    .limit = 5,
                                    .what = "empty parallel_for, back to back, median"});
    if (options.threads < 2) {
        bar.note = "needs two hardware threads";
        return;
    }
    bench::add_row("fork_join/back_to_back", options, [&bar, options] {
        const auto seconds = fork_join_seconds(options.threads, 2000, {});
        auto micro = seconds;
        for (double& x : micro) x *= 1e6;
        bar.measured(median_interval(micro));
        return Row{.seconds = bench::median(seconds), .threads = options.threads, .bars = {&bar}};
    });
    bench::add_row("fork_join/after_1ms_of_sleep", options, [options] {
        const auto seconds = fork_join_seconds(options.threads, 20, std::chrono::milliseconds(1));
        return Row{.seconds = bench::median(seconds), .threads = options.threads};
    });
}

/// The interleaving copy against a plain one of the same bytes on the same threads.
[[nodiscard]] Row permute_row(const Layout& layout, const Options& options) {
    const auto W = normal_tensor<float>({rows(layout), cols(layout)}, 1);
    Tensor<float> legs({W.size()});
    const auto view =
        detail::interleaved(matrix<const float>(W.data(), rows(layout), cols(layout)), layout);
    set_num_threads(options.threads);
    const auto bytes = static_cast<std::size_t>(W.size()) * sizeof(float);
    const auto seconds = bench::interleave(
        {}, {{.run = [&] { EigenBackend().permute<float>(view, legs.data()); }},
             {.run = [&] { bench::parallel_copy(W.data(), legs.data(), bytes); }}});
    Row row{.seconds = bench::median(seconds[0]),
            .bytes = 2.0 * static_cast<double>(bytes),
            .threads = options.threads,
            .ratio = median_interval(ratios(seconds[1], seconds[0])),
            .label = "ratio: speed to memcpy on the same threads"};
    row.counters["GB/s"] = row.bytes / row.seconds * 1e-9;
    row.counters["copy_GB/s"] = row.bytes / bench::median(seconds[1]) * 1e-9;
    return row;
}

void declare_permute(const Options& options) {
    const Index leg = options.shape(64, 32), short_leg = options.shape(16, 10);
    const Layout two{{leg, leg}, {leg, leg}};
    const Layout three{{short_leg, short_leg, short_leg}, {short_leg, short_leg, short_leg}};
    auto& bar = bench::declare_bar(
        {.name = detail::concat("interleaving permutation (", leg, ",", leg, ")^2"),
         .limit = 0.4,
         .what = "float, speed / memcpy of the same size and threads"});
    bench::add_row(detail::concat("permute/float/", leg, "x", leg), options, [=, &bar] {
        Row row = permute_row(two, options);
        bar.measured(row.ratio);
        row.bars = {&bar};
        return row;
    });
    bench::add_row(detail::concat("permute/float/", short_leg, "x", short_leg, "x", short_leg),
                   options, [=] { return permute_row(three, options); });
}

void declare_rows(const Options& options) {
    const Index n = options.shape(4096, 1024);
    const GemmShape square{n, n, n}, thin{2048, 576, 1536};
    for (const auto& shape : {square, thin}) {
        declare_second_thread(shape, options);
        declare_gemm<float>("float", shape, options);
        declare_gemm<double>("double", shape, options);
    }
    declare_gemm<std::complex<float>>("complex_float", thin, options);
    declare_gemm<std::complex<double>>("complex_double", thin, options);
    declare_fork_join(options);
    declare_permute(options);
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}

#include "support/program.hpp"

#include <benchmark/benchmark.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string_view>
#include <system_error>
#include <thread>

#include "mpo/core/parallel.hpp"
#include "support/openblas.hpp"
#include "support/probe.hpp"

namespace mpo::bench {
namespace {

int failed_rows = 0;

void set_counters(benchmark::State& state, const Row& row, double before, double after) {
    state.SetIterationTime(row.seconds);
    const std::map<std::string, double> common{{"flops", row.flops},
                                               {"bytes", row.bytes},
                                               {"error", row.error},
                                               {"threads", row.threads},
                                               {"GF/s", row.flops / row.seconds * 1e-9},
                                               {"ratio", row.ratio.median},
                                               {"ratio_low", row.ratio.low},
                                               {"ratio_high", row.ratio.high},
                                               {"probe_before_GF/s", before * 1e-9},
                                               {"probe_after_GF/s", after * 1e-9}};
    for (const auto& [name, value] : common)
        if (std::isfinite(value)) state.counters[name] = value;
    for (const auto& [name, value] : row.counters)
        if (std::isfinite(value)) state.counters[name] = value;
    state.SetLabel(detail::concat(simd_name(), row.label.empty() ? "" : "; ", row.label));
}

/// A machine whose probe moved by 15 % was not ours alone: the bars say so.
void note_unsteady(const Row& row, double before, double after) {
    if (std::min(before, after) > 0.85 * std::max(before, after)) return;
    char text[80];
    std::snprintf(text, sizeof text, "UNSTEADY: FMA probe %.0f before, %.0f GF/s after",
                  before * 1e-9, after * 1e-9);
    for (Bar* bar : row.bars)
        if (!std::isnan(bar->value.median))
            bar->note += (bar->note.empty() ? "" : "; ") + std::string(text);
}

[[nodiscard]] std::string processor_name() {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);)
        if (line.starts_with("model name")) return line.substr(line.find(": ") + 2);
    return "unknown";
}

/// The text after `name` where the argument begins with it.
[[nodiscard]] std::optional<std::string> value_of(std::string_view argument,
                                                  std::string_view name) {
    if (!argument.starts_with(name)) return std::nullopt;
    return std::string(argument.substr(name.size()));
}

/// The number after `name`, at least 1.
[[nodiscard]] std::optional<int> count_of(std::string_view argument, std::string_view name) {
    const auto text = value_of(argument, name);
    if (!text) return std::nullopt;
    int count = 0;
    const auto [end, status] = std::from_chars(text->data(), text->data() + text->size(), count);
    if (status != std::errc() || end != text->data() + text->size() || count < 1)
        throw ArgumentError(detail::concat("bench: need a number of at least 1, got ", argument));
    return count;
}

/// Takes our options out of argv; the rest is Google Benchmark's.
[[nodiscard]] Options read_options(int& argc, char** argv) {
    Options options;
    int kept = 1;
    for (int k = 1; k < argc; ++k) {
        const std::string_view argument = argv[k];
        if (argument == "--quick")
            options.size = Size::quick;
        else if (const auto threads = count_of(argument, "--threads="))
            options.threads = *threads;
        else if (const auto pairs = count_of(argument, "--flat-pairs="))
            options.flat_pairs = *pairs;
        else if (const auto file = value_of(argument, "--bars="))
            options.bars_file = *file;
        else
            argv[kept++] = argv[k];
    }
    argc = kept;
    const auto hardware = static_cast<int>(std::thread::hardware_concurrency());
    if (hardware > 0) options.threads = std::min(options.threads, hardware);
    return options;
}

void add_context(const Options& options) {
    benchmark::AddCustomContext("processor", processor_name());
    benchmark::AddCustomContext("simd", simd_name());
    benchmark::AddCustomContext("compiler", MPO_BENCH_COMPILER);
    benchmark::AddCustomContext("openblas_core", openblas::core_name());
    benchmark::AddCustomContext("openblas_refused", openblas::refusal());
    benchmark::AddCustomContext("size", options.size == Size::full ? "full" : "quick");
    set_num_threads(options.threads);
    char copy[32];
    std::snprintf(copy, sizeof copy, "%.3g", copy_rate(std::size_t{1} << 26) * 1e-9);
    benchmark::AddCustomContext("copy_64MiB_GB/s", copy);
}

}  // namespace

void add_row(const std::string& name, const Options& options, std::function<Row()> measure) {
    const auto run = [measure = std::move(measure), options](benchmark::State& state) {
        for ([[maybe_unused]] const auto iteration : state) {
            try {
                const FmaProbe<float> probe;
                set_num_threads(options.threads);
                const double before = probe.rate();
                const Row row = measure();
                set_num_threads(options.threads);
                const double after = probe.rate();
                set_counters(state, row, before, after);
                note_unsteady(row, before, after);
            } catch (const std::exception& error) {
                ++failed_rows;
                state.SkipWithError(error.what());
            }
        }
    };
    benchmark::RegisterBenchmark(name.c_str(), run)
        ->UseManualTime()
        ->Iterations(1)
        ->Unit(benchmark::kMillisecond);
}

int run_program(int argc, char** argv, void (*declare_rows)(const Options&)) {
    try {
        const Options options = read_options(argc, argv);
        benchmark::Initialize(&argc, argv);
        if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
        add_context(options);
        declare_rows(options);
        benchmark::RunSpecifiedBenchmarks();
        benchmark::Shutdown();
        if (!options.bars_file.empty()) write_bars(options.bars_file);
        return failed_rows == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
        return 1;
    }
}

}  // namespace mpo::bench

// What including the library costs its user's compiler: one program that decomposes a matrix and applies
// the result (bench/compile_time/layer.cpp), header-only and with mpo::compiled, beside one that
// instantiates Eigen's BDCSVD. One translation unit, -O2, compiling only, wall time.
#include <sys/wait.h>

#include <cstdlib>
#include <string>

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

/// Compiles bench/compile_time/<source>.cpp, past any compiler cache. Throws where that fails.
void compile(const std::string& source, const std::string& flags) {
    const std::string command =
        detail::concat(MPO_BENCH_CXX " -std=c++20 -O2 ", flags, " -c '" MPO_BENCH_SOURCES "/",
                       source, ".cpp' -o /dev/null");
    const int status = std::system(command.c_str());
    if (status == -1 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        throw Error("compile_time: this failed: " + command);
}

[[nodiscard]] Side compiling(const std::string& source, const std::string& flags, int samples) {
    return {.run = [=] { compile(source, flags); }, .samples_per_round = samples};
}

struct Bars {
    Bar *header_only, *compiled;
};

[[nodiscard]] Row compile_time_row(const Bars& bars, const Options& options) {
    const std::string ours = "-I'" MPO_BENCH_INCLUDE "' ", eigen = "-I'" MPO_BENCH_EIGEN "' ";
    const int rounds = options.size == bench::Size::full ? 3 : 1;
    const auto seconds =
        bench::interleave({.rounds = rounds, .warm_up = bench::WarmUp::none},
                          {compiling("layer", ours + eigen, 3),
                           compiling("layer", ours + eigen + "-DMPO_COMPILED", 3),
                           compiling("include_only", ours + eigen + "-DMPO_COMPILED", 3),
                           compiling("eigen_bdcsvd", eigen, 1)});
    Row row{.seconds = bench::median(seconds[0])};
    row.counters["header_only_s"] = bench::median(seconds[0]);
    row.counters["compiled_s"] = bench::median(seconds[1]);
    row.counters["include_only_s"] = bench::median(seconds[2]);
    row.counters["eigen_bdcsvd_s"] = bench::median(seconds[3]);
    row.label = detail::concat("-O2, one unit; Eigen's BDCSVD measured ", rounds, " times");
    const std::string note =
        detail::concat("Eigen measured ", rounds, rounds == 1 ? " time" : " times");
    bars.header_only->measured(median_interval(ratios(seconds[0], seconds[3])), note);
    bars.compiled->measured(median_interval(ratios(seconds[1], seconds[3])), note);
    row.ratio = bars.header_only->value;
    return row;
}

void declare_rows(const Options& options) {
    const auto declare = [](const std::string& mode, double limit) {
        return &bench::declare_bar({.name = "compile time, " + mode,
                                    .comparison = Comparison::at_most,
                                    .limit = limit,
                                    .what = "decompose + apply / Eigen's BDCSVD, one unit each"});
    };
    const Bars bars{declare("header-only", 1.0 / 3), declare("mpo::compiled", 1.0 / 15)};
    bench::add_row("compile_time/layer", options, [=] { return compile_time_row(bars, options); });
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}

// What the bench programs share: their options, a row of the output, and the main function.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "support/bars.hpp"
#include "support/pairs.hpp"

namespace mpo::bench {

enum class Size { full, quick };

struct Options {
    Size size = Size::full;  // --quick: smaller shapes; their verdicts are hints
    int threads = 2;         // --threads=N; the hardware's count where that is smaller
    int flat_pairs = 1;      // --flat-pairs=N: pairs of the flat spectrum, a minute each
    std::string bars_file;   // --bars=FILE: write_bars(FILE) at exit

    [[nodiscard]] Index shape(Index full, Index quick) const {
        return size == Size::full ? full : quick;
    }
};

/// One row of the output: Google Benchmark's time and counters, those that are not NaN.
struct Row {
    double seconds = 0;  // of one run, the median
    double flops = NAN;
    double bytes = NAN;  // that must be read and written at least
    double error = NAN;  // relative, in the norm of Frobenius or of a vector
    int threads = 1;
    Interval ratio = {NAN, NAN, NAN};  // against the peer that the label names
    std::map<std::string, double> counters = {};
    std::string label = {};
    std::vector<Bar*> bars = {};  // measured here: told where the machine was not steady
};

/// A row that is measured once, between two FMA probes on all threads. Where it throws, the row
/// says so, its bars stay unmeasured, and run_program fails.
void add_row(const std::string& name, const Options& options, std::function<Row()> measure);

/// The main function of a bench: reads the options, declares rows and bars, runs, writes the bars.
[[nodiscard]] int run_program(int argc, char** argv, void (*declare_rows)(const Options&));

}  // namespace mpo::bench

// How two things are compared: measured in turns (A B A B ..) within one run, so that a machine
// that slows down slows down both; the median of the ratios, with an interval that needs no
// assumption about the noise.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

namespace mpo::bench {

using Seconds = std::vector<double>;

/// Median of a sample between two of its order statistics.
struct Interval {
    double median = 0;
    double low = 0;
    double high = 0;
};

/// Order statistics k and n + 1 - k, the innermost pair that holds the true median with at least
/// 95 % (binomial): 2nd and 8th of 9; smallest and largest below 9 samples.
[[nodiscard]] inline Interval median_interval(std::vector<double> samples) {
    if (samples.empty()) return {};
    std::sort(samples.begin(), samples.end());
    const std::size_t n = samples.size(), middle = n / 2;
    double term = 1, outside = 0;  // of 2^n: ways to have fewer than k samples below the median
    for (std::size_t i = 0; i < n; ++i) term /= 2;
    std::size_t k = 0;
    while (k < (n - 1) / 2 && 2 * (outside + term) <= 0.05) {
        outside += term;
        ++k;
        term *= static_cast<double>(n - k + 1) / static_cast<double>(k);
    }
    k = std::max<std::size_t>(k, 1);
    return {n % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2,
            samples[k - 1], samples[n - k]};
}

[[nodiscard]] inline double median(std::vector<double> samples) {
    return median_interval(std::move(samples)).median;
}

/// numerator / denominator, sample by sample. Where one side was measured less often (a peer that
/// takes long), each of its samples serves its neighbours in time.
[[nodiscard]] inline std::vector<double> ratios(const Seconds& numerator,
                                                const Seconds& denominator) {
    const std::size_t n = std::max(numerator.size(), denominator.size());
    std::vector<double> result;
    for (std::size_t i = 0; i < n; ++i)
        result.push_back(numerator[i * numerator.size() / n] /
                         denominator[i * denominator.size() / n]);
    return result;
}

/// One side of a comparison. Only `run` is timed.
struct Side {
    std::function<void()> run;
    std::function<void()> prepare = [] {};  // before: number of threads, inputs that run destroys
    std::function<void()> finish = [] {};   // after: until a foreign thread pool is quiet
    int samples_per_round = 1;
};

enum class WarmUp { every_side, none };

struct Schedule {
    int rounds = 9;
    WarmUp warm_up = WarmUp::every_side;
    double least_seconds = 4e-3;  // of one sample: shorter runs are repeated within it
};

template <class F>
[[nodiscard]] double seconds_of(F&& run) {
    const auto start = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Seconds per run of every side, in turns. A side without warm-up is not repeated within a sample.
[[nodiscard]] inline std::vector<Seconds> interleave(const Schedule& schedule,
                                                     const std::vector<Side>& sides) {
    std::vector<int> repeats(sides.size(), 1);
    for (std::size_t s = 0; s < sides.size() && schedule.warm_up == WarmUp::every_side; ++s) {
        sides[s].prepare();
        sides[s].run();
        const double once = seconds_of(sides[s].run);
        sides[s].finish();
        repeats[s] = std::max(1, static_cast<int>(std::min(1e6, schedule.least_seconds / once)));
    }
    std::vector<Seconds> seconds(sides.size());
    for (int round = 0; round < schedule.rounds; ++round) {
        for (std::size_t s = 0; s < sides.size(); ++s) {
            for (int sample = 0; sample < sides[s].samples_per_round; ++sample) {
                sides[s].prepare();
                const double all = seconds_of([&] {
                    for (int k = 0; k < repeats[s]; ++k) sides[s].run();
                });
                sides[s].finish();
                seconds[s].push_back(all / repeats[s]);
            }
        }
    }
    return seconds;
}

}  // namespace mpo::bench

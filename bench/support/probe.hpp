// What the machine can do at this moment, on the same threads: multiply-adds in registers, and a
// copy. Both spread over the pool of the library, so num_threads() says how many threads run.
#pragma once

#include <benchmark/benchmark.h>

#include <array>
#include <cstring>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/impl/gemm_kernel_inl.hpp"
#include "support/pairs.hpp"

namespace mpo::bench {

/// `steps` times 12 independent chains x = x a + b of vectors of `Bytes`: enough for two units of
/// latency 4, few enough for 16 registers. 2 * 12 * W * steps flops.
template <class R, int Bytes>
[[gnu::always_inline]] inline R fma_chains(Index steps, R factor, R summand) {
    using V = typename detail::Simd<R, Bytes>::type;
    constexpr int chains = 12, width = detail::Simd<R, Bytes>::width;
    V x[chains];
    for (int c = 0; c < chains; ++c) x[c] = V{} + static_cast<R>(c);
    const V a = V{} + factor, b = V{} + summand;
    for (Index step = 0; step < steps; ++step) {
#pragma GCC unroll 12
        for (int c = 0; c < chains; ++c) x[c] = x[c] * a + b;
    }
    R sum = 0;
    for (int c = 0; c < chains; ++c)
        for (int j = 0; j < width; ++j) sum += x[c][j];
    return sum;
}

#if defined(__x86_64__)
template <class R>
__attribute__((target("avx512f"))) R fma_avx512(Index steps, R factor, R summand) {
    return fma_chains<R, 64>(steps, factor, summand);
}
template <class R>
__attribute__((target("avx2,fma"))) R fma_avx2(Index steps, R factor, R summand) {
    return fma_chains<R, 32>(steps, factor, summand);
}
#endif
template <class R>
R fma_generic(Index steps, R factor, R summand) {
    return fma_chains<R, 16>(steps, factor, summand);
}

[[nodiscard]] inline const char* simd_name() {
    constexpr const char* names[] = {"generic 128 bit", "avx2+fma", "avx512f"};
    return names[static_cast<int>(detail::best_isa())];
}

/// Multiply-adds of R on every thread of the pool, with the vectors that the products use.
template <class R>
class FmaProbe {
  public:
    explicit FmaProbe(Index steps = Index{1} << 19) : steps_(steps) {}  // some milliseconds

    void run() const {
        parallel_for(0, num_threads(), 1, [this](Index first, Index last) {
            for (Index k = first; k < last; ++k)
                benchmark::DoNotOptimize(kernel()(steps_, factor(), R{1}));
        });
    }
    /// Of one run on so many threads.
    [[nodiscard]] double flops(int threads) const {
        const int width = detail::kernel_set<R>(detail::best_isa()).width;
        return 2.0 * 12 * width * static_cast<double>(steps_) * threads;
    }
    /// Flops per second: the median of 5 runs.
    [[nodiscard]] double rate() const {
        run();
        Seconds seconds;
        for (int k = 0; k < 5; ++k) seconds.push_back(seconds_of([this] { run(); }));
        return flops(num_threads()) / median(std::move(seconds));
    }

  private:
    using Kernel = R (*)(Index, R, R);
    [[nodiscard]] static Kernel kernel() {
#if defined(__x86_64__)
        constexpr std::array<Kernel, 3> kernels{&fma_generic<R>, &fma_avx2<R>, &fma_avx512<R>};
        return kernels[static_cast<std::size_t>(detail::best_isa())];
#else
        return &fma_generic<R>;
#endif
    }
    /// Below 1, so that the chains stay finite; unknown to the compiler.
    [[nodiscard]] static R factor() {
        static volatile R value = R{0.5};
        return value;
    }
    Index steps_;
};

/// A copy without order or arithmetic, a piece per thread.
inline void parallel_copy(const void* from, void* to, std::size_t bytes) {
    constexpr Index page = 4096;
    parallel_for(0, static_cast<Index>(bytes), page, [&](Index first, Index last) {
        std::memcpy(static_cast<char*>(to) + first, static_cast<const char*>(from) + first,
                    static_cast<std::size_t>(last - first));
    });
}

/// Bytes per second, read and written counted, of a copy of `bytes`.
[[nodiscard]] inline double copy_rate(std::size_t bytes) {
    const std::vector<char> from(bytes, 1);
    std::vector<char> to(bytes);
    const auto seconds =
        interleave({}, {{.run = [&] { parallel_copy(from.data(), to.data(), bytes); }}});
    return 2.0 * static_cast<double>(bytes) / median(seconds[0]);
}

}  // namespace mpo::bench

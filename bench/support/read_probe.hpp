// How fast an array can be read, on the threads of the pool: what decoding one token cannot beat.
#pragma once

#include <benchmark/benchmark.h>

#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/impl/gemm_kernel_inl.hpp"

namespace mpo::bench {

/// Reads an array once, in order, a piece per thread, asking for lines ahead as decoding does: without that
/// one thread reads a third less here.
class ReadProbe {
  public:
    explicit ReadProbe(Index bytes) : numbers_(static_cast<std::size_t>(bytes / 4), 1.0f) {}

    void run() const {
        using V = detail::Simd<float, 64>;
        constexpr Index together = 4 * V::width, ahead = 1024;
        parallel_for(
            0, static_cast<Index>(numbers_.size()) / together, 256, [&](Index first, Index last) {
                typename V::type sum[4] = {};
                const float* at = numbers_.data() + first * together;
                for (Index k = first; k < last; ++k, at += together)
                    for (int j = 0; j < 4; ++j) {
                        __builtin_prefetch(at + ahead + j * V::width);
                        sum[j] += *reinterpret_cast<const typename V::loose*>(at + j * V::width);
                    }
                float total = 0;
                for (const auto& vector : sum) total += vector[0];
                benchmark::DoNotOptimize(total);
            });
    }

  private:
    std::vector<float> numbers_;
};

}  // namespace mpo::bench

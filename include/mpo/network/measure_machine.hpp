// Measures the MachineTable of the machine at hand.
#pragma once

#include <algorithm>

#include "mpo/core/parallel.hpp"
#include "mpo/core/stopwatch.hpp"
#include "mpo/network/machine_table.hpp"

namespace mpo {

namespace detail {

/// Rate of one thread for one shape; items stream through the cache as those of a sweep do.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] double measure_rate(Side side, Index m, Index k, Index n, const B& backend) {
    constexpr Index most_elements = Index{1} << 16, least_work = Index{1} << 19;

    const Index item = side == Side::left ? (k + m) * n : m * (k + n);
    const Index count =
        std::clamp<Index>(least_work / (m * k * n), 1, std::max<Index>(1, most_elements / item));
    const Index wide = side == Side::left ? k * n * count : k * n;
    auto operand_data = backend.template allocate<T>(side == Side::left ? m * k : k * n);
    auto items = backend.template allocate<T>(side == Side::left ? wide : m * k * count);
    auto result = backend.template allocate<T>(m * n * count);
    backend.scale(operand_data.size(), T{0}, operand_data.data());
    backend.scale(items.size(), T{0}, items.data());
    const auto operand =
        backend.prepare(side, matrix<const T>(operand_data.data(), side == Side::left ? m : k,
                                              side == Side::left ? k : n));
    const auto run = [&] {
        if (side == Side::left)
            backend.gemm_left(operand,
                              BatchView<const T>{matrix<const T>(items.data(), k, n), k * n}, T{0},
                              BatchView<T>{matrix(result.data(), m, n), m * n}, count);
        else
            for (Index i = 0; i < count; ++i)
                backend.gemm_right(matrix<const T>(items.data() + i * m * k, m, k), operand, T{0},
                                   matrix(result.data() + i * m * n, m, n));
        backend.synchronize();
    };
    run();
    return static_cast<double>(m * k * n * count) / least_seconds(3, run);
}

}  // namespace detail

/// Measures the machine that `backend` works on: 164 products, some 0.2 s.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] MachineTable measure_machine(const B& backend) {
    MachineTable table;
    table.threads = std::max<int>(1, backend.concurrency());
    const auto nothing = [](Index, Index) {};
    table.fork_join_seconds =
        detail::least_seconds(50, [&] { parallel_for(0, table.threads, 1, nothing); });
    // inside a piece of a parallel loop products stay on one thread; the other pieces have no work
    parallel_for(0, table.threads, 1, [&](Index first, Index) {
        if (first != 0) return;
        std::size_t at = 0;
        for (const Index m : MachineTable::rows)
            for (const Index k : MachineTable::inner)
                for (const Index n : MachineTable::cols) {
                    table.left[at] = detail::measure_rate<T>(Side::left, m, k, n, backend);
                    table.right[at++] = detail::measure_rate<T>(Side::right, m, k, n, backend);
                }
        for (std::size_t s = 0; s < MachineTable::sizes.size(); ++s) {  // one row reads all of it
            constexpr Index k = 512;
            const Index n = MachineTable::sizes[s] / static_cast<Index>(sizeof(T)) / k;
            table.bytes_per_second[s] = static_cast<double>(sizeof(T)) *
                                        detail::measure_rate<T>(Side::right, 1, k, n, backend);
        }
    });
    return table;
}

}  // namespace mpo

// Measures the MachineTable of the machine at hand.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/stopwatch.hpp"
#include "mpo/network/machine_table.hpp"

namespace mpo {

namespace detail {

/// Rate of one thread for one shape; items stream through the cache as those of a sweep do.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] double measure_rate(Side side, Index m, Index k, Index n, const B& backend) {
    constexpr Index most_elements = Index{1} << 16, least_work = Index{1} << 19, least_columns = 64;

    const Index item = side == Side::left ? (k + m) * n : m * (k + n);
    // a prepared left side takes the columns of several narrow items together
    const Index least = side == Side::left ? (least_columns + n - 1) / n : 1;
    const Index count = std::clamp<Index>(least_work / (m * k * n), least,
                                          std::max<Index>(least, most_elements / item));
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

/// Bytes per second of each thread, all of them reading parts of an array of this size at once: memory and the last
/// cache are shared.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] double measure_reading(Index bytes, int threads, const B& backend) {
    constexpr Index k = 512;
    const Index n = std::max<Index>(1, bytes / threads / static_cast<Index>(sizeof(T)) / k);
    struct Part {
        BufferOf<B, T> row, result;
        OperandOf<B, T> operand;
    };
    std::vector<std::optional<Part>> parts(static_cast<std::size_t>(threads));
    const auto for_each_part = [&](auto&& body) {
        parallel_for(0, threads, 1, [&](Index first, Index last) {
            for (Index t = first; t < last; ++t) body(parts[static_cast<std::size_t>(t)]);
        });
    };
    for_each_part([&](std::optional<Part>& part) {
        auto data = backend.template allocate<T>(k * n);
        backend.scale(k * n, T{0}, data.data());
        part = Part{backend.template allocate<T>(k), backend.template allocate<T>(n),
                    backend.prepare(Side::right, matrix<const T>(data.data(), k, n))};
        backend.scale(k, T{0}, part->row.data());
    });
    const Index passes = std::max<Index>(1, (Index{1} << 22) / bytes);
    const auto read = [&] {
        for_each_part([&](std::optional<Part>& part) {
            for (Index pass = 0; pass < passes; ++pass)  // one row reads all of it
                backend.gemm_right(matrix<const T>(part->row.data(), 1, k), part->operand, T{0},
                                   matrix(part->result.data(), 1, n));
        });
        backend.synchronize();
    };
    read();
    return static_cast<double>(k * n * static_cast<Index>(sizeof(T)) * passes) /
           least_seconds(3, read);
}

}  // namespace detail

/// Measures the machine that `backend` works on: 304 products, some 0.5 s.
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
    });
    for (std::size_t s = 0; s < MachineTable::sizes.size(); ++s)
        table.bytes_per_second[s] =
            detail::measure_reading<T>(MachineTable::sizes[s], table.threads, backend);
    return table;
}

}  // namespace mpo

// MachineTable: how fast a machine multiplies matrices of which shape (network/measure_machine.hpp measures
// it in a fraction of a second, to_text keeps it), so that plans are priced in seconds instead of multiply-adds.
//
// Rates lie on a grid of shapes and are interpolated between them, linearly in the logarithms.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "mpo/linalg/backend.hpp"

namespace mpo {

/// What was measured, for one scalar type. The defaults are an AVX-512 processor with two cores, in float.
struct MachineTable {
    static constexpr std::array<Index, 5> rows = {1, 4, 16, 64, 256};      // m of the grid
    static constexpr std::array<Index, 5> inner = {4, 16, 64, 512, 4096};  // k
    static constexpr std::array<Index, 6> cols = {1, 2, 8, 16, 64, 512};   // n
    /// Bytes of the arrays whose reading was timed, of all threads together.
    static constexpr std::array<Index, 4> sizes = {1 << 18, 1 << 21, 1 << 24, 1 << 27};

    /// Rates of one thread in multiply-adds per second, of products (m, k) (k, n) of a prepared left
    /// side and many right ones, index (m, k, n).
    std::array<double, 150> left{};
    /// The same of one left side and a prepared right one.
    std::array<double, 150> right{};
    std::array<double, 4>
        bytes_per_second{};           // of one thread while all read, for arrays of `sizes`
    double fork_join_seconds = 1e-6;  // an empty parallel loop
    int threads = 2;                  // that work at once

    /// Multiply-adds per second of one thread, of a product (m, k) (k, n). side: where the prepared
    /// operand stands.
    [[nodiscard]] double rate(Side side, Index m, Index k, Index n) const;
    /// Bytes per second of one thread, where all threads read parts of an array of this size over and over.
    [[nodiscard]] double bandwidth(Index bytes) const;
};

/// The table that plans use unless they are given another one.
[[nodiscard]] const MachineTable& default_machine_table();

/// The table as text, one line a number.
[[nodiscard]] std::string to_text(const MachineTable& table);
/// Reads what to_text wrote. Throws FormatError, naming the line.
[[nodiscard]] MachineTable machine_table_from_text(std::string_view text);

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/machine_table_inl.hpp"
#endif

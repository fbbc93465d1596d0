// Bodies of network/machine_table.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "mpo/core/inline.hpp"
#include "mpo/network/machine_table.hpp"

namespace mpo {
namespace detail {

/// Where x lies between the points of an ascending grid, in logarithms.
struct GridPlace {
    std::size_t at;  // point below
    double share;    // of the next one
};
[[nodiscard]] inline GridPlace place_on(const Index* grid, std::size_t size, Index x) {
    if (x <= grid[0]) return {0, 0};
    if (x >= grid[size - 1]) return {size - 2, 1};
    std::size_t at = 0;
    while (grid[at + 1] <= x) ++at;
    const auto log = [](Index value) { return std::log(static_cast<double>(value)); };
    return {at, (log(x) - log(grid[at])) / (log(grid[at + 1]) - log(grid[at]))};
}

}  // namespace detail

MPO_DETAIL_INLINE double MachineTable::rate(Side side, Index m, Index k, Index n) const {
    const auto& values = side == Side::left ? left : right;
    const auto [i, row] = detail::place_on(rows.data(), rows.size(), m);
    const auto [p, depth] = detail::place_on(inner.data(), inner.size(), k);
    const auto [j, column] = detail::place_on(cols.data(), cols.size(), n);
    double sum = 0;
    for (std::size_t corner = 0; corner < 8; ++corner) {
        const std::size_t a = corner & 1, b = corner >> 1 & 1, c = corner >> 2;
        const double weight = (a != 0 ? row : 1 - row) * (b != 0 ? depth : 1 - depth) *
                              (c != 0 ? column : 1 - column);
        if (weight > 0)
            sum +=
                weight * std::log(values[((i + a) * inner.size() + p + b) * cols.size() + j + c]);
    }
    return std::exp(sum);
}

MPO_DETAIL_INLINE double MachineTable::bandwidth(Index bytes) const {
    const auto [i, share] = detail::place_on(sizes.data(), sizes.size(), bytes);
    return std::exp((1 - share) * std::log(bytes_per_second[i]) +
                    share * std::log(bytes_per_second[i + 1]));
}

namespace detail {

/// Time of a multiply-add of a product (m, k) (k, n), as a factor of a large product's.
[[nodiscard]] inline double slowness(const std::array<double, 8>& shares, Index m, Index k,
                                     Index n) {
    const double u = 1 / static_cast<double>(m), v = 1 / static_cast<double>(k),
                 w = 1 / static_cast<double>(n);
    const std::array<double, 8> terms{1, u, v, w, u * v, u * w, v * w, u * v * w};
    double sum = 0;
    for (std::size_t t = 0; t < terms.size(); ++t) sum += shares[t] * terms[t];
    return sum;
}

}  // namespace detail

/// Measured, and put into few numbers by least squares: 125e9 multiply-adds a second of a thread, fewer where a tile
/// is not full, where panels are short, and where little is done with what was packed.
MPO_DETAIL_INLINE const MachineTable& default_machine_table() {
    static const MachineTable table = [] {
        constexpr double most = 125e9;
        constexpr std::array<double, 8> left{1, 2.5, 4.4, 0.45, 11, 77, 79, 970};
        constexpr std::array<double, 8> right{0.75, 1.5, 3.5, 21, 11, 77, 300, 8400};
        MachineTable made;
        std::size_t at = 0;
        for (const Index m : MachineTable::rows)
            for (const Index k : MachineTable::inner)
                for (const Index n : MachineTable::cols) {
                    made.left[at] = most / detail::slowness(left, m, k, n);
                    made.right[at++] = most / detail::slowness(right, m, k, n);
                }
        made.bytes_per_second = {120e9, 110e9, 57e9, 24e9};
        return made;
    }();
    return table;
}

MPO_DETAIL_INLINE std::string to_text(const MachineTable& table) {
    std::string text = detail::concat("mpo machine table 2\n", table.threads, "\n");
    const auto append = [&](double value) { text += detail::concat(value, "\n"); };
    append(table.fork_join_seconds);
    for (const double value : table.bytes_per_second) append(value);
    for (const double value : table.left) append(value);
    for (const double value : table.right) append(value);
    return text;
}

MPO_DETAIL_INLINE MachineTable machine_table_from_text(std::string_view text) {
    MachineTable table;
    Index line = 0;
    const auto next_line = [&] {
        ++line;
        const auto end = text.find('\n');
        if (end == std::string_view::npos)  // the last number may be cut short, too
            detail::raise<FormatError>({"machine table: line ", line, " does not end"});
        std::string result(text.substr(0, end));
        text.remove_prefix(end + 1);
        return result;
    };
    const auto next = [&] {
        const std::string digits = next_line();
        char* end = nullptr;
        const double value = std::strtod(digits.c_str(), &end);
        if (digits.empty() || *end != 0 || !std::isfinite(value) || value <= 0)
            detail::raise<FormatError>(
                {"machine table: line ", line, " must be one number above 0"});
        return value;
    };
    if (next_line() != "mpo machine table 2")
        throw FormatError("machine table: line 1 must be 'mpo machine table 2'");
    const double threads = next();
    if (threads != std::floor(threads) || threads > 4096)
        throw FormatError("machine table: line 2 must be a number of threads, 1 to 4096");
    table.threads = static_cast<int>(threads);
    table.fork_join_seconds = next();
    for (double& value : table.bytes_per_second) value = next();
    for (double& value : table.left) value = next();
    for (double& value : table.right) value = next();
    if (!text.empty())
        detail::raise<FormatError>({"machine table: nothing may follow line ", line});
    return table;
}

}  // namespace mpo

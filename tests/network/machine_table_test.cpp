// Rates on a grid of shapes: interpolated, kept as text, refused where the text lies.
#include "mpo/network/machine_table.hpp"

#include <cmath>

#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/network/measure_machine.hpp"
#include "support/catch.hpp"

using namespace mpo;

namespace {

/// Rates that are a power law, which interpolation in logarithms must reproduce.
[[nodiscard]] MachineTable power_law() {
    MachineTable table;
    std::size_t at = 0;
    for (const Index m : MachineTable::rows)
        for (const Index k : MachineTable::inner)
            for (const Index n : MachineTable::cols) {
                const double value = std::pow(static_cast<double>(m), 0.5) *
                                     std::pow(static_cast<double>(k), 0.25) *
                                     std::pow(static_cast<double>(n), 0.125);
                table.left[at] = 1e9 * value;
                table.right[at++] = 2e9 * value;
            }
    for (std::size_t s = 0; s < MachineTable::sizes.size(); ++s)
        table.bytes_per_second[s] = 1e15 / static_cast<double>(MachineTable::sizes[s]);
    return table;
}

}  // namespace

TEST_CASE("machine table: rates between the points follow a power law, and end with the grid") {
    const auto table = power_law();
    for (const Index m : {1, 3, 16, 100, 256})
        for (const Index k : {4, 10, 64, 512})
            for (const Index n : {1, 5, 33, 512}) {
                const double expected = 1e9 * std::pow(static_cast<double>(m), 0.5) *
                                        std::pow(static_cast<double>(k), 0.25) *
                                        std::pow(static_cast<double>(n), 0.125);
                CHECK(table.rate(Side::left, m, k, n) == Approx(expected).epsilon(1e-9));
                CHECK(table.rate(Side::right, m, k, n) == Approx(2 * expected).epsilon(1e-9));
            }
    CHECK(table.rate(Side::left, 5000, 9000, 9000) ==
          table.rate(Side::left, MachineTable::rows.back(), MachineTable::inner.back(),
                     MachineTable::cols.back()));
    CHECK(table.rate(Side::left, 2, 1, 1) == table.rate(Side::left, 2, 4, 1));
    CHECK(table.bandwidth(3'000'000) == Approx(1e15 / 3e6).epsilon(1e-9));
    CHECK(table.bandwidth(1) == table.bandwidth(MachineTable::sizes.front()));
}

TEST_CASE("machine table: text and back") {
    for (const auto& table : {power_law(), default_machine_table()}) {
        const auto text = to_text(table);
        const auto again = machine_table_from_text(text);
        CHECK(to_text(again) == text);
        CHECK(again.threads == table.threads);
        CHECK(again.rate(Side::right, 7, 7, 7) ==
              Approx(table.rate(Side::right, 7, 7, 7)).epsilon(1e-4));
        for (std::size_t length = 0; length < text.size(); length += 11)
            CHECK_THROWS_AS(machine_table_from_text(text.substr(0, length)), FormatError);
        CHECK_THROWS_AS(machine_table_from_text(text + "1\n"), FormatError);
    }
    auto lie = to_text(default_machine_table());
    for (const char* value : {"-1", "nan", "inf", "0", "fast", "1 2"}) {
        CAPTURE(value);
        auto text = lie;
        const auto second = text.find('\n') + 1, third = text.find('\n', second);
        text.replace(second, third - second, value);
        CHECK_THROWS_AS(machine_table_from_text(text), FormatError);
    }
}

TEST_CASE("machine table: a measured one is plausible") {
    const EigenBackend backend;
    const auto table = measure_machine<float>(backend);
    CHECK(table.threads == backend.concurrency());
    for (const double rate : table.left) CHECK((rate > 0 && rate < 1e13));
    for (const double rate : table.right) CHECK((rate > 0 && rate < 1e13));
    for (const double rate : table.bytes_per_second) CHECK((rate > 0 && rate < 1e13));
    // a large product is faster than one number times one number
    CHECK(table.rate(Side::right, 256, 512, 512) > table.rate(Side::right, 1, 4, 1));
    CHECK(to_text(machine_table_from_text(to_text(table))) == to_text(table));
}

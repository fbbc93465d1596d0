// Laws of sampled spectra: few points, the chosen one among them, errors that are sums of what is
// dropped.
#include "mpo/model/spectrum_report.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// sigma_k = 1 / k, `count` of `useful` known, `kept` kept.
[[nodiscard]] BondSpectrum harmonic(Index useful, Index count, Index kept) {
    BondSpectrum bond;
    bond.bond_dim = kept;
    bond.useful_bond_dim = useful;
    for (Index k = 1; k <= count; ++k) bond.singular_values.push_back(1 / static_cast<double>(k));
    return bond;
}

/// sqrt of the sum of 1 / k^2, k = first .. last, added up from the small end.
[[nodiscard]] double tail(Index first, Index last) {
    double sum = 0;
    for (Index k = last; k >= first; --k) sum += 1 / static_cast<double>(k * k);
    return std::sqrt(sum);
}

}  // namespace

TEST_CASE("spectrum: few ranks, ascending, both ends and the chosen one among them") {
    for (const Index count : {1, 2, 30, 31, 32, 33, 240, 4096, 1000003})
        for (const Index chosen : {Index{1}, (count + 1) / 2, count}) {
            const auto ranks = sampled_ranks(count, chosen);
            INFO(chosen << " of " << count);
            CHECK(static_cast<Index>(ranks.size()) <= max_spectrum_points);
            CHECK(ranks.front() == 1);
            CHECK(ranks.back() == count);
            CHECK(std::count(ranks.begin(), ranks.end(), chosen) == 1);
            for (std::size_t k = 1; k < ranks.size(); ++k) CHECK(ranks[k - 1] < ranks[k]);
            if (count <= 31) CHECK(static_cast<Index>(ranks.size()) == count);
        }
    CHECK(sampled_ranks(961, 1)[3] == 1 + 10);  // 1 + 960 (3 / 30)^2 = 1 + 9.6
    CHECK(sampled_ranks(0, 1).empty());
}

TEST_CASE("spectrum: errors are what is dropped, whatever is known of the rest") {
    const Index useful = 100;
    const double norm = tail(1, useful);
    for (const Index count : {100, 60, 20})
        for (const Index kept : {1, 7, 20}) {
            auto bond = harmonic(useful, count, kept);
            bond.discarded_weight = std::pow(tail(kept + 1, useful) / norm, 2);
            const auto report = spectrum_report(bond, norm);
            CHECK(report.num_computed == count);
            for (const auto& point : report.points) {
                INFO("rank " << point.rank << ", " << kept << " kept, " << count << " known");
                CHECK(point.singular_value == 1 / static_cast<double>(point.rank));
                const double expected = tail(point.rank + 1, useful) / norm;
                CHECK(std::abs(point.relative_error - expected) <=
                      std::sqrt(tolerance<double>(useful, 1)));
            }
        }
}

TEST_CASE("spectrum: small tails are not lost to rounding where all is known") {
    BondSpectrum bond;
    bond.bond_dim = 1;
    bond.useful_bond_dim = 3;
    bond.singular_values = {1, 1e-9, 1e-12};
    bond.discarded_weight = 1e-14;  // a measured loss: 1e-18 and the rounding of a subtraction
    const auto points = spectrum_report(bond, 1).points;
    REQUIRE(points.size() == 3);
    CHECK(points[0].relative_error == Approx(1e-9));
    CHECK(points[1].relative_error == Approx(1e-12));
    CHECK(points[2].relative_error == 0);
}

TEST_CASE("spectrum: a zero matrix loses nothing") {
    BondSpectrum bond;
    bond.bond_dim = 1;
    bond.useful_bond_dim = 2;
    bond.singular_values = {0, 0};
    for (const auto& point : spectrum_report(bond, 0).points) CHECK(point.relative_error == 0);
}

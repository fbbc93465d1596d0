// choose_bond_dim is arithmetic: the law is checked against the definition, bond by bond.
#include "mpo/linalg/truncation.hpp"

#include "support/catch.hpp"
#include "support/matrices.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Sum of squares from position `first` on, plus the tail that was not computed.
double dropped_from(const std::vector<double>& sigma, Index first, double tail) {
    return tail_norm(sigma, first) * tail_norm(sigma, first) + tail;
}

}  // namespace

TEST_CASE("the smallest rank within the tolerance is kept, then the cap") {
    for (const auto& sigma :
         {power_spectrum(9), exponential_spectrum(13), flat_spectrum(5),
          rank_deficient_spectrum(8, 3), std::vector<double>{2.0}, std::vector<double>{0.0, 0.0}})
        for (const double tail : {0.0, 0.01})
            for (const Index cap : {Index{1}, Index{2}, Index{5}, no_cap})
                for (double allowed = 1e-6; allowed < 100; allowed *= 1.7) {
                    CAPTURE(sigma, tail, cap, allowed);
                    const auto count = static_cast<Index>(sigma.size());
                    Index wanted = count;
                    while (wanted > 1 && dropped_from(sigma, wanted - 1, tail) <= allowed) --wanted;
                    const auto choice = choose_bond_dim(sigma, tail, allowed, cap);
                    REQUIRE(choice.bond_dim == std::min(wanted, cap));
                    const double dropped = dropped_from(sigma, choice.bond_dim, tail);
                    REQUIRE(std::abs(choice.discarded_squared - dropped) <=
                            tolerance<double>(count, dropped));
                    REQUIRE(choice.limit == (wanted > cap     ? BindingLimit::bond_cap
                                             : wanted < count ? BindingLimit::tolerance
                                                              : BindingLimit::none));
                }
}

TEST_CASE("a tolerance of zero drops zeros and nothing else") {
    CHECK(choose_bond_dim({2, 1, 1e-300}, 0, 0, no_cap).bond_dim == 2);  // its square is 0
    CHECK(choose_bond_dim({2, 1, 1e-150}, 0, 0, no_cap).bond_dim == 3);
    CHECK(choose_bond_dim({2, 1, 0, 0}, 0, 0, no_cap).bond_dim == 2);
    CHECK(choose_bond_dim({0, 0}, 0, 0, no_cap).bond_dim == 1);
    CHECK(choose_bond_dim({1}, 0, 5, no_cap).bond_dim == 1);  // at least one stays
}

TEST_CASE("small values are not lost beside large ones") {
    // 10^6 values of 1e-8 weigh as much as one of 1e-5; beside 1, one by one, they would vanish
    const Index count = 1'000'000;
    std::vector<double> sigma(static_cast<std::size_t>(count) + 1, 1e-8);
    sigma.front() = 1;
    const auto choice = choose_bond_dim(sigma, 0, 1, 1);
    // equal summands round the same way, so the errors add up: count, not sqrt(count)
    CHECK(std::abs(choice.discarded_squared - 1e-10) <= tolerance<double>(count * count, 1e-10));
    CHECK(choose_bond_dim(sigma, 0, 0.99e-10, no_cap).bond_dim > 1);
}

TEST_CASE("NaN is never dropped") {
    const double nan = std::nan("");
    CHECK(choose_bond_dim({3, 2, nan, 1}, 0, 100, no_cap).bond_dim == 3);
}

TEST_CASE("limits outside their domain are refused with numbers") {
    CHECK_NOTHROW(validate(Truncation{}, "test"));
    CHECK_NOTHROW(validate(Truncation{1, 0}, "test"));
    CHECK_NOTHROW(validate(Truncation{no_cap, 5}, "test"));
    CHECK_THROWS_AS(validate(Truncation{0, 0}, "truncate"), ArgumentError);
    CHECK_THROWS_WITH(validate(Truncation{-3, 0}, "truncate"),
                      "truncate: max_bond_dim must be at least 1, got -3");
    CHECK_THROWS_WITH(validate(Truncation{1, -0.5}, "truncate"),
                      "truncate: max_relative_error must be finite and >= 0, got -0.5");
    CHECK_THROWS_AS(validate(Truncation{1, -0.5}, "truncate"), ArgumentError);
    CHECK_THROWS_AS(validate(Truncation{1, std::nan("")}, "truncate"), ArgumentError);
    CHECK_THROWS_AS(validate(Truncation{1, std::numeric_limits<double>::infinity()}, "truncate"),
                    ArgumentError);
}

TEST_CASE("limits read as text") {
    CHECK(to_string(BindingLimit::none) == "none");
    CHECK(to_string(BindingLimit::tolerance) == "tolerance");
    CHECK(to_string(BindingLimit::bond_cap) == "bond_cap");
}

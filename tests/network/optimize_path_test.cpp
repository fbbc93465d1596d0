// Orders against brute force over all of them, limits, and the results of opt_einsum and cotengra.
#include "mpo/network/optimize_path.hpp"

#include <fstream>
#include <sstream>

#include "support/catch.hpp"

using namespace mpo;

namespace {

/// n tensors, pairs joined at random; some legs open, some of three tensors, some of one.
[[nodiscard]] LegNetwork random_network(Index n, std::uint64_t seed) {
    Random random(seed);
    LegNetwork network;
    network.tensors.resize(static_cast<std::size_t>(n));
    const Index legs = n + random.below(n + 2);
    for (Index leg = 0; leg < legs; ++leg) {
        network.extents.push_back(1 + random.below(5));
        const Index owners = 1 + random.below(3);
        for (Index k = 0; k < owners; ++k)
            network.tensors[static_cast<std::size_t>(random.below(n))].push_back(leg);
        if (random.below(3) == 0) network.open.push_back(leg);
    }
    return network;
}

/// Least multiply-adds of all orders with a peak within the limit, by trying them.
[[nodiscard]] double brute_force(const LegNetwork& network, double limit) {
    const auto count = static_cast<Index>(network.tensors.size());
    double best = std::numeric_limits<double>::infinity();
    ContractionPath path;
    const auto extend = [&](const auto& self, const std::vector<Index>& alive) -> void {
        if (alive.size() == 1) {
            const auto cost = contraction_cost(network, path);
            if (cost.peak_elements <= limit) best = std::min(best, cost.multiply_adds);
            return;
        }
        for (std::size_t p = 0; p < alive.size(); ++p)
            for (std::size_t q = 0; q < p; ++q) {
                std::vector<Index> rest;
                for (std::size_t k = 0; k < alive.size(); ++k)
                    if (k != p && k != q) rest.push_back(alive[k]);
                path.steps.push_back({alive[q], alive[p]});
                rest.push_back(count + static_cast<Index>(path.steps.size()) - 1);
                self(self, rest);
                path.steps.pop_back();
            }
    };
    std::vector<Index> all;
    for (Index k = 0; k < count; ++k) all.push_back(k);
    extend(extend, all);
    return best;
}

}  // namespace

TEST_CASE("optimize_path: no order of all is cheaper") {
    for (Index n = 1; n <= 5; ++n)
        for (std::uint64_t seed = 0; seed < 12; ++seed) {
            const auto network = random_network(n, 100 * static_cast<std::uint64_t>(n) + seed);
            CAPTURE(n, seed);
            const auto cost = contraction_cost(network, optimize_path(network));
            CHECK(cost.multiply_adds ==
                  brute_force(network, std::numeric_limits<double>::infinity()));
        }
}

TEST_CASE("optimize_path: under a limit, the cheapest order that fits, or slices") {
    int sliced = 0, dearer = 0;
    for (Index n = 3; n <= 6; ++n)
        for (std::uint64_t seed = 0; seed < 12; ++seed) {
            const auto network = random_network(n, 100 * static_cast<std::uint64_t>(n) + seed);
            const auto free = contraction_cost(network, optimize_path(network));
            for (const double share : {0.8, 0.5, 0.25}) {
                const double limit = std::floor(share * free.peak_elements);
                CAPTURE(n, seed, limit);
                const double best = limit >= 1 ? brute_force(network, limit) : 0;
                if (limit < 1) continue;
                ContractionPath path;
                try {
                    path = optimize_path(network, {.max_peak_elements = limit});
                } catch (const ArgumentError&) {
                    CHECK(best == std::numeric_limits<double>::infinity());
                    continue;  // open legs cannot be sliced
                }
                const auto cost = contraction_cost(network, path);
                CHECK(cost.peak_elements <= limit);
                CHECK(path.sliced.empty() == (best < std::numeric_limits<double>::infinity()));
                if (path.sliced.empty()) CHECK(cost.multiply_adds == best);
                sliced += path.sliced.empty() ? 0 : 1;
                dearer += cost.multiply_adds > free.multiply_adds ? 1 : 0;
            }
        }
    CHECK(sliced > 0);
    CHECK(dearer > 0);
}

TEST_CASE("optimize_path: greedy orders are orders, within the limit, the same for the same seed") {
    for (const Index n : {1, 2, 7, 15, 40}) {
        const auto network = random_network(n, static_cast<std::uint64_t>(n));
        const PathOptions greedy{.max_optimal = 1, .trials = 8};
        const auto path = optimize_path(network, greedy);
        CHECK(path.steps == optimize_path(network, greedy).steps);
        CHECK(static_cast<Index>(path.steps.size()) == n - 1);
        const auto cost = contraction_cost(network, path);
        if (n <= 7) {
            CHECK(cost.multiply_adds >=
                  contraction_cost(network, optimize_path(network)).multiply_adds);
        }
        auto more = greedy;
        more.trials = 64;
        CHECK(contraction_cost(network, optimize_path(network, more)).multiply_adds <=
              cost.multiply_adds);
    }
}

TEST_CASE("optimize_path: options that make no sense are refused") {
    const LegNetwork chain{{{0, 1}, {1, 2}}, {2, 3, 5}, {0, 2}};
    CHECK_THROWS_AS(optimize_path(chain, {.trials = 0}), ArgumentError);
    CHECK_THROWS_AS(optimize_path(chain, {.max_optimal = 17}), ArgumentError);
    CHECK_THROWS_AS(optimize_path(chain, {.max_peak_elements = 0}), ArgumentError);
    CHECK_THROWS_AS(optimize_path(chain, {.max_peak_elements = NAN}), ArgumentError);
    CHECK_THROWS_AS(optimize_path(chain, {.max_peak_elements = 9}), ArgumentError);  // the result
    CHECK(optimize_path(chain, {.max_peak_elements = 10}).steps.size() == 1);
}

// paths.txt, by make_paths.py: per network a line of extents, one of open legs, one per tensor, then
// the multiply-adds of opt_einsum's optimal path (0: not run) and of cotengra's greedy one.
TEST_CASE("optimize_path: never dearer than opt_einsum's best, near cotengra's greedy") {
    std::ifstream file(MPO_FIXTURES_DIR "/paths.txt");
    REQUIRE(file);
    const auto numbers = [&] {
        std::string line;
        std::getline(file, line);
        std::istringstream words(line.substr(line.find(':') + 1));
        std::vector<double> row;
        for (double x; words >> x;) row.push_back(x);
        return row;
    };
    const auto legs = [](const std::vector<double>& row) {
        std::vector<Index> result;
        for (const double x : row) result.push_back(static_cast<Index>(x));
        return result;
    };
    int small = 0, large = 0;
    double log_ratio = 0;
    for (std::string header; std::getline(file, header);) {
        if (header.rfind("network", 0) != 0) continue;
        CAPTURE(header);
        LegNetwork network;
        const Index count = std::stol(header.substr(8));
        network.extents = legs(numbers());
        network.open = legs(numbers());
        for (Index k = 0; k < count; ++k) network.tensors.push_back(legs(numbers()));
        const auto peers = numbers();
        const double ours = contraction_cost(network, optimize_path(network)).multiply_adds;
        if (peers.at(0) > 0) {
            ++small;
            CHECK(ours <= peers.at(0));
        } else {
            ++large;
            log_ratio += std::log(ours / peers.at(1));
        }
    }
    CHECK(small == 20);
    REQUIRE(large == 20);
    CAPTURE(std::exp(log_ratio / large));
    CHECK(std::exp(log_ratio / large) <= 1.1);
}

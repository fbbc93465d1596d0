// Costs of paths, against counts made by hand and by brute force.
#include "mpo/network/path.hpp"

#include "support/catch.hpp"

using namespace mpo;

TEST_CASE("path: a chain of matrices costs what its loops do") {
    // A (2, 3) B (3, 5) C (5, 7) -> (2, 7)
    const LegNetwork chain{{{0, 1}, {1, 2}, {2, 3}}, {2, 3, 5, 7}, {0, 3}};
    const auto left = contraction_cost(chain, {{{0, 1}, {3, 2}}});
    CHECK(left.multiply_adds == 2 * 3 * 5 + 2 * 5 * 7);
    CHECK(left.peak_elements == 2 * 5 + 2 * 7);
    CHECK(left.elements_moved == (2 * 3 + 3 * 5 + 2 * 5) + (2 * 5 + 5 * 7 + 2 * 7));
    CHECK(left.num_slices == 1);
    const auto right = contraction_cost(chain, {{{1, 2}, {0, 3}}});
    CHECK(right.multiply_adds == 3 * 5 * 7 + 2 * 3 * 7);
    const auto ends_first = contraction_cost(chain, {{{0, 2}, {3, 1}}});  // an outer product
    CHECK(ends_first.multiply_adds == 2 * 3 * 5 * 7 * 2);
}

TEST_CASE("path: slicing a summed leg runs the steps once for each of its values") {
    const LegNetwork chain{{{0, 1}, {1, 2}, {2, 3}}, {2, 3, 5, 7}, {0, 3}};
    const auto cost = contraction_cost(chain, {{{0, 1}, {3, 2}}, {2}});
    CHECK(cost.num_slices == 5);
    CHECK(cost.multiply_adds == 5 * (2 * 3 + 2 * 7));
    CHECK(cost.peak_elements == 2 + 2 * 7);
}

TEST_CASE("path: batch legs stay, copy legs go with their last tensor, traces come first") {
    const LegNetwork batch{{{0, 1, 2}, {0, 2, 3}}, {4, 2, 3, 5}, {0, 1, 3}};
    CHECK(contraction_cost(batch, {{{0, 1}}}).multiply_adds == 4 * 2 * 3 * 5);
    // leg 0 of three tensors, summed: alive until the third one comes
    const LegNetwork copy{{{0, 1}, {0, 2}, {0, 3}}, {6, 2, 3, 5}, {1, 2, 3}};
    const auto cost = contraction_cost(copy, {{{0, 1}, {3, 2}}});
    CHECK(cost.multiply_adds == 6 * 2 * 3 + 6 * 2 * 3 * 5);
    CHECK(cost.peak_elements == 6 * 2 * 3 + 2 * 3 * 5);
    // A (a, a, b) is traced to (b), then meets B (b)
    const LegNetwork trace{{{0, 0, 1}, {1}}, {7, 3}, {}};
    CHECK(contraction_cost(trace, {{{0, 1}}}).multiply_adds == 7 * 3 + 3);
    // a leg that only one tensor has is summed at once
    const LegNetwork alone{{{0, 1}, {1}}, {7, 3}, {}};
    CHECK(contraction_cost(alone, {{{0, 1}}}).multiply_adds == 7 * 3 + 3);
    // one tensor, no steps; scalars
    CHECK(contraction_cost({{{0, 1}}, {2, 3}, {0, 1}}, {}).multiply_adds == 0);
    CHECK(contraction_cost({{{}, {}}, {}, {}}, {{{0, 1}}}).multiply_adds == 1);
}

TEST_CASE("path: more than 64 legs") {
    LegNetwork chain;
    ContractionPath path;
    for (Index k = 0; k < 100; ++k) {
        chain.tensors.push_back({k, k + 1});
        chain.extents.push_back(2);
        if (k > 0) path.steps.push_back({k == 1 ? 0 : 98 + k, k});
    }
    chain.extents.push_back(2);
    chain.open = {0, 100};
    const auto cost = contraction_cost(chain, path);
    CHECK(cost.multiply_adds == 99 * 8);
    CHECK(cost.peak_elements == 8);
}

TEST_CASE("path: what makes no sense is refused, with numbers") {
    const LegNetwork chain{{{0, 1}, {1, 2}, {2, 3}}, {2, 3, 5, 7}, {0, 3}};
    const auto refused = [](const LegNetwork& network, const ContractionPath& path,
                            const std::string& part) {
        CHECK_THROWS_AS(contraction_cost(network, path), ArgumentError);
        try {
            (void)contraction_cost(network, path);
        } catch (const ArgumentError& error) {
            CAPTURE(error.what());
            CHECK(std::string(error.what()).find(part) != std::string::npos);
        }
    };
    refused(chain, {{{0, 1}}}, "2 steps, got 1");
    refused(chain, {{{0, 1}, {3, 0}}}, "cannot consume 0");
    refused(chain, {{{0, 3}, {1, 2}}}, "cannot consume 3");
    refused(chain, {{{0, 1}, {-1, 2}}}, "cannot consume -1");
    refused(chain, {{{0, 1}, {3, 2}}, {7}}, "sliced leg 7");
    auto broken = chain;
    broken.extents[1] = 0;
    refused(broken, {{{0, 1}, {3, 2}}}, "at least 1");
    broken = chain;
    broken.tensors[0][0] = 9;
    refused(broken, {{{0, 1}, {3, 2}}}, "leg 9");
    broken = chain;
    broken.open = {0, 0};
    refused(broken, {{{0, 1}, {3, 2}}}, "open twice");
    broken.extents.push_back(2);
    broken.open = {4};
    refused(broken, {{{0, 1}, {3, 2}}}, "belongs to no tensor");
    refused({}, {}, "no tensors");
}

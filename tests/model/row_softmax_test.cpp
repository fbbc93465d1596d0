#include "mpo/model/row_softmax.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/matrices.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// Places of the largest numbers, by sorting all of them.
[[nodiscard]] std::vector<std::int32_t> sorted_places(const Tensor<float>& row, Index top) {
    std::vector<std::int32_t> places(static_cast<std::size_t>(row.size()));
    std::iota(places.begin(), places.end(), 0);
    std::stable_sort(places.begin(), places.end(),
                     [&](auto a, auto b) { return row.data()[a] > row.data()[b]; });
    places.resize(static_cast<std::size_t>(top));
    return places;
}

}  // namespace

TEST_CASE("top logits: the largest of a row, descending, of equal ones the first") {
    for (const Index n : {1, 2, 63, 64, 65, 500, 4099, 20000})
        for (const Index top : {Index{1}, Index{2}, Index{64}, n - 1, n}) {
            if (top < 1 || top > n) continue;
            INFO(top << " of " << n);
            detail::TopLogits find(n, top);
            std::vector<std::int32_t> ids(static_cast<std::size_t>(top));
            for (std::uint64_t seed = 1; seed < 4; ++seed) {
                auto row = normal_tensor<float>({n}, seed);
                if (seed == 2)  // many equal ones
                    for (Index k = 0; k < n; ++k) row.data()[k] = std::round(2 * row.data()[k]);
                if (seed == 3) std::sort(row.data(), row.data() + n);
                CHECK(find.find(row.data(), ids.data()));
                CHECK(ids == sorted_places(row, top));
            }
        }
}

TEST_CASE("top logits: -inf comes last, and rows without any other number too") {
    Tensor<float> row({130});
    std::fill_n(row.data(), 130, -std::numeric_limits<float>::infinity());
    row.data()[100] = 1;
    detail::TopLogits find(130, 2);
    std::vector<std::int32_t> ids(2);
    CHECK(find.find(row.data(), ids.data()));
    CHECK(ids == std::vector<std::int32_t>{100, 0});
    detail::TopLogits all(130, 130);
    ids.resize(130);
    CHECK(all.find(row.data(), ids.data()));
    CHECK(ids == sorted_places(row, 130));
}

TEST_CASE("top logits: NaN leads to no place outside the row") {
    for (const Index place : {Index{0}, Index{1}, Index{64}, Index{129}})
        for (const Index top : {Index{2}, Index{130}}) {
            INFO(place << ", top " << top);
            auto row = normal_tensor<float>({130}, 4);
            row.data()[place] = std::numeric_limits<float>::quiet_NaN();
            detail::TopLogits find(130, top);
            std::vector<std::int32_t> ids(static_cast<std::size_t>(top), -1);
            const bool found = find.find(row.data(), ids.data());
            if (top == 130) CHECK_FALSE(found);
            for (const auto id : ids)
                CHECK((found ? id >= 0 && id < 130 && id != place : id == -1));
        }
}

TEST_CASE("exponentiate row: exponentials and their sum, both scalars") {
    for (const Index n : {1, 15, 1024, 1025, 5000}) {
        const auto x = normal_tensor<double>({n}, 5);
        auto wide = x;
        Tensor<float> narrow({n});
        for (Index k = 0; k < n; ++k) narrow.data()[k] = static_cast<float>(x.data()[k]);
        double sum = 0;
        for (Index k = 0; k < n; ++k) sum += std::exp(x.data()[k] - 2);
        CHECK(std::abs(detail::exponentiate_row(n, 2.0, wide.data()) - sum) <
              tolerance<double>(n, sum));
        CHECK(std::abs(detail::exponentiate_row(n, 2.0f, narrow.data()) - sum) <
              tolerance<float>(n, sum));
        for (Index k = 0; k < n; ++k) {
            const double expected = std::exp(x.data()[k] - 2);
            CHECK(std::abs(wide.data()[k] - expected) <= tolerance<double>(1, expected));
            CHECK(std::abs(static_cast<double>(narrow.data()[k]) - expected) <=
                  tolerance<float>(1, expected));
        }
    }
}

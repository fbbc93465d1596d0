// Random numbers: the same everywhere, and distributed as they claim.
#include "mpo/core/random.hpp"

#include "support/catch.hpp"
#include "support/naive.hpp"
#include "support/scalars.hpp"
#include "support/tolerance.hpp"

using namespace mpo;

namespace {

/// Six standard deviations of the mean of n samples of variance `variance`: a fixed seed passes or
/// fails for good, and a wrong distribution is far outside.
double sampling_error(Index n, double variance) {
    return 6 * std::sqrt(variance / static_cast<double>(n));
}

}  // namespace

TEST_CASE("the stream is the one the C++ standard fixes") {
    Random random(5489);  // [rand.predef]: the 10000th number of the default seed
    for (int n = 1; n < 10000; ++n) (void)random.bits();
    CHECK(random.bits() == 9981545732273789042u);
}

TEST_CASE("normals are the same on every platform") {
    // Marsaglia's polar method on the uniforms of seed 1, worked out apart from this library
    const double expected[] = {-0.039399956754155314, -0.38683176162103955, -0.24894784633514516,
                               0.6868236391793252,    -0.05464685232137162, -0.7951462437094919};
    Random random(1);
    for (const double x : expected)
        CHECK(std::abs(random.normal() - x) <= test::tolerance<double>(1, std::abs(x)));
}

TEST_CASE("uniform numbers lie in [0, 1) with the right moments") {
    Random random(3);
    const Index n = 20000;
    double sum = 0, squares = 0;
    for (Index k = 0; k < n; ++k) {
        const double x = random.uniform();
        REQUIRE(x >= 0);
        REQUIRE(x < 1);
        sum += x;
        squares += x * x;
    }
    const auto count = static_cast<double>(n);
    CHECK(std::abs(sum / count - 1.0 / 2) <= sampling_error(n, 1.0 / 12));
    CHECK(std::abs(squares / count - 1.0 / 3) <= sampling_error(n, 4.0 / 45));
}

TEST_CASE("integers below n are all equally likely") {
    for (const Index n : {1, 2, 3, 7, 64}) {
        Random random(4);
        const Index draws = 2000 * n;
        std::vector<Index> counts(static_cast<std::size_t>(n), 0);
        for (Index k = 0; k < draws; ++k) {
            const Index x = random.below(n);
            REQUIRE(x >= 0);
            REQUIRE(x < n);
            ++counts[static_cast<std::size_t>(x)];
        }
        const double p = 1 / static_cast<double>(n);
        for (const Index count : counts)
            CHECK(std::abs(static_cast<double>(count) / static_cast<double>(draws) - p) <=
                  sampling_error(draws, p * (1 - p)));
    }
}

TEMPLATE_LIST_TEST_CASE("normal tensors have unit variance and mean zero", "", test::EveryScalar) {
    const Index n = 20000;
    const auto tensor = normal_tensor<TestType>({4, n / 4}, 7);
    test::Wide<TestType> sum = 0;
    double squares = 0;
    for (Index k = 0; k < n; ++k) {
        const auto x = static_cast<test::Wide<TestType>>(tensor.data()[k]);
        sum += x;
        squares += std::norm(x);
    }
    const auto count = static_cast<double>(n);
    CHECK(std::abs(sum) / count <= sampling_error(n, 1));
    CHECK(std::abs(squares / count - 1) <= sampling_error(n, 2));
    if constexpr (is_complex<TestType>) {  // circular: the mean of z^2 vanishes
        test::Wide<TestType> second = 0;
        for (Index k = 0; k < n; ++k) {
            const auto z = static_cast<test::Wide<TestType>>(tensor.data()[k]);
            second += z * z;
        }
        CHECK(std::abs(second) / count <= sampling_error(n, 2));
    }
}

TEMPLATE_LIST_TEST_CASE("a seed fixes a tensor, another seed gives another", "",
                        test::EveryScalar) {
    const auto a = normal_tensor<TestType>({3, 5}, 1), b = normal_tensor<TestType>({3, 5}, 1);
    CHECK(test::naive::distance(a, b) == 0);
    CHECK(test::naive::distance(a, normal_tensor<TestType>({3, 5}, 2)) >
          test::tolerance<TestType>(15, 1));
}

#include "mpo/network/balance.hpp"

#include <cmath>
#include <limits>

#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/network/algebra.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/matrices.hpp"
#include "support/scalars.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A chain whose core k is 10^powers[k] times one of normal numbers.
template <class T>
[[nodiscard]] std::vector<Tensor<T>> chain_of_powers(const std::vector<int>& powers) {
    std::vector<Tensor<T>> cores;
    for (std::size_t k = 0; k < powers.size(); ++k) {
        const Index left = k == 0 ? 1 : 3, right = k + 1 == powers.size() ? 1 : 3;
        cores.push_back(normal_tensor<T>({left, 2, 5, right}, 10 + k));
        const auto factor = static_cast<Real<T>>(std::pow(10.0, powers[k]));
        for (Index n = 0; n < cores[k].size(); ++n) cores[k].data()[n] *= factor;
    }
    return cores;
}

template <class T>
[[nodiscard]] bool same_numbers(const std::vector<Tensor<T>>& a, const std::vector<Tensor<T>>& b) {
    for (std::size_t k = 0; k < a.size(); ++k)
        if (!std::equal(a[k].data(), a[k].data() + a[k].size(), b[k].data())) return false;
    return a.size() == b.size();
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("balance: norms become equal, and the matrix stays", "", EveryScalar) {
    const EigenBackend backend;
    for (const std::vector<int>& powers :
         {std::vector<int>{3}, {2, -5}, {-4, 0, 7}, {0, 9, -9, 1}}) {
        auto cores = chain_of_powers<TestType>(powers);
        const auto before = cores;
        const auto factors = balance_bonds(cores);
        REQUIRE(factors.size() == cores.size());
        const auto n = static_cast<Index>(cores.size());
        const double norm = detail::frobenius_norm(cores[0]);
        double product = 1;
        for (std::size_t k = 0; k < cores.size(); ++k) {
            CHECK(std::abs(detail::frobenius_norm(cores[k]) - norm) <=
                  tolerance<TestType>(2, norm));
            CHECK(factors[k] > 0);
            product *= factors[k];
            for (Index i = 0; i < cores[k].size(); ++i)
                CHECK(cores[k].data()[i] ==
                      before[k].data()[i] * static_cast<Real<TestType>>(factors[k]));
        }
        CHECK(std::abs(product - 1) < tolerance<TestType>(n, 1));
        const auto W = to_dense(Mpo<TestType>(before), backend),
                   balanced = to_dense(Mpo<TestType>(cores), backend);
        double size = 0, difference = 0;
        for (Index i = 0; i < W.size(); ++i) {
            size += std::norm(W.data()[i]);
            difference += std::norm(W.data()[i] - balanced.data()[i]);
        }
        CHECK(std::sqrt(difference) <= tolerance<TestType>(3 * n, std::sqrt(size)));
        const auto once = cores;  // and a second time nothing is touched
        CHECK(balance_bonds(cores) == std::vector<double>(cores.size(), 1.0));
        CHECK(same_numbers(cores, once));
    }
}

TEMPLATE_LIST_TEST_CASE("balance: what cannot be balanced stays as it is", "", EveryScalar) {
    std::vector<Tensor<TestType>> none;
    CHECK(balance_bonds(none).empty());
    auto zero = chain_of_powers<TestType>({5, 0, 0});
    zero[1] = Tensor<TestType>(zero[1].shape());
    const auto before = zero;
    CHECK(balance_bonds(zero) == std::vector<double>(3, 1.0));
    CHECK(same_numbers(zero, before));
    for (const auto bad : {std::numeric_limits<Real<TestType>>::quiet_NaN(),
                           std::numeric_limits<Real<TestType>>::infinity()}) {
        auto cores = chain_of_powers<TestType>({4, 0, 0});
        cores[2].data()[3] = bad;
        const auto first = cores[0];
        check_throws<NumericalError>([&] { balance_bonds(cores); }, {"core 2 of 3"});
        CHECK(std::equal(first.data(), first.data() + first.size(), cores[0].data()));
    }
}

TEST_CASE("balance: norms further apart than a number can say are refused") {
    std::vector<Tensor<float>> cores{Tensor<float>({1, 1, 1, 1}, {1e-45F}),
                                     Tensor<float>({1, 1, 1, 1}, {1e38F})};
    check_throws<NumericalError>([&] { balance_bonds(cores); }, {"norm", "cannot be brought to"});
    CHECK(cores[0](0, 0, 0, 0) == 1e-45F);
    CHECK(cores[1](0, 0, 0, 0) == 1e38F);
}

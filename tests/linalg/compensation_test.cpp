// What inputs behind a compressed prefix are to be mapped by: the minimiser of its quadratic form, and the metric
// in which a linear that answers to them is to be judged.
#include "mpo/linalg/compensation.hpp"

#include <cmath>
#include <limits>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/matrices.hpp"
#include "support/naive.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Inputs of two flows as columns, and their moments in double.
template <class T>
struct Flows {
    using W = Wide<T>;

    /// The second flow is the first one bent, and with noise of its own.
    Flows(Index n, Index samples, std::uint64_t seed) {
        const auto mixture = normal_tensor<W>({n, n}, seed);
        auto bend = normal_tensor<W>({n, n}, seed + 1);
        for (Index k = 0; k < bend.size(); ++k) bend.data()[k] *= 0.3;
        for (Index k = 0; k < n; ++k) bend(k, k) += 1.0;
        dense = naive::product(mixture, normal_tensor<W>({n, samples}, seed + 2));
        compressed =
            naive::combination(W{1}, naive::product(bend, dense), W{0.1 * static_cast<double>(n)},
                               normal_tensor<W>({n, samples}, seed + 3));
        O = moment(dense, dense);
        C = moment(compressed, compressed);
        X = moment(dense, compressed);
    }
    [[nodiscard]] static Tensor<W> moment(const Tensor<W>& a, const Tensor<W>& b) {
        auto M = naive::product(a, naive::adjoint(b));
        for (Index k = 0; k < M.size(); ++k) M.data()[k] /= static_cast<double>(a.extent(1));
        return M;
    }
    Tensor<W> dense, compressed, O, C, X;
};

template <class W>
[[nodiscard]] double mean_diagonal(const Tensor<W>& C) {
    double trace = 0;
    for (Index k = 0; k < C.extent(0); ++k) trace += std::real(C(k, k));
    return trace / static_cast<double>(C.extent(0));
}

template <class W>
[[nodiscard]] Tensor<W> plus_identity(const Tensor<W>& A, double mu) {
    return naive::combination(W{1}, A, W{mu}, naive::identity<W>(A.extent(0)));
}

/// What the error in the header allows for numbers of size 1.
template <class T>
[[nodiscard]] double map_rounding(Index n, double ridge) {
    return tolerance<T>(n * n, 1 / ridge) + tolerance<T>(n * n, 1);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("compensation: P solves the normal equations of its quadratic form", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [n, samples] : {std::pair<Index, Index>{1, 5}, {7, 40}, {24, 200}})
        for (const double ridge : {1e-2, 1.0, 30.0}) {
            CAPTURE(n, ridge);
            const Flows<T> flows(n, samples, 11);
            const auto P = naive::widen(compensating_map<T>(
                naive::narrow<T>(flows.C), naive::narrow<T>(flows.X), ridge, backend));
            const double mu = ridge * mean_diagonal(flows.C);
            const auto lhs = naive::product(P, plus_identity(flows.C, mu));
            const double size = naive::norm(P) * (naive::norm(flows.C) + mu * std::sqrt(double(n)));
            CHECK(naive::distance(lhs, plus_identity(flows.X, mu)) <= tolerance<T>(n * n, size));
        }
}

TEMPLATE_LIST_TEST_CASE("compensation: where the flows are one, P is 1", "", BackendCases) {
    using T = typename TestType::T;
    using W = Wide<T>;
    const typename TestType::Backend backend;
    const Index n = 12;
    for (const Index samples : {Index{5}, Index{60}})  // singular, and not
        for (const double ridge : {1e-3, 1.0}) {
            CAPTURE(samples, ridge);
            const auto C = naive::narrow<T>(Flows<T>(n, samples, 21).C);
            const auto P = compensating_map<T>(C, C, ridge, backend);
            CHECK(naive::distance(P, naive::identity<W>(n)) <= map_rounding<T>(n, ridge));
        }
    const Tensor<T> nothing({n, n});
    CHECK(naive::distance(compensating_map<T>(nothing, nothing, 1e-3, backend),
                          naive::identity<W>(n)) == 0);
}

TEMPLATE_LIST_TEST_CASE("compensation: W P in the metric C takes the place of W", "",
                        BackendCases) {
    using T = typename TestType::T;
    using W = Wide<T>;
    const typename TestType::Backend backend;
    const Index m = 6, n = 10;
    const Flows<T> flows(n, 90, 31);
    const auto weight = normal_tensor<W>({m, n}, 32);
    for (const double ridge : {1e-2, 1.0}) {
        const auto P = naive::widen(compensating_map<T>(naive::narrow<T>(flows.C),
                                                        naive::narrow<T>(flows.X), ridge, backend));
        const double mu = ridge * mean_diagonal(flows.C);
        const auto target = naive::product(weight, P);
        const auto undone = naive::adjoint(  // W (1 - P), as (n, m)
            naive::combination(W{1}, weight, W{-1}, target));
        // what is left is the same for every A, but for 2 mu Re tr(A (W (1 - P))^H)
        double first = 0, largest = 0;
        for (std::uint64_t seed = 33; seed < 37; ++seed) {
            const auto A = normal_tensor<W>({m, n}, seed);
            const auto answer = naive::combination(W{1}, naive::product(weight, flows.dense), W{-1},
                                                   naive::product(A, flows.compressed));
            const double samples = static_cast<double>(flows.dense.extent(1));
            const double loss = std::pow(naive::norm(answer), 2) / samples;
            const auto E = naive::combination(W{1}, target, W{-1}, A);
            const double in_metric = naive::weighted_loss(E, flows.C);
            W trace = 0;
            const auto cross = naive::product(A, undone);
            for (Index k = 0; k < m; ++k) trace += cross(k, k);
            const double rest = loss - in_metric - 2 * mu * std::real(trace);
            largest = (std::max)({largest, loss, in_metric});
            if (seed == 33) first = rest;
            CAPTURE(ridge, seed, rest, first, loss, in_metric);
            CHECK(std::abs(rest - first) <= map_rounding<T>(n, ridge) * largest);
        }
    }
}

TEMPLATE_LIST_TEST_CASE("compensation: directions that C says nothing of stay as they are", "",
                        BackendCases) {
    using T = typename TestType::T;
    using W = Wide<T>;
    const typename TestType::Backend backend;
    const Index n = 9;
    Flows<T> flows(n, 60, 41);
    for (Index t = 0; t < flows.compressed.extent(1); ++t)
        for (const Index silent : {2, 7}) flows.compressed(silent, t) = 0;
    const double ridge = 1e-2;
    const auto C = Flows<T>::moment(flows.compressed, flows.compressed),
               X = Flows<T>::moment(flows.dense, flows.compressed);
    const auto P = compensating_map<T>(naive::narrow<T>(C), naive::narrow<T>(X), ridge, backend);
    for (const Index silent : {2, 7})
        for (Index row = 0; row < n; ++row) {
            CAPTURE(row, silent);
            CHECK(std::abs(static_cast<W>(P(row, silent)) - W(row == silent ? 1.0 : 0.0)) <=
                  map_rounding<T>(n, ridge) * naive::norm(P));
        }
}

TEMPLATE_LIST_TEST_CASE("compensation: a large ridge holds P at 1, units do not matter", "",
                        BackendCases) {
    using T = typename TestType::T;
    using W = Wide<T>;
    const typename TestType::Backend backend;
    const Index n = 8;
    const Flows<T> flows(n, 50, 51);
    const auto C = naive::narrow<T>(flows.C), X = naive::narrow<T>(flows.X);
    double before = std::numeric_limits<double>::infinity();
    for (const double ridge : {1.0, 1e2, 1e4}) {  // P - 1 = (X - C) (C + mu)^-1
        const auto P = compensating_map<T>(C, X, ridge, backend);
        const double away = naive::distance(P, naive::identity<W>(n));
        CHECK(away < before);
        CHECK(away <= naive::distance(flows.X, flows.C) / (ridge * mean_diagonal(flows.C)) +
                          map_rounding<T>(n, ridge) * naive::norm(P));
        before = away;
    }
    const auto P = compensating_map<T>(C, X, 0.1, backend);
    for (const double unit : {1e-12, 1e9}) {
        auto scaled_C = C, scaled_X = X;
        for (Index k = 0; k < C.size(); ++k) {
            scaled_C.data()[k] *= static_cast<Real<T>>(unit);
            scaled_X.data()[k] *= static_cast<Real<T>>(unit);
        }
        CHECK(naive::distance(compensating_map<T>(scaled_C, scaled_X, 0.1, backend), P) <=
              map_rounding<T>(n, 0.1) * naive::norm(P));
    }
}

TEMPLATE_LIST_TEST_CASE("compensation: what it refuses", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const Index n = 6;
    const Flows<T> flows(n, 40, 61);
    const auto C = naive::narrow<T>(flows.C), X = naive::narrow<T>(flows.X);
    const auto call = [&](const Tensor<T>& c, const Tensor<T>& x, double ridge = 1e-3) {
        return [&backend, c, x, ridge] { (void)compensating_map<T>(c, x, ridge, backend); };
    };
    check_throws<ShapeError>(call(C, Tensor<T>({n, n + 1})), {"compensating_map", "7"});
    check_throws<ShapeError>(call(Tensor<T>({n, 2}), Tensor<T>({n, 2})), {"(n, n)", "2"});
    check_throws<ShapeError>(call(Tensor<T>({n}), Tensor<T>({n})), {"(n, n)"});
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    for (const double ridge : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()})
        check_throws<ArgumentError>(call(C, X, ridge), {"ridge"});
    auto bad = C;
    bad(2, 3) = static_cast<Real<T>>(nan);
    check_throws<NumericalError>(call(bad, X), {"compensating_map", "S(2, 3)"});
    bad = C;
    bad(1, 4) += static_cast<Real<T>>(mean_diagonal(flows.C));
    check_throws<NumericalError>(call(bad, X), {"compensating_map"});
    bad = C;
    bad(3, 3) -= static_cast<Real<T>>(4 * std::real(C(3, 3)));
    check_throws<NumericalError>(call(bad, X), {"positive definite", "of 6"});
    bad = X;
    bad(5, 0) = static_cast<Real<T>>(nan);
    check_throws<NumericalError>(call(C, bad), {"X, 6 x 6", "NaN"});
    bad(5, 0) = std::numeric_limits<Real<T>>::infinity();
    check_throws<NumericalError>(call(C, bad), {"NaN or Inf"});
}

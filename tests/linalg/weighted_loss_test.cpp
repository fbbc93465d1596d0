// The loss in the metric of the inputs is its definition, panel by panel, and exact where a difference is small.
#include "mpo/linalg/weighted_loss.hpp"

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/matrices.hpp"
#include "support/placed.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// X X^H.
template <class W>
[[nodiscard]] Tensor<W> moment(Index n, Index samples, std::uint64_t seed) {
    const auto X = normal_tensor<W>({n, samples}, seed);
    return naive::product(X, naive::adjoint(X));
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("weighted_loss is tr(E S E^H)", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using G = GramScalar<B, T>;
    const B backend;
    for (const auto& [m, n] : std::vector<std::pair<Index, Index>>{{1, 1}, {3, 7}, {8, 5}, {2, 1}})
        for (const Index samples : {Index{1}, 2 * n}) {
            CAPTURE(m, n, samples);
            const auto w = normal_tensor<T>({m, n}, 91), a = normal_tensor<T>({m, n}, 92);
            const auto s = naive::narrow<G>(moment<Wide<T>>(n, samples, 93));
            const Placed<T, B> W(as_batch(w), {}, backend), A(as_batch(a), {}, backend);
            const Placed<G, B> S(as_batch(s), {}, backend);
            const auto wide = naive::widen(w), sw = naive::widen(s);
            const auto rest = naive::combination(Wide<T>{1}, wide, Wide<T>{-1}, naive::widen(a));
            CHECK(std::abs(detail::weighted_loss<T>(W.constant(), S.constant(), backend) -
                           naive::weighted_loss(wide, sw)) <=
                  tolerance<G>(m * n, naive::norm(w) * naive::norm(w) * naive::norm(s)));
            CHECK(std::abs(
                      detail::weighted_loss<T>(W.constant(), A.constant(), S.constant(), backend) -
                      naive::weighted_loss(rest, sw)) <=
                  tolerance<G>(m * n, naive::norm(rest) * naive::norm(rest) * naive::norm(s)));
            CHECK(W.untouched());
            CHECK(A.untouched());
            CHECK(S.untouched());
            CHECK(detail::weighted_loss<T>(W.constant(), W.constant(), S.constant(), backend) == 0);
        }
}

TEMPLATE_LIST_TEST_CASE("weighted_loss takes every panel once", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    using G = GramScalar<B, T>;
    const B backend;
    const Index n = 3, m = 2 * detail::rows_of_panel(n) + 5;
    Tensor<T> w({m, n}), a({m, n});
    double squares = 0;
    for (Index i = 0; i < m; ++i) {  // E(i, :) = (1, 1, 1) times 0, 1, 2, 3
        const auto size = static_cast<Real<T>>(i % 4), other = static_cast<Real<T>>(i % 7);
        for (Index k = 0; k < n; ++k) w(i, k) = size + other, a(i, k) = other;
        squares += static_cast<double>(size) * static_cast<double>(size);
    }
    const Tensor<G> s({n, n}, {4, 1, 0, 1, 4, 1, 0, 1, 4});  // the sum of all is 16
    const Placed<T, B> W(as_batch(w), {}, backend), A(as_batch(a), {}, backend);
    const Placed<G, B> S(as_batch(s), {}, backend);
    CHECK(std::abs(detail::weighted_loss<T>(W.constant(), A.constant(), S.constant(), backend) -
                   16 * squares) <= tolerance<G>(m, 16 * squares));
    for (Index k = 0; k < w.size(); ++k) w.data()[k] -= a.data()[k];
    const Placed<T, B> E(as_batch(w), {}, backend);
    CHECK(std::abs(detail::weighted_loss<T>(E.constant(), S.constant(), backend) - 16 * squares) <=
          tolerance<G>(m, 16 * squares));
}

TEST_CASE("weighted_loss of nothing is zero and of NaN is NaN") {
    const EigenBackend backend;
    const Tensor<double> s({2, 2}, {1, 0, 0, 1});
    const auto S = as_matrix(s.view());
    const Tensor<float> w({1, 2}, {1, std::numeric_limits<float>::quiet_NaN()});
    const auto W = as_matrix(w.view());
    CHECK(detail::weighted_loss<float>(block(W, 0, 0, 0, 2), S, backend) == 0);
    CHECK(detail::weighted_loss<float>(block(W, 0, 0, 1, 0), block(S, 0, 0, 0, 0), backend) == 0);
    CHECK(std::isnan(detail::weighted_loss<float>(W, S, backend)));
}

TEST_CASE("weighted_loss is never below zero") {
    const EigenBackend backend;
    Index found = 0;
    for (std::uint64_t seed = 100; seed < 150; ++seed) {  // E spans what S has no inputs along
        const Tensor<double> x = normal_tensor<double>({3, 1}, seed);
        const auto s = naive::product(x, naive::transpose(x));
        const Tensor<double> e({2, 3}, {x(1, 0), -x(0, 0), 0, x(2, 0), 0, -x(0, 0)});
        const double loss =
            detail::weighted_loss<double>(as_matrix(e.view()), as_matrix(s.view()), backend);
        CHECK(loss >= 0);
        CHECK(loss <= tolerance<double>(6, naive::norm(e) * naive::norm(e) * naive::norm(s)));
        if (naive::weighted_loss(e, s) < 0) ++found;
    }
    CHECK(found > 0);
}

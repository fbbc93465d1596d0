// Cholesky QR and its fallback: orthonormal to rounding whatever the columns are, same span.
#include "mpo/linalg/orthonormalize.hpp"

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Columns of every kind: random, falling over 3 and 30 decades, repeated, zero, all zero.
template <class T>
[[nodiscard]] std::vector<Tensor<T>> sample_columns(Index m, Index l) {
    std::vector<Tensor<T>> all(6, normal_tensor<T>({m, l}, 51));
    for (Index i = 0; i < m; ++i)
        for (Index k = 0; k < l; ++k) {
            const double place = static_cast<double>(k) / static_cast<double>(l);
            all[1](i, k) *= static_cast<Real<T>>(std::pow(10.0, -3 * place));
            all[2](i, k) *= static_cast<Real<T>>(std::pow(10.0, -30 * place));
            all[3](i, k) = all[0](i, k / 2);
            all[4](i, k) = k % 3 == 1 ? T{0} : all[0](i, k);
            all[5](i, k) = 0;
        }
    return all;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("orthonormalize keeps the span", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto [m, l] : {MatrixSize{1, 1}, {2, 2}, {9, 1}, {17, 5}, {31, 31}, {101, 40}})
        for (const auto& y : sample_columns<T>(m, l)) {
            CAPTURE(m, l, naive::norm(y));
            auto Y = detail::send<T>(y, backend);
            using Summed = GramScalar<typename TestType::Backend, T>;
            detail::Companion<T, typename TestType::Backend> companion{
                detail::send<Summed>(naive::identity<Summed>(l), backend), l};
            detail::orthonormalize<T>(Y, m, l, backend, &companion);
            const auto q = detail::fetch<T>(Y.data(), m, l, backend);
            CHECK(orthonormality_defect(q) <= tolerance<T>(m * l, 1));
            const auto Q = naive::widen(q), W = naive::widen(y);
            const auto kept = naive::product(Q, naive::product(naive::adjoint(Q), W));
            CHECK(naive::distance(kept, W) <= tolerance<T>(m * l, naive::norm(W)));
            if (!companion.followed) continue;
            const auto X = detail::fetch<Summed>(companion.X.data(), l, l, backend);
            CHECK(naive::distance(naive::product(W, naive::widen(X)), Q) <=
                  tolerance<T>(m * l, naive::norm(W) * naive::norm(X)));
        }
    auto nothing = backend.template allocate<T>(0);
    detail::orthonormalize<T>(nothing, 7, 0, backend);
    CHECK(nothing.size() == 0);
}

TEMPLATE_LIST_TEST_CASE("one pass of Cholesky QR refuses what it cannot do", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto samples = sample_columns<T>(29, 12);
    auto good = detail::send<T>(samples[0], backend);
    CHECK(detail::cholesky_qr<T>(good, 29, 12, backend) != detail::CholeskyQr::refused);
    // columns that are orthonormal already but for their lengths need no second pass
    auto almost = detail::fetch<T>(good.data(), 29, 12, backend);
    for (Index i = 0; i < 29; ++i)
        for (Index k = 0; k < 12; ++k)
            almost(i, k) *= static_cast<Real<T>>(1 + 0.05 * static_cast<double>(k));
    auto once = detail::send<T>(almost, backend);
    CHECK(detail::cholesky_qr<T>(once, 29, 12, backend) == detail::CholeskyQr::orthonormal);
    CHECK(orthonormality_defect(detail::fetch<T>(once.data(), 29, 12, backend)) <=
          tolerance<T>(29 * 12, 1));
    // two columns nearly alike: the condition number is not bounded beforehand
    for (Index i = 0; i < 29; ++i)
        almost(i, 1) = almost(i, 0) + static_cast<Real<T>>(1e-2) * almost(i, 1);
    auto alike = detail::send<T>(almost, backend);
    CHECK(detail::cholesky_qr<T>(alike, 29, 12, backend) == detail::CholeskyQr::improved);
    for (std::size_t k = 2; k < samples.size(); ++k) {
        CAPTURE(k);
        auto Y = detail::send<T>(samples[k], backend);
        CHECK(detail::cholesky_qr<T>(Y, 29, 12, backend) == detail::CholeskyQr::refused);
        CHECK(naive::distance(detail::fetch<T>(Y.data(), 29, 12, backend), samples[k]) == 0);
    }
}

TEMPLATE_LIST_TEST_CASE("NaN and Inf cannot be made orthonormal", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto poison :
         {std::numeric_limits<Real<T>>::quiet_NaN(), std::numeric_limits<Real<T>>::infinity()}) {
        auto y = normal_tensor<T>({13, 4}, 52);
        y(7, 2) = poison;
        auto Y = detail::send<T>(y, backend);
        CHECK_THROWS_AS(detail::orthonormalize<T>(Y, 13, 4, backend), NumericalError);
    }
}

TEMPLATE_LIST_TEST_CASE("numbers travel to the backend, are squared and come back", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto [m, n] : {MatrixSize{0, 3}, {1, 1}, {5, 7}}) {
        const auto wide = normal_tensor<Wide<T>>({m, n}, 53);
        const auto there = detail::send<T>(wide, backend);
        const auto back = detail::fetch<T>(there.data(), m, n, backend);
        CHECK(naive::distance(back, naive::narrow<T>(wide)) == 0);
        const double norm = naive::norm(back);
        CHECK(std::abs(detail::squared_norm<T>(there.data(), m * n, backend) - norm * norm) <=
              tolerance<GramScalar<typename TestType::Backend, T>>(m * n, norm * norm));
    }
}

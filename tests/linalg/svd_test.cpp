// Laws of the SVD's parts: bidiagonal matrices of every kind, tall matrices of any rank, and repeated
// rows, whose zero singular values trip complex arithmetic elsewhere (Eigen 3.4: an error of 2 %).
#include "mpo/impl/svd_inl.hpp"

#include <array>
#include <cmath>
#include <vector>

#include "mpo/core/random.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/naive.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// norm(A - U diag(sigma) Vt), by loops.
template <class T>
double residual(const Tensor<T>& A, const Tensor<T>& U, const std::vector<double>& sigma,
                const Tensor<T>& Vt) {
    double sum = 0;
    for (Index i = 0; i < A.extent(0); ++i) {
        for (Index j = 0; j < A.extent(1); ++j) {
            std::complex<double> x = A(i, j);
            for (Index k = 0; k < U.extent(1); ++k)
                x -= std::complex<double>(U(i, k)) * sigma[static_cast<std::size_t>(k)] *
                     std::complex<double>(Vt(k, j));
            sum += std::norm(x);
        }
    }
    return std::sqrt(sum);
}

/// norm(Q^H Q - I) of the columns of Q.
template <class T>
double departure(const Tensor<T>& Q) {
    double sum = 0;
    for (Index p = 0; p < Q.extent(1); ++p) {
        for (Index q = 0; q < Q.extent(1); ++q) {
            std::complex<double> x = p == q ? -1.0 : 0.0;
            for (Index i = 0; i < Q.extent(0); ++i)
                x += std::conj(std::complex<double>(Q(i, p))) * std::complex<double>(Q(i, q));
            sum += std::norm(x);
        }
    }
    return std::sqrt(sum);
}

/// A (m, n) of rank r: the first row everywhere for r = 1, zero for r = 0.
template <class T>
Tensor<T> of_rank(Index m, Index n, Index r) {
    const auto a = normal_tensor<T>({m, std::max<Index>(r, 1)}, 3),
               b = normal_tensor<T>({std::max<Index>(r, 1), n}, 4);
    Tensor<T> A({m, n});
    for (Index i = 0; i < m; ++i)
        for (Index j = 0; j < n; ++j)
            for (Index k = 0; k < r; ++k) A(i, j) += (r == 1 ? T{1} : a(i, k)) * b(k, j);
    return A;
}

}  // namespace

TEST_CASE("B = L diag(sigma) R^T for bidiagonal matrices of every kind") {
    const auto draw = [](Index n, std::uint64_t seed) {
        const auto x = normal_tensor<double>({n}, seed);
        return std::vector<double>(x.data(), x.data() + n);
    };
    const auto graded = [](Index n, double ratio) {
        std::vector<double> x;
        for (Index k = 0; k < n; ++k) x.push_back(std::pow(ratio, static_cast<double>(k)));
        return x;
    };
    std::vector<double> holes = draw(21, 1);
    holes[0] = holes[7] = holes[8] = holes[20] = 0;
    std::vector<double> cut = draw(20, 2);
    cut[4] = cut[11] = 0;
    std::vector<double> rising = graded(20, 0.1);
    std::reverse(rising.begin(), rising.end());
    const std::vector<std::array<std::vector<double>, 2>> all{
        {{{-3.0}, {}}},
        {{{0.0}, {}}},
        {{{1.0, 1.0}, {1e-300}}},
        {{{0.0, 0.0}, {1.0}}},
        {{{0.0, 2.0}, {1.0}}},
        {{{2.0, 0.0}, {1.0}}},
        {{{0.0, 0.0, 0.0}, {0.0, 0.0}}},
        {{{0.0, 0.0, 0.0}, {1.0, 1.0}}},
        {{std::vector<double>(30, 1.0), std::vector<double>(29, 1.0)}},   // sigma_min ~ 0.05
        {{std::vector<double>(30, 1.0), std::vector<double>(29, -2.0)}},  // sigma_min ~ 1e-9
        {{draw(17, 5), draw(16, 6)}},
        {{draw(130, 7), draw(129, 8)}},
        {{holes, draw(20, 9)}},
        {{draw(21, 10), cut}},
        {{holes, cut}},
        {{graded(20, 0.1), graded(19, 0.1)}},
        {{rising, draw(19, 11)}}};
    for (const auto& [diagonal, above] : all) {
        CAPTURE(diagonal, above);
        const auto n = static_cast<Index>(diagonal.size());
        const mpo::detail::BidiagonalSvd svd(diagonal, above);
        Tensor<double> B({n, n}), L({n, n}), R({n, n}), Rt({n, n});
        std::vector<double> sigma;
        for (Index k = 0; k < n; ++k) {
            B(k, k) = diagonal[static_cast<std::size_t>(k)];
            if (k + 1 < n) B(k, k + 1) = above[static_cast<std::size_t>(k)];
            sigma.push_back(svd.values()[static_cast<std::size_t>(k)]);
            CHECK(sigma.back() >= 0);
            for (Index i = 0; i < n; ++i) {
                L(i, k) = svd.left(i, k);
                R(i, k) = Rt(k, i) = svd.right(i, k);
            }
        }
        CHECK(residual(B, L, sigma, Rt) <= tolerance<double>(n, naive::norm(B)));
        CHECK(departure(L) <= tolerance<double>(n * n, 1));
        CHECK(departure(R) <= tolerance<double>(n * n, 1));
    }
}

TEMPLATE_TEST_CASE("A = U S V^H with orthonormal bases, whatever the rank", "", double,
                   std::complex<double>) {
    using T = TestType;
    for (const auto& [m, n, r] : {std::array<Index, 3>{1, 1, 1},
                                  {1, 1, 0},
                                  {7, 1, 1},
                                  {15, 12, 12},
                                  {15, 12, 3},
                                  {13, 11, 1},
                                  {40, 17, 9},
                                  {5, 5, 0},
                                  {33, 33, 33},
                                  {70, 65, 40},  // three panels
                                  {70, 64, 64}}) {
        CAPTURE(m, n, r);
        const auto A = of_rank<T>(m, n, r);
        const auto [U, sigma, V] = mpo::detail::thin_svd(A);
        CHECK(residual(A, U, sigma, naive::adjoint(V)) <= tolerance<T>(m + n, naive::norm(A)));
        CHECK(departure(U) <= tolerance<T>(m + n, static_cast<double>(n)));
        CHECK(departure(V) <= tolerance<T>(m + n, static_cast<double>(n)));
        for (std::size_t k = 1; k < sigma.size(); ++k) CHECK(sigma[k] <= sigma[k - 1]);
    }
}

TEST_CASE("magnitudes near the ends of the range lose no digits in the SVD") {
    for (const double size : {1e-300, 1e300}) {
        auto A = normal_tensor<double>({9, 6}, 12);
        for (Index k = 0; k < A.size(); ++k) A.data()[k] *= size;
        auto [U, sigma, V] = mpo::detail::thin_svd(A);
        for (Index k = 0; k < A.size(); ++k) A.data()[k] /= size;
        for (double& s : sigma) s /= size;
        CHECK(residual(A, U, sigma, naive::adjoint(V)) <= tolerance<double>(15, naive::norm(A)));
    }
}

TEMPLATE_LIST_TEST_CASE("the exact SVD of repeated rows is one", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [m, n, r] :
         {std::array<Index, 3>{12, 15, 3}, {15, 12, 3}, {12, 15, 1}, {9, 9, 0}, {33, 20, 2}}) {
        CAPTURE(m, n, r);
        auto A = of_rank<T>(m, n, r);
        for (Index i = 0; i < m; ++i)  // three kinds of rows, each many times
            for (Index j = 0; j < n; ++j) A(i, j) = A(i % 3, j);
        const Index s = std::min(m, n);
        auto a = backend.template allocate<T>(m * n), u = backend.template allocate<T>(m * s),
             vt = backend.template allocate<T>(s * n);
        auto values = backend.template allocate<mpo::Real<T>>(s);
        backend.template upload<T>(mpo::TensorView<const T>(A.view()), a.data());
        backend.svd(mpo::matrix<const T>(a.data(), m, n), mpo::matrix(u.data(), m, s),
                    values.data(), mpo::matrix(vt.data(), s, n));
        Tensor<T> U({m, s}), Vt({s, n}), V({n, s});
        Tensor<mpo::Real<T>> sigma({s});
        backend.download(u.data(), U.view());
        backend.download(vt.data(), Vt.view());
        backend.download(values.data(), sigma.view());
        for (Index k = 0; k < s; ++k)
            for (Index j = 0; j < n; ++j) V(j, k) = mpo::detail::conjugate_of(Vt(k, j));
        const std::vector<double> list(sigma.data(), sigma.data() + s);
        CHECK(residual(A, U, list, Vt) <= tolerance<T>(m + n, naive::norm(A)));
        CHECK(departure(U) <= tolerance<T>(m + n, static_cast<double>(s)));
        CHECK(departure(V) <= tolerance<T>(m + n, static_cast<double>(s)));
    }
}

// Laws of the SVD by rotations, and of the exact SVD on matrices whose zero singular values Eigen's
// complex rotations get wrong.
#include "mpo/impl/jacobi_svd_inl.hpp"

#include <array>
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

TEMPLATE_TEST_CASE("rotations give A = U S V^H with orthonormal bases, whatever the rank", "",
                   double, std::complex<double>) {
    using T = TestType;
    for (const auto& [m, n, r] : {std::array<Index, 3>{1, 1, 1},
                                  {1, 1, 0},
                                  {7, 1, 1},
                                  {15, 12, 12},
                                  {15, 12, 3},
                                  {13, 11, 1},
                                  {40, 17, 9},
                                  {5, 5, 0}}) {
        CAPTURE(m, n, r);
        const auto A = of_rank<T>(m, n, r);
        mpo::detail::Columns<T> left(m, n), right(n, n);
        for (Index i = 0; i < m; ++i)
            for (Index j = 0; j < n; ++j) left[j][i] = A(i, j);
        const auto sigma = mpo::detail::jacobi_svd(left, right);
        Tensor<T> U({m, n}), V({n, n}), Vt({n, n});
        for (Index j = 0; j < n; ++j) {
            for (Index i = 0; i < m; ++i) U(i, j) = left[j][i];
            for (Index i = 0; i < n; ++i) {
                V(i, j) = right[j][i];
                Vt(j, i) = mpo::detail::conjugate_of(right[j][i]);
            }
        }
        CHECK(residual(A, U, sigma, Vt) <= tolerance<T>(m + n, naive::norm(A)));
        CHECK(departure(U) <= tolerance<T>(m + n, static_cast<double>(n)));
        CHECK(departure(V) <= tolerance<T>(m + n, static_cast<double>(n)));
        for (std::size_t k = 1; k < sigma.size(); ++k) CHECK(sigma[k] <= sigma[k - 1]);
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

// Laws of Cholesky factors and triangular solves where their blocks meet: border_sizes at, below and above the
// blocks of impl/triangular_inl.hpp, matrices so ill-conditioned that an inverse of a block would show.
#include "mpo/impl/triangular_inl.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "mpo/linalg/eigen_backend.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"
#include "support/matrices.hpp"
#include "support/scalars.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

const EigenBackend processor;
constexpr Index small_block = detail::triangular_block, large_block = detail::symmetric_block;

/// Around the blocks, and two of them and a prime.
const std::vector<Index> border_sizes{small_block - 1, small_block,          small_block + 1,
                                      2 * small_block, 2 * small_block + 13, large_block - 1,
                                      large_block,     large_block + 1};

/// What is nowhere read: above the diagonal, or below it.
template <class T>
Tensor<T> with_poison(Tensor<T> A, Triangle kept) {
    for (Index i = 0; i < A.extent(0); ++i)
        for (Index j = 0; j < A.extent(1); ++j)
            if (kept == Triangle::lower ? j > i : j < i) A(i, j) = not_a_number<T>();
    return A;
}

/// norm of L L^H - A for the factor in the lower triangle; infinite where the upper one is not zero.
template <class T>
double cholesky_residual(const Tensor<T>& L, const Tensor<Wide<T>>& A) {
    for (Index i = 0; i < L.extent(0); ++i)
        for (Index j = i + 1; j < L.extent(1); ++j)
            if (L(i, j) != T{}) return std::numeric_limits<double>::infinity();
    const auto wide = naive::widen(L);
    return naive::distance(naive::product(wide, naive::adjoint(wide)), A);
}

/// The largest |A X - B| / (|A| |X|), element by element.
template <class T>
double relative_residual(const Tensor<T>& A, const Tensor<T>& X, const Tensor<T>& B) {
    double worst = 0;
    for (Index i = 0; i < A.extent(0); ++i)
        for (Index j = 0; j < X.extent(1); ++j) {
            Wide<T> sum = -Wide<T>(B(i, j));
            double size = 0;
            for (Index k = 0; k < A.extent(1); ++k) {
                sum += Wide<T>(A(i, k)) * Wide<T>(X(k, j));
                size += std::abs(Wide<T>(A(i, k))) * std::abs(Wide<T>(X(k, j)));
            }
            if (size > 0) worst = std::max(worst, std::abs(sum) / size);
        }
    return worst;
}

/// Unit diagonal, elements below it that make solutions grow by some 1e6 from block to block.
template <class T>
Tensor<T> growing_triangle(Index n, Triangle triangle) {
    auto A = normal_tensor<T>({n, n}, 91);
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) {
            const bool kept = triangle == Triangle::lower ? j < i : j > i;
            if (i == j)
                A(i, j) = T{1};
            else
                A(i, j) = kept && std::abs(i - j) <= 24 ? A(i, j) * T(Real<T>(0.35)) : T{};
        }
    return A;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("triangular: a Cholesky factor at every border of its blocks", "",
                        EveryScalar) {
    using T = TestType;
    auto all = border_sizes;
    all.push_back(2 * large_block + 5);
    for (const Index n : all) {
        CAPTURE(n);
        const auto l = naive::widen(lower_triangle<T>(n, 92));
        const auto exact = naive::product(l, naive::adjoint(l));
        const auto given = naive::narrow<T>(exact);
        const auto placed =
            n > large_block ? std::vector<Placement>{{Order::row_major, 3, 0}} : placements<T>();
        for (const auto& placement : placed) {
            const Placed<T, EigenBackend> A(as_batch(with_poison(given, Triangle::lower)),
                                            placement, processor);
            REQUIRE(processor.cholesky(A.view()) == n);
            CHECK(cholesky_residual(A.value(), naive::widen(given)) <=
                  tolerance<T>(n, naive::norm(given)));
            CHECK(A.gaps_untouched());
        }
    }
}

TEMPLATE_LIST_TEST_CASE("triangular: the first pivot that fails, in any block", "", EveryScalar) {
    using T = TestType;
    const Index n = 2 * large_block + 5;
    const auto l = naive::widen(lower_triangle<T>(n, 93));
    const auto given = naive::narrow<T>(naive::product(l, naive::adjoint(l)));
    for (const Index bad : {Index{0}, small_block - 1, small_block, small_block + 1,
                            large_block - 1, large_block, 2 * large_block, n - 2, n - 1}) {
        CAPTURE(bad);
        auto A = given;
        A(bad, bad) = T{};  // the pivot is minus a sum of squares
        CHECK(processor.cholesky(matrix(A.data(), n, n)) == bad);
        A = given;
        A(bad, bad) = -A(bad, bad);
        CHECK(processor.cholesky(transpose(matrix(A.data(), n, n))) == bad);
        A = given;
        A(n - 1, bad) = not_a_number<T>();
        CHECK_THROWS_AS((void)processor.cholesky(matrix(A.data(), n, n)), NumericalError);
    }
}

TEMPLATE_LIST_TEST_CASE("triangular: factors of ill-conditioned matrices", "", EveryScalar) {
    using T = TestType;
    for (const Index n : {small_block + 1, 2 * small_block + 13, large_block + 1}) {
        CAPTURE(n);
        std::vector<double> values;
        const double decades = sizeof(Real<T>) == 4 ? 5 : 13;
        for (Index k = 0; k < n; ++k)
            values.push_back(
                std::pow(10, -decades * static_cast<double>(k) / static_cast<double>(n - 1)));
        const auto given = naive::narrow<T>(hermitian<Wide<T>>(values, 94));
        auto L = given;
        REQUIRE(processor.cholesky(matrix(L.data(), n, n)) == n);
        CHECK(cholesky_residual(L, naive::widen(given)) <= tolerance<T>(n, naive::norm(given)));
        const auto B = normal_tensor<T>({n, 37}, 95);
        for (const auto triangle : {Triangle::lower, Triangle::upper}) {
            const auto A =
                triangle == Triangle::lower ? L : naive::narrow<T>(naive::adjoint(naive::widen(L)));
            auto X = B;
            processor.solve_triangular(triangle, matrix<const T>(A.data(), n, n),
                                       matrix(X.data(), n, 37));
            CHECK(relative_residual(A, X, B) <= tolerance<T>(n, 1));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("triangular: every element of a solution has a small residual", "",
                        EveryScalar) {
    using T = TestType;
    constexpr Index width = detail::triangular_columns;
    for (const Index n : border_sizes)
        for (const auto triangle : {Triangle::lower, Triangle::upper}) {
            const auto A = growing_triangle<T>(n, triangle);
            std::size_t turn = 0;
            for (const Index columns : {Index{1}, width - 1, width, width + 1, 2 * width + 5}) {
                CAPTURE(n, columns, triangle == Triangle::lower);
                auto B = normal_tensor<T>({n, columns}, 96);
                const auto all = placements<T>();
                const Placed<T, EigenBackend> M(as_batch(with_poison(A, triangle)),
                                                all[turn % all.size()], processor),
                    X(as_batch(B), all[(turn + 1) % all.size()], processor);
                ++turn;
                processor.solve_triangular(triangle, M.constant(), X.view());
                CHECK(relative_residual(A, X.value(), B) <= tolerance<T>(n, 1));
                CHECK(M.untouched());
                CHECK(X.gaps_untouched());
                B(n - 1, columns - 1) = not_a_number<T>();
                CHECK_THROWS_AS(
                    processor.solve_triangular(triangle, matrix<const T>(A.data(), n, n),
                                               matrix(B.data(), n, columns)),
                    NumericalError);
            }
        }
}

TEMPLATE_LIST_TEST_CASE("triangular: many columns are solved as few are", "", EveryScalar) {
    using T = TestType;
    const Index n = 2 * small_block + 13, columns = 700;  // more than one thread's share
    const auto A = growing_triangle<T>(n, Triangle::lower);
    const auto B = normal_tensor<T>({n, columns}, 97);
    auto X = B;
    processor.solve_triangular(Triangle::lower, matrix<const T>(A.data(), n, n),
                               matrix(X.data(), n, columns));
    CHECK(relative_residual(A, X, B) <= tolerance<T>(n, 1));
}

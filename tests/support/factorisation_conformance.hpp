// What every Backend owes its callers, factorisations, and what all refuse. Singular
// and eigenvectors are judged by their products alone.
#pragma once

#include <functional>
#include <string>

#include "catch.hpp"
#include "matrices.hpp"
#include "placed.hpp"
#include "tolerance.hpp"

namespace mpo::test {

struct MatrixSize {
    Index rows, cols;
};

/// norm(Q^H Q - 1).
template <Scalar T>
[[nodiscard]] double orthonormality_defect(const Tensor<T>& Q) {
    const auto wide = naive::widen(Q);
    return naive::distance(naive::product(naive::adjoint(wide), wide),
                           naive::identity<Wide<T>>(Q.extent(1)));
}

/// U with column k times sigma[k].
template <class W>
[[nodiscard]] Tensor<W> times_diagonal(Tensor<W> U, const std::vector<double>& sigma) {
    for (Index i = 0; i < U.extent(0); ++i)
        for (Index k = 0; k < U.extent(1); ++k) U(i, k) *= sigma[static_cast<std::size_t>(k)];
    return U;
}

/// n real numbers from backend memory.
template <class R, class B>
[[nodiscard]] std::vector<double> download_values(const R* from, Index n, const B& backend) {
    Tensor<R> values({n});
    backend.download(from, values.view());
    return {values.data(), values.data() + n};
}

/// Matrices of one size: random, of low rank, of equal singular values, zero.
template <Scalar T>
[[nodiscard]] std::vector<Tensor<T>> sample_matrices(Index m, Index n) {
    std::vector<Tensor<T>> all{normal_tensor<T>({m, n}, 21), Tensor<T>({m, n})};
    const Index s = std::min(m, n);
    if (s == 0) return all;
    all.push_back(matrix_with_spectrum<T>(m, n, rank_deficient_spectrum(s, (s + 2) / 3), 22));
    all.push_back(matrix_with_spectrum<T>(m, n, flat_spectrum(s), 23));
    return all;
}

/// Law: A = Q R, Q orthonormal, R exactly upper triangular.
template <Scalar T, class B>
void conforms_qr(const B& backend) {
    for (const auto [m, n] :
         {MatrixSize{1, 1}, {5, 5}, {7, 3}, {40, 1}, {53, 37}, {96, 64}, {4, 0}, {0, 0}})
        for (const auto& a : sample_matrices<T>(m, n))
            for (const auto& placement : plain_placements()) {
                CAPTURE(m, n, naive::norm(a));
                const Placed<T, B> A(as_batch(a), placement, backend);
                const Placed<T, B> R(Tensor<T>({1, n, n}), placement, backend);
                backend.qr(A.view(), R.view());
                const auto q = A.value(), r = R.value();
                CHECK(naive::distance(naive::product(naive::widen(q), naive::widen(r)), a) <=
                      tolerance<T>(m, naive::norm(a)));
                CHECK(orthonormality_defect(q) <= tolerance<T>(m * n, 1));
                for (Index i = 0; i < n; ++i)
                    for (Index j = 0; j < i; ++j) CHECK(r(i, j) == T{0});
                CHECK(A.gaps_untouched());
                CHECK(R.gaps_untouched());
            }
}

/// Law: A = U diag(sigma) Vt, both orthonormal, sigma descending and not negative.
template <Scalar T, class B>
void check_svd(const Tensor<T>& a, const Placement& from, const Placement& to, const B& backend) {
    const Index m = a.extent(0), n = a.extent(1), r = std::min(m, n);
    CAPTURE(m, n, naive::norm(a));
    const Placed<T, B> A(as_batch(a), from, backend);
    const Placed<T, B> U(Tensor<T>({1, m, r}), to, backend), V(Tensor<T>({1, r, n}), to, backend);
    const auto values = backend.template allocate<Real<T>>(r);
    backend.svd(A.constant(), U.view(), values.data(), V.view());
    const auto sigma = download_values<Real<T>>(values.data(), r, backend);
    const auto u = U.value(), vt = V.value();
    const auto product = naive::product(times_diagonal(naive::widen(u), sigma), naive::widen(vt));
    CHECK(naive::distance(product, a) <= tolerance<T>(m + n, naive::norm(a)));
    CHECK(orthonormality_defect(u) <= tolerance<T>(m * r, 1));
    CHECK(orthonormality_defect(naive::adjoint(vt)) <= tolerance<T>(n * r, 1));
    CHECK(std::is_sorted(sigma.rbegin(), sigma.rend()));
    if (r > 0) CHECK(sigma.back() >= 0);
    CHECK(A.untouched());
    CHECK(U.gaps_untouched());
    CHECK(V.gaps_untouched());
}

template <Scalar T, class B>
void conforms_svd(const B& backend) {
    const auto plain = plain_placements();
    for (const auto [m, n] : {MatrixSize{1, 1},
                              {1, 6},
                              {6, 1},
                              {5, 5},
                              {7, 3},
                              {3, 11},
                              {41, 37},
                              {20, 64},
                              {64, 20},
                              {0, 4},
                              {4, 0},
                              {0, 0}}) {
        std::size_t turn = 0;
        for (const auto& a : sample_matrices<T>(m, n))
            for (const auto& from : placements<T>()) {
                check_svd<T>(a, from, plain[turn++ % plain.size()], backend);
            }
    }
    const auto sigma = exponential_spectrum(60);  // three decades, given and found
    const Placed<T, B> A(as_batch(matrix_with_spectrum<T>(60, 71, sigma, 24)), {}, backend);
    const Placed<T, B> U(Tensor<T>({1, 60, 60}), {}, backend);
    const Placed<T, B> V(Tensor<T>({1, 60, 71}), {}, backend);
    const auto values = backend.template allocate<Real<T>>(60);
    backend.svd(A.constant(), U.view(), values.data(), V.view());
    const auto found = download_values<Real<T>>(values.data(), 60, backend);
    for (std::size_t k = 0; k < sigma.size(); ++k)
        CHECK(std::abs(found[k] - sigma[k]) <= tolerance<T>(60, sigma.front()));
}

/// A Hermitian matrix with the given eigenvalues.
template <Scalar T>
[[nodiscard]] Tensor<T> hermitian(const std::vector<double>& values, std::uint64_t seed) {
    const auto n = static_cast<Index>(values.size());
    const auto Q = orthonormal_columns<Wide<T>>(n, n, seed);
    auto H = naive::product(times_diagonal(Q, values), naive::adjoint(Q));
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j <= i; ++j) H(i, j) = conjugated(H(j, i));
    for (Index i = 0; i < n; ++i) H(i, i) = std::real(H(i, i));
    return naive::narrow<T>(H);
}

/// Descending eigenvalues: equal, distinct, of both signs, graded over all magnitudes, zero but for
/// a few, and distinct ones whose squares leave the range of W.
template <Scalar W>
[[nodiscard]] std::vector<std::vector<double>> sample_eigenvalues(Index n) {
    const double huge = std::sqrt(static_cast<double>(std::numeric_limits<Real<W>>::max()));
    std::vector<std::vector<double>> all(7);
    for (Index k = 0; k < n; ++k) {
        const auto at = static_cast<double>(k);
        all[0].push_back(2);
        all[1].push_back(2 - 0.25 * at);
        all[2].push_back(2 - at);
        all[3].push_back(std::exp2(-4 * at));
        all[4].push_back(k < 3 ? 3 - at : 0);
        all[5].push_back(100 * huge * (2 - 0.25 * at));
        all[6].push_back(0.01 / huge * (2 - 0.25 * at));
    }
    return all;
}

/// Law: G = V diag(values) V^H with orthonormal V and the values descending.
template <Scalar W, class B>
void conforms_eigh(const B& backend) {
    for (const Index n : {0, 1, 2, 3, 5, 31, 33, 34, 97})
        for (const auto& given : sample_eigenvalues<W>(n))
            for (const auto& placement : plain_placements()) {
                CAPTURE(n, given);
                const auto g = hermitian<W>(given, 25);
                const Placed<W, B> G(as_batch(g), placement, backend);
                const auto values = backend.template allocate<Real<W>>(n);
                backend.eigh(G.view(), values.data());
                const auto lambda = download_values<Real<W>>(values.data(), n, backend);
                const auto V = naive::widen(G.value());
                CHECK(naive::distance(naive::product(times_diagonal(V, lambda), naive::adjoint(V)),
                                      g) <= tolerance<W>(n, naive::norm(g)));
                CHECK(orthonormality_defect(V) <= tolerance<W>(n * n, 1));
                for (std::size_t k = 0; k < given.size(); ++k)
                    CHECK(std::abs(lambda[k] - given[k]) <= tolerance<W>(n, naive::norm(g)));
                CHECK(std::is_sorted(lambda.rbegin(), lambda.rend()));
                CHECK(G.gaps_untouched());
            }
}

/// L (n, n), lower, diagonal 1 to 2, the rest small: well conditioned at every size.
template <Scalar T>
[[nodiscard]] Tensor<T> lower_triangle(Index n, std::uint64_t seed) {
    auto L = normal_tensor<T>({n, n}, seed);
    const auto unit = static_cast<Real<T>>(0.5 / std::sqrt(static_cast<double>(n + 1)));
    for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) {
            if (i == j)
                L(i, j) =
                    T(static_cast<Real<T>>(1 + static_cast<double>(i) / static_cast<double>(n)));
            else
                L(i, j) = i > j ? L(i, j) * unit : T{0};
        }
    return L;
}

/// Laws: L L^H = A, L exactly lower triangular; where pivot k is the first that is not positive,
/// the result is k.
template <Scalar T, class B>
void conforms_cholesky(const B& backend) {
    for (const Index n : {0, 1, 2, 7, 31, 130})
        for (const auto& placement : plain_placements()) {
            CAPTURE(n);
            const auto l = naive::widen(lower_triangle<T>(n, 26));
            const auto a = naive::narrow<T>(naive::product(l, naive::adjoint(l)));
            const Placed<T, B> A(as_batch(a), placement, backend);
            CHECK(backend.cholesky(A.view()) == n);
            const auto found = naive::widen(A.value());
            CHECK(naive::distance(naive::product(found, naive::adjoint(found)), a) <=
                  tolerance<T>(n, naive::norm(a)));
            for (Index i = 0; i < n; ++i)
                for (Index j = i + 1; j < n; ++j) CHECK(found(i, j) == Wide<T>{0});
            CHECK(A.gaps_untouched());
            for (const Index bad : {Index{0}, n / 2, n - 1}) {
                if (bad < 0 || n == 0) continue;
                std::vector<double> pivots(static_cast<std::size_t>(n), 1.0);
                pivots[static_cast<std::size_t>(bad)] = -1;
                const Placed<T, B> broken(as_batch(naive::narrow<T>(naive::product(
                                              times_diagonal(l, pivots), naive::adjoint(l)))),
                                          placement, backend);
                CHECK(backend.cholesky(broken.view()) == bad);
            }
        }
    const Placed<T, B> zero(Tensor<T>({1, 3, 3}), {}, backend);
    CHECK(backend.cholesky(zero.view()) == 0);  // a pivot of 0 is not positive
}

/// Law: T X = B where X replaces B.
template <Scalar T, class B>
void conforms_solve_triangular(const B& backend) {
    for (const auto [n, m] : {MatrixSize{1, 1}, {2, 5}, {7, 1}, {33, 17}, {130, 3}, {0, 3}, {3, 0}})
        for (const auto triangle : {Triangle::lower, Triangle::upper}) {
            std::size_t turn = 0;
            for (const auto& placement : placements<T>()) {
                CAPTURE(n, m, triangle == Triangle::lower);
                auto t = lower_triangle<T>(n, 27);
                if (triangle == Triangle::upper) t = naive::transpose(t);
                const auto b = normal_tensor<T>({n, m}, 28);
                const Placed<T, B> M(as_batch(t), placement, backend);
                const Placed<T, B> X(as_batch(b), plain_placements()[turn++ % 3], backend);
                backend.solve_triangular(triangle, M.constant(), X.view());
                const auto x = naive::widen(X.value());
                CHECK(naive::distance(naive::product(naive::widen(t), x), b) <=
                      tolerance<T>(n, naive::norm(t) * naive::norm(x)));
                CHECK(M.untouched());
                CHECK(X.gaps_untouched());
            }
        }
}

/// Law: P A = L U with L of unit diagonal and no entry above 1, exchanged rows at or below their
/// place.
template <Scalar T, class B>
void conforms_lu(const B& backend) {
    for (const auto [m, n] : {MatrixSize{1, 1},
                              {2, 2},
                              {7, 3},
                              {3, 11},
                              {37, 37},
                              {64, 20},
                              {1, 5},
                              {5, 1},
                              {0, 3},
                              {3, 0}})
        for (auto a : sample_matrices<T>(m, n))
            for (const auto& placement : plain_placements()) {
                CAPTURE(m, n, naive::norm(a));
                const Index r = std::min(m, n);
                const Placed<T, B> A(as_batch(a), placement, backend);
                std::vector<Index> pivots(static_cast<std::size_t>(r) + 1, -7);
                backend.lu(A.view(), pivots.data());
                CHECK(pivots.back() == -7);
                const auto factors = naive::widen(A.value());
                Tensor<Wide<T>> L({m, r}), U({r, n}), permuted_a = naive::widen(a);
                double largest = 0;
                for (Index i = 0; i < m; ++i)
                    for (Index k = 0; k < r; ++k) {
                        L(i, k) = i == k ? 1 : (i > k ? factors(i, k) : 0);
                        largest = std::max(largest, std::abs(L(i, k)));
                    }
                for (Index k = 0; k < r; ++k) {
                    for (Index j = 0; j < n; ++j) U(k, j) = j >= k ? factors(k, j) : 0;
                    const Index row = pivots[static_cast<std::size_t>(k)];
                    REQUIRE((row >= k && row < m));
                    for (Index j = 0; j < n; ++j) std::swap(permuted_a(k, j), permuted_a(row, j));
                }
                CHECK(largest <= 1 + tolerance<T>(1, 1));
                CHECK(naive::distance(naive::product(L, U), permuted_a) <=
                      tolerance<T>(m + n, naive::norm(a) + naive::norm(L) * naive::norm(U)));
                CHECK(A.gaps_untouched());
            }
}

/// Law: `call` throws E, and the message holds both numbers.
template <class E>
void check_refusal(const std::function<void()>& call, Index first, Index second) {
    std::string message = "nothing was thrown";
    try {
        call();
    } catch (const E& error) {
        message = error.what();
    }
    CAPTURE(message);
    CHECK(message.find(std::to_string(first)) != std::string::npos);
    CHECK(message.find(std::to_string(second)) != std::string::npos);
}

/// Law: shapes that do not fit are refused, numbers in the message, before anything is touched.
template <Scalar T, class B>
void refuses_shapes(const B& backend) {
    using W = GramScalar<B, T>;
    const auto memory = backend.template allocate<T>(1);  // never read: the shapes come first
    const auto wide = backend.template allocate<W>(1);
    const auto values = backend.template allocate<Real<T>>(1);
    const auto wide_values = backend.template allocate<Real<W>>(1);
    const auto M = [&](Index m, Index n) { return matrix(memory.data(), m, n); };
    const auto C = [&](Index m, Index n) { return matrix<const T>(memory.data(), m, n); };
    const auto G = [&](Index m, Index n) { return matrix(wide.data(), m, n); };
    const auto check = check_refusal<ShapeError>;
    const T one{1};
    check([&] { backend.gemm(one, C(11, 13), C(17, 19), one, M(11, 19)); }, 13, 17);
    check([&] { backend.gemm(one, C(11, 13), C(13, 19), one, M(12, 19)); }, 11, 12);
    check([&] { backend.gemm(one, C(11, 13), C(13, 19), one, M(11, 18)); }, 19, 18);
    const BatchView<const T> A{C(11, 13), 143}, X{C(17, 19), 323};
    check([&] { backend.gemm_batched(one, A, X, one, BatchView<T>{M(11, 19), 209}, 2); }, 13, 17);
    check([&] { backend.syrk(C(11, 13), G(11, 12)); }, 11, 12);
    check([&] { backend.syrk(C(11, 13), G(13, 13)); }, 11, 13);
    check([&] { backend.qr(M(11, 13), M(13, 13)); }, 11, 13);
    check([&] { backend.qr(M(17, 13), M(13, 12)); }, 13, 12);
    check([&] { backend.svd(C(11, 13), M(11, 13), values.data(), M(11, 13)); }, 11, 13);
    check([&] { backend.svd(C(11, 13), M(11, 11), values.data(), M(13, 13)); }, 11, 13);
    check([&] { backend.eigh(G(11, 13), wide_values.data()); }, 11, 13);
    check([&] { (void)backend.cholesky(M(11, 13)); }, 11, 13);
    check([&] { backend.solve_triangular(Triangle::lower, C(11, 13), M(11, 2)); }, 11, 13);
    check([&] { backend.solve_triangular(Triangle::upper, C(11, 11), M(13, 2)); }, 11, 13);

    const Placed<T, B> small(normal_tensor<T>({1, 3, 5}, 29), {}, backend);
    const auto left = backend.prepare(Side::left, small.constant());
    const auto right = backend.prepare(Side::right, small.constant());
    const BatchView<const T> four{C(4, 7), 28};
    check([&] { backend.gemm_left(left, four, one, BatchView<T>{M(3, 7), 21}, 2); }, 5, 4);
    const BatchView<const T> five{C(5, 7), 35};
    check([&] { backend.gemm_left(left, five, one, BatchView<T>{M(4, 7), 28}, 2); }, 3, 4);
    check([&] { backend.gemm_right(C(7, 4), right, one, M(7, 5)); }, 4, 3);
    check([&] { backend.gemm_right(C(7, 3), right, one, M(7, 6)); }, 5, 6);
    // an operand prepared for the other side
    CHECK_THROWS_AS(backend.gemm_left(right, five, one, BatchView<T>{M(3, 7), 21}, 2), ShapeError);
    CHECK_THROWS_AS(backend.gemm_right(C(7, 3), left, one, M(7, 5)), ShapeError);
}

/// Law: a factorisation of NaN or Inf is refused.
template <Scalar T, class B>
void refuses_non_finite(const B& backend) {
    using W = GramScalar<B, T>;
    const Index n = 5;
    const auto values = backend.template allocate<Real<T>>(n);
    const auto wide_values = backend.template allocate<Real<W>>(n);
    std::vector<Index> pivots(static_cast<std::size_t>(n));
    const Real<T> infinity = std::numeric_limits<Real<T>>::infinity();
    std::vector<T> bad{not_a_number<T>(), T(infinity), T(-infinity)};
    if constexpr (is_complex<T>) bad.push_back(T(0, infinity));
    for (const T poison : bad)
        for (const Index at : {0, 7, 24}) {  // a corner, the inside, the other corner
            auto a = naive::narrow<T>(hermitian<Wide<T>>({5, 4, 3, 2, 1}, 30));
            a.data()[at] = poison;
            if (at == 7) a(2, 1) = conjugated(poison);
            Tensor<W> g({n, n});
            for (Index k = 0; k < a.size(); ++k) g.data()[k] = static_cast<W>(a.data()[k]);
            const Placed<T, B> A(as_batch(a), {}, backend), U(as_batch(a), {}, backend),
                V(as_batch(a), {}, backend);
            const Placed<W, B> G(as_batch(g), {}, backend);
            CHECK_THROWS_AS(backend.svd(A.constant(), U.view(), values.data(), V.view()),
                            NumericalError);
            CHECK_THROWS_AS(backend.eigh(G.view(), wide_values.data()), NumericalError);
            CHECK_THROWS_AS((void)backend.cholesky(A.view()), NumericalError);
            CHECK_THROWS_AS(backend.lu(A.view(), pivots.data()), NumericalError);
            CHECK_THROWS_AS(backend.qr(A.view(), U.view()), NumericalError);
            if (at != 7)
                CHECK_THROWS_AS(backend.solve_triangular(Triangle::lower, A.constant(), V.view()),
                                NumericalError);
        }
}

}  // namespace mpo::test

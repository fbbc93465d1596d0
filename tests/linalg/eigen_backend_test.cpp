// What EigenBackend promises beyond the concept: any two strides, bits that depend on the number of
// threads at most, callers that do not disturb each other.
#include "mpo/linalg/eigen_backend.hpp"

#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"
#include "support/product_conformance.hpp"
#include "support/scalars.hpp"
#include "support/thread_count.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Views of the elements of a (rows, cols) matrix, at both ends of memory and with steps.
template <class T>
[[nodiscard]] std::vector<MatrixView<T>> awkward_views(T* data, Index rows, Index cols) {
    const Index step = 2 * cols + 1;
    return {{data, rows, cols, step, 2},
            {data + (rows - 1) * step, rows, cols, -step, 2},
            {data + 2 * (cols - 1), rows, cols, step, -2},
            {data + (rows - 1) * 3 + (cols - 1) * 4 * rows, rows, cols, -3, -4 * rows},
            {data + cols - 1, rows, cols, cols, -1},
            {data + rows - 1, rows, cols, -1, rows}};
}

/// Room for each of them.
[[nodiscard]] Index awkward_size(Index rows, Index cols) {
    return 4 * (rows + 1) * (cols + 1);
}

template <class T>
void fill(const MatrixView<T>& A, const Tensor<T>& values) {
    for (Index i = 0; i < A.rows; ++i)
        for (Index j = 0; j < A.cols; ++j)
            A.data[i * A.row_stride + j * A.col_stride] = values(i, j);
}

/// Everything that is split over threads, on sizes that are split: results one after another.
template <Scalar T>
[[nodiscard]] std::vector<Wide<T>> threaded_results() {
    const EigenBackend backend;
    std::vector<Wide<T>> results;
    const auto keep = [&](const auto& tensor) {
        for (Index n = 0; n < tensor.size(); ++n)
            results.push_back(static_cast<Wide<T>>(tensor.data()[n]));
    };
    const auto product = [&](Index m, Index n, Index k) {
        const auto A = normal_tensor<T>({m, k}, 31), B = normal_tensor<T>({k, n}, 32);
        Tensor<T> C({m, n});
        backend.gemm(T{1}, as_matrix(A.view()), as_matrix(B.view()), T{0}, as_matrix(C.view()));
        keep(C);
    };
    product(150, 83, 61);   // split by rows
    product(83, 150, 61);   // split by columns
    product(5, 1100, 300);  // few rows
    const auto A = normal_tensor<T>({21, 9000}, 33);
    Tensor<Wide<T>> G({21, 21});
    backend.syrk(as_matrix(A.view()), as_matrix(G.view()));  // the long side is split
    keep(G);
    const auto items = normal_tensor<T>({60, 24, 32}, 34), core = normal_tensor<T>({40, 24}, 35);
    Tensor<T> batch({60, 40, 32});
    backend.gemm_batched(T{1}, BatchView<const T>{as_matrix(core.view()), 0},
                         BatchView<const T>{matrix(items.data(), 24, 32), 24 * 32}, T{0},
                         BatchView<T>{matrix(batch.data(), 40, 32), 40 * 32}, 60);
    keep(batch);
    const auto x = normal_tensor<T>({100001}, 36);
    Tensor<Wide<T>> sum({1});
    backend.dot(x.size(), x.data(), x.data(), sum.data());
    keep(sum);
    return results;
}

template <class W>
[[nodiscard]] double largest_difference(const std::vector<W>& a, const std::vector<W>& b) {
    if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
    double largest = 0;
    for (std::size_t k = 0; k < a.size(); ++k) largest = std::max(largest, std::abs(a[k] - b[k]));
    return largest;
}

/// Rounding of the largest of threaded_results: dot, 100001 squares; else sums of 9000 at most.
template <class T>
[[nodiscard]] double threaded_rounding() {
    return tolerance<Wide<T>>(100001, 100001) + tolerance<T>(300, 300);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("products take any two strides", "", EveryScalar) {
    using T = TestType;
    const EigenBackend backend;
    const Index m = 14, n = 35, k = 9;
    const auto a = normal_tensor<T>({m, k}, 37), b = normal_tensor<T>({k, n}, 38);
    const auto c = normal_tensor<T>({m, n}, 39);
    const auto A = naive::widen(a), X = naive::widen(b), C = naive::widen(c);
    const auto expected = expected_product(T(2), A, X, T(-1), C);
    const auto hermitian = naive::product(A, naive::adjoint(A));
    std::vector<T> room_a(static_cast<std::size_t>(awkward_size(m, k)));
    std::vector<T> room_b(static_cast<std::size_t>(awkward_size(k, n)));
    std::vector<T> room_c(static_cast<std::size_t>(awkward_size(m, n)));
    for (const auto& view_a : awkward_views(room_a.data(), m, k)) {
        fill(view_a, a);
        Tensor<Wide<T>> G({m, m});
        backend.template syrk<T>(view_a, as_matrix(G.view()));
        CHECK(naive::distance(G, hermitian) <=
              tolerance<Wide<T>>(k, naive::norm(A) * naive::norm(A)));
        for (const auto& view_b : awkward_views(room_b.data(), k, n)) {
            fill(view_b, b);
            for (const auto& view_c : awkward_views(room_c.data(), m, n)) {
                fill(view_c, c);
                backend.gemm(T(2), view_a, view_b, T(-1), view_c);
                CHECK(naive::distance(naive::widen(view_c), expected) <=
                      product_rounding(T(2), A, X, T(-1), C));
            }
        }
    }
}

TEMPLATE_LIST_TEST_CASE("factorisations take any two strides", "", EveryScalar) {
    using T = TestType;
    const EigenBackend backend;
    const Index m = 11, n = 7;
    const auto a = normal_tensor<T>({m, n}, 40);
    std::vector<T> room(static_cast<std::size_t>(awkward_size(m, n)));
    for (const auto& view : awkward_views(room.data(), m, n)) {
        fill(view, a);
        Tensor<T> U({m, n}), Vt({n, n}), R({n, n});
        std::vector<Real<T>> sigma(static_cast<std::size_t>(n));
        backend.svd(view, as_matrix(U.view()), sigma.data(), as_matrix(Vt.view()));
        const auto US = times_diagonal(naive::widen(U), {sigma.begin(), sigma.end()});
        CHECK(naive::distance(naive::product(US, naive::widen(Vt)), a) <=
              tolerance<T>(m, naive::norm(a)));
        backend.qr(view, as_matrix(R.view()));
        CHECK(naive::distance(naive::product(naive::widen(view), naive::widen(R)), a) <=
              tolerance<T>(m, naive::norm(a)));
    }
}

TEMPLATE_LIST_TEST_CASE("the number of threads changes rounding at most", "", EveryScalar) {
    const auto one = [] {
        const ThreadCount threads(1);
        return threaded_results<TestType>();
    }();
    for (const int count : {1, 2, 3}) {
        const ThreadCount threads(count);
        CAPTURE(count);
        const auto results = threaded_results<TestType>();
        CHECK(results == threaded_results<TestType>());  // bit by bit
        CHECK(largest_difference(results, one) <= threaded_rounding<TestType>());
    }
}

TEMPLATE_LIST_TEST_CASE("callers on several threads get what one alone gets", "", EveryScalar) {
    const ThreadCount threads(2);
    const auto alone = threaded_results<TestType>();
    std::vector<std::vector<Wide<TestType>>> results(4);
    {
        std::vector<std::thread> callers;
        for (auto& mine : results)
            callers.emplace_back([&mine] {
                for (int repeat = 0; repeat < 3; ++repeat) mine = threaded_results<TestType>();
            });
        for (auto& caller : callers) caller.join();
    }
    for (const auto& result : results) CHECK(result == alone);
}

TEST_CASE("a result cannot be a conjugated view, a triangle not singular") {
    const EigenBackend backend;
    using T = std::complex<double>;
    const auto A = normal_tensor<T>({3, 3}, 41);
    Tensor<T> C({3, 3});
    CHECK_THROWS_AS(backend.gemm(T{1}, as_matrix(A.view()), as_matrix(A.view()), T{0},
                                 adjoint(as_matrix(C.view()))),
                    ArgumentError);
    auto L = lower_triangle<T>(3, 42);
    L(1, 1) = 0;
    CHECK_THROWS_WITH(
        backend.solve_triangular(Triangle::lower, as_matrix(L.view()), as_matrix(C.view())),
        "solve_triangular: diagonal element 1 of 3 is zero");
}

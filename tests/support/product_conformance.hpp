// What every Backend owes its callers, products. Each law is a function template that moves data by
// upload and download alone, so that any backend can run it.
#pragma once

#include "catch.hpp"
#include "mpo/core/random.hpp"
#include "placed.hpp"
#include "tolerance.hpp"

namespace mpo::test {

struct ProductCase {
    Index m, n, k;
    Placement a = {}, b = {}, c = {};
};

/// Sizes around everything that an implementation blocks by: nothing, one, odd, prime, a register
/// tile (12 x 32 and smaller), 20 panels of rows, 512 or 256 steps of k, 1024 columns.
[[nodiscard]] inline std::vector<ProductCase> product_cases() {
    return {{0, 3, 2},     {3, 0, 2},     {3, 2, 0},    {1, 1, 1},     {1, 7, 5},
            {7, 1, 5},     {5, 7, 1},     {13, 17, 19}, {12, 32, 8},   {12, 33, 9},
            {11, 31, 130}, {25, 64, 257}, {250, 3, 11}, {83, 70, 41},  {3, 1061, 5},
            {2, 40, 513},  {97, 16, 128}, {37, 8, 256}, {13, 33, 1027}};
}

template <class T>
[[nodiscard]] std::vector<T> coefficients() {
    if constexpr (is_complex<T>)
        return {T(0), T(1), T(-1, 0), T(0.5F, -2)};
    else
        return {T(0), T(1), T(-1), T(0.5)};
}

/// alpha A B + beta C in double; C is not looked at where beta is 0.
template <Scalar T>
[[nodiscard]] Tensor<Wide<T>> expected_product(T alpha, const Tensor<Wide<T>>& A,
                                               const Tensor<Wide<T>>& B, T beta,
                                               const Tensor<Wide<T>>& C) {
    auto result = naive::product(A, B);
    for (Index n = 0; n < result.size(); ++n) {
        result.data()[n] *= Wide<T>(alpha);
        if (beta != T{0}) result.data()[n] += Wide<T>(beta) * C.data()[n];
    }
    return result;
}

/// Rounding of such a product.
template <Scalar T>
[[nodiscard]] double product_rounding(T alpha, const Tensor<Wide<T>>& A, const Tensor<Wide<T>>& B,
                                      T beta, const Tensor<Wide<T>>& C) {
    const double added = beta == T{0} ? 0 : static_cast<double>(std::abs(beta)) * naive::norm(C);
    return tolerance<T>(
        A.extent(1) + 1,
        static_cast<double>(std::abs(alpha)) * naive::norm(A) * naive::norm(B) + added);
}

/// Law: gemm is its formula, whatever C holds where beta = 0, and touches nothing else.
template <Scalar T, class B>
void check_gemm(const ProductCase& size, T alpha, T beta, const B& backend) {
    CAPTURE(size.m, size.n, size.k, alpha, beta);
    const auto a = normal_tensor<T>({1, size.m, size.k}, 1);
    const auto b = normal_tensor<T>({1, size.k, size.n}, 2);
    auto c = normal_tensor<T>({1, size.m, size.n}, 3);
    if (beta == T{0}) std::fill_n(c.data(), c.size(), not_a_number<T>());
    const Placed<T, B> A(a, size.a, backend), X(b, size.b, backend), C(c, size.c, backend);
    backend.gemm(alpha, A.constant(), X.constant(), beta, C.view());
    const auto wide_a = item(a, 0), wide_b = item(b, 0), wide_c = item(c, 0);
    CHECK(naive::distance(C.value(), expected_product(alpha, wide_a, wide_b, beta, wide_c)) <=
          product_rounding(alpha, wide_a, wide_b, beta, wide_c));
    CHECK(C.gaps_untouched());
    CHECK(A.untouched());
    CHECK(X.untouched());
}

template <Scalar T, class B>
void conforms_gemm(const B& backend) {
    const auto any = placements<T>();
    const auto plain = plain_placements();
    for (const auto& a : any)
        for (const auto& b : any)
            for (const auto& c : plain) {
                check_gemm<T>({5, 7, 3, a, b, c}, T(1), T(0), backend);
                check_gemm<T>({14, 34, 9, a, b, c}, T(2), T(-1), backend);
            }
    for (const T alpha : coefficients<T>())
        for (const T beta : coefficients<T>())
            for (const Index k : {0, 6}) check_gemm<T>({13, 35, k}, alpha, beta, backend);
    std::size_t turn = 0;
    for (auto size : product_cases()) {
        for (int repeat = 0; repeat < 2; ++repeat, ++turn) {
            size.a = any[turn % any.size()];
            size.b = any[turn / 2 % any.size()];
            size.c = plain[turn / 3 % plain.size()];
            check_gemm<T>(size, coefficients<T>()[3], static_cast<T>(static_cast<float>(repeat)),
                          backend);
        }
    }
}

/// Which operands of a batch are one matrix, repeated.
enum class Shared { none, left, right, both };

struct BatchCase {
    ProductCase product;
    Index count;
    Shared shared;
};

[[nodiscard]] inline std::vector<BatchCase> batch_cases() {
    std::vector<BatchCase> cases;
    const auto plain = plain_placements();
    std::size_t turn = 0;
    for (const auto shared : {Shared::none, Shared::left, Shared::right, Shared::both})
        for (const Index n : {1, 5, 16, 31, 32, 48})  // narrower and wider than a tile
            for (const Index count : {0, 1, 2, 7, 53}) {
                const Index m = 1 + static_cast<Index>(turn * 5 % 15);
                const Index k = count == 7 ? 140 : 1 + static_cast<Index>(turn * 3 % 11);
                cases.push_back(
                    {{m, n, k, plain[turn % 3], plain[turn / 2 % 3], plain[turn / 3 % 3]},
                     count,
                     shared});
                ++turn;
            }
    cases.push_back({{3, 4, 5}, 11, Shared::right});  // rows run on: one tall product
    cases.push_back({{3, 4, 0}, 4, Shared::none});    // nothing to contract
    cases.push_back({{0, 4, 2}, 4, Shared::left});
    cases.push_back({{2, 0, 2}, 4, Shared::left});
    cases.push_back({{40, 24, 40}, 90, Shared::left});  // enough work for several threads
    cases.push_back({{40, 40, 40}, 30, Shared::none});
    return cases;
}

/// Law: every item of a batch is its own product.
template <Scalar T, class B>
void check_batch(const BatchCase& batch, T alpha, T beta, const B& backend) {
    const auto& [m, n, k, pa, pb, pc] = batch.product;
    CAPTURE(m, n, k, batch.count, static_cast<int>(batch.shared), alpha, beta);
    const bool left = batch.shared == Shared::left || batch.shared == Shared::both;
    const bool right = batch.shared == Shared::right || batch.shared == Shared::both;
    const Index count = batch.count;
    const auto a = normal_tensor<T>({left ? 1 : count, m, k}, 4);
    const auto b = normal_tensor<T>({right ? 1 : count, k, n}, 5);
    auto c = normal_tensor<T>({count, m, n}, 6);
    if (beta == T{0}) std::fill_n(c.data(), c.size(), not_a_number<T>());
    const Placed<T, B> A(a, pa, backend), X(b, pb, backend), C(c, pc, backend);
    backend.gemm_batched(alpha, left ? A.repeated() : BatchView<const T>(A.batch()),
                         right ? X.repeated() : BatchView<const T>(X.batch()), beta, C.batch(),
                         count);
    CHECK(C.gaps_untouched());
    const auto result = C.values();
    for (Index i = 0; i < count; ++i) {
        const auto wide_a = item(a, left ? 0 : i), wide_b = item(b, right ? 0 : i);
        const auto wide_c = item(c, i);
        CHECK(naive::distance(item(result, i),
                              expected_product(alpha, wide_a, wide_b, beta, wide_c)) <=
              product_rounding(alpha, wide_a, wide_b, beta, wide_c));
    }
}

template <Scalar T, class B>
void conforms_gemm_batched(const B& backend) {
    const auto scalars = coefficients<T>();
    std::size_t turn = 0;
    for (auto batch : batch_cases()) {
        const T alpha = scalars[1 + turn % 3], beta = scalars[turn / 3 % 4];
        check_batch<T>(batch, alpha, beta, backend);
        if (is_complex<T> && turn % 4 == 0) {
            batch.product.a.conjugation = Conjugation::conjugate;
            batch.product.b.conjugation =
                turn % 8 == 0 ? Conjugation::conjugate : Conjugation::none;
            check_batch<T>(batch, alpha, beta, backend);
        }
        ++turn;
    }
}

/// Law: gemm_left(prepare(left, A), B_i) is A B_i + beta C_i.
template <Scalar T, class B>
void check_gemm_left(const ProductCase& size, Index count, bool shared, T beta, const B& backend) {
    CAPTURE(size.m, size.n, size.k, count, shared, beta);
    const auto a = normal_tensor<T>({1, size.m, size.k}, 7);
    const auto b = normal_tensor<T>({shared ? 1 : count, size.k, size.n}, 8);
    auto c = normal_tensor<T>({count, size.m, size.n}, 9);
    if (beta == T{0}) std::fill_n(c.data(), c.size(), not_a_number<T>());
    const Placed<T, B> X(b, size.b, backend), C(c, size.c, backend);
    const auto operand = [&] {  // the original is gone when it is used: its values were copied
        const Placed<T, B> A(a, size.a, backend);
        auto prepared = backend.prepare(Side::left, A.constant());
        backend.scale(size.m * size.k > 0 ? 1 : 0, T(0), A.view().data);
        backend.synchronize();
        return prepared;
    }();
    backend.gemm_left(operand, shared ? X.repeated() : BatchView<const T>(X.batch()), beta,
                      C.batch(), count);
    CHECK(C.gaps_untouched());
    const auto result = C.values();
    for (Index i = 0; i < count; ++i) {
        const auto wide_a = item(a, 0), wide_b = item(b, shared ? 0 : i), wide_c = item(c, i);
        CHECK(naive::distance(item(result, i),
                              expected_product(T(1), wide_a, wide_b, beta, wide_c)) <=
              product_rounding(T(1), wide_a, wide_b, beta, wide_c));
    }
}

/// Law: gemm_right(A, prepare(right, B)) is A B + beta C.
template <Scalar T, class B>
void check_gemm_right(const ProductCase& size, T beta, const B& backend) {
    CAPTURE(size.m, size.n, size.k, beta);
    const auto a = normal_tensor<T>({1, size.m, size.k}, 10);
    const auto b = normal_tensor<T>({1, size.k, size.n}, 11);
    auto c = normal_tensor<T>({1, size.m, size.n}, 12);
    if (beta == T{0}) std::fill_n(c.data(), c.size(), not_a_number<T>());
    const Placed<T, B> A(a, size.a, backend), X(b, size.b, backend), C(c, size.c, backend);
    const auto operand = backend.prepare(Side::right, X.constant());
    backend.gemm_right(A.constant(), operand, beta, C.view());
    const auto wide_a = item(a, 0), wide_b = item(b, 0), wide_c = item(c, 0);
    CHECK(naive::distance(C.value(), expected_product(T(1), wide_a, wide_b, beta, wide_c)) <=
          product_rounding(T(1), wide_a, wide_b, beta, wide_c));
    CHECK(C.gaps_untouched());
}

template <Scalar T, class B>
void conforms_prepared(const B& backend) {
    const auto any = placements<T>();
    const auto plain = plain_placements();
    const auto scalars = coefficients<T>();
    std::size_t turn = 0;
    for (auto size : product_cases()) {
        size.a = any[turn % any.size()];
        size.b = any[(turn + 1) % any.size()];
        size.c = plain[turn / 2 % plain.size()];
        check_gemm_left<T>(size, 1, false, scalars[turn % 4], backend);
        check_gemm_left<T>(size, 3, turn % 2 == 0, scalars[turn % 2], backend);
        check_gemm_right<T>(size, scalars[turn % 4], backend);
        ++turn;
    }
    for (const Index n : {1, 2, 15, 32, 40})  // items of a sweep: narrow, many
        check_gemm_left<T>({26, n, 9}, 67, false, T(0), backend);
    for (const Index n : {1, 2, 3, 4})  // few columns in all: beyond one block of steps, odd rows
        for (Index count = 1; count * n <= 5; ++count)
            check_gemm_left<T>({53, n, 1030}, count, n == 2 && count == 2, scalars[turn++ % 4],
                               backend);
    check_gemm_left<T>({4, 3, 2}, 0, false, T(0), backend);
    check_gemm_right<T>({700, 48, 33}, T(1), backend);
    for (const Index n : {32, 64})  // one or two panels, which read rows where they are
        for (const Index m : {13, 261})
            check_gemm_right<T>({m, n, 530}, scalars[turn++ % 4], backend);
    for (Index m = 1; m <= 5;
         ++m)  // few rows: whole panels of columns and a part, several blocks of steps
        check_gemm_right<T>({m, 70, 1030}, scalars[turn++ % 4], backend);
    for (const auto& a : any)
        for (const auto& b : any) {
            check_gemm_left<T>({13, 6, 130, a, b, plain[1]}, 2, false, T(1), backend);
            check_gemm_right<T>({7, 35, 131, a, b, plain[2]}, T(0), backend);
        }
}

/// Law: syrk is A A^H, exactly Hermitian, with the rounding of the wider type.
template <Scalar T, class B>
void check_syrk(Index m, Index k, const Placement& from, const Placement& to, const B& backend) {
    using W = GramScalar<B, T>;
    CAPTURE(m, k);
    const auto a = normal_tensor<T>({1, m, k}, 13);
    Tensor<W> g({1, m, m});
    std::fill_n(g.data(), g.size(), not_a_number<W>());
    const Placed<T, B> A(a, from, backend);
    const Placed<W, B> G(g, to, backend);
    backend.syrk(A.constant(), G.view());
    const auto wide = item(a, 0);
    const auto result = G.value();
    CHECK(naive::distance(result, naive::product(wide, naive::adjoint(wide))) <=
          tolerance<W>(k + 1, naive::norm(wide) * naive::norm(wide)));
    CHECK(naive::distance(result, naive::adjoint(result)) == 0);
    CHECK(G.gaps_untouched());
    CHECK(A.untouched());
}

template <Scalar T, class B>
void conforms_syrk(const B& backend) {
    static_assert(is_complex<T> == is_complex<GramScalar<B, T>>);
    static_assert(sizeof(GramScalar<B, T>) >= sizeof(T));
    for (const auto& from : placements<T>())
        for (const auto& to : plain_placements()) check_syrk<T>(9, 14, from, to, backend);
    struct Size {
        Index m, k;
    };
    for (const auto [m, k] : {Size{0, 3},
                              {3, 0},
                              {1, 1},
                              {1, 300},
                              {2, 7},
                              {31, 130},
                              {50, 257},
                              {97, 20},
                              {8, 16500},
                              {23, 4099}}) {
        check_syrk<T>(m, k, {}, {}, backend);
        check_syrk<T>(m, k, {Order::column_major, 1}, {Order::row_major, 4}, backend);
    }
}

}  // namespace mpo::test

// Laws of the eigensolver's parts: the vector kernels of every instruction set against plain loops, and
// tridiagonal matrices with eigenvalues that lie close together or fall apart.
#include "mpo/impl/hermitian_eigen_inl.hpp"

#include <array>
#include <cmath>
#include <vector>

#include "mpo/core/random.hpp"
#include "support/catch.hpp"
#include "support/naive.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// The instruction sets that this processor has.
[[nodiscard]] std::vector<detail::Isa> every_isa() {
    std::vector<detail::Isa> all{detail::Isa::generic};
    if (detail::best_isa() != detail::Isa::generic) all.push_back(detail::Isa::avx2);
    if (detail::best_isa() == detail::Isa::avx512) all.push_back(detail::Isa::avx512);
    return all;
}

/// T as a full matrix.
[[nodiscard]] Tensor<double> tridiagonal(const std::vector<double>& d,
                                         const std::vector<double>& e) {
    const auto n = static_cast<Index>(d.size());
    Tensor<double> T({n, n});
    for (Index i = 0; i < n; ++i) T(i, i) = d[static_cast<std::size_t>(i)];
    for (Index i = 0; i + 1 < n; ++i) T(i, i + 1) = T(i + 1, i) = e[static_cast<std::size_t>(i)];
    return T;
}

}  // namespace

TEST_CASE("row products equal sums, on every instruction set") {
    for (const auto isa : every_isa())
        for (const Index rows : {0, 1, 3, 4, 5, 9})
            for (const Index n : {0, 1, 7, 8, 9, 31, 64}) {
                CAPTURE(static_cast<int>(isa), rows, n);
                const Index lda = n + 3;
                const auto A = normal_tensor<double>({rows, lda}, 1);
                const auto x = normal_tensor<double>({n}, 2);
                std::vector<double> y(static_cast<std::size_t>(rows) + 1, 77.0);
                detail::row_products(rows, n, A.data(), lda, x.data(), y.data(), isa);
                for (Index i = 0; i < rows; ++i) {
                    double sum = 0, size = 0;
                    for (Index j = 0; j < n; ++j) {
                        sum += A(i, j) * x(j);
                        size += std::abs(A(i, j) * x(j));
                    }
                    CHECK(std::abs(y[static_cast<std::size_t>(i)] - sum) <=
                          tolerance<double>(n, size));
                }
                CHECK(y.back() == 77.0);
            }
}

TEST_CASE("column products equal sums, on every instruction set") {
    for (const auto isa : every_isa())
        for (const Index rows : {0, 1, 3, 7, 8, 9, 17})
            for (const Index n : {0, 1, 7, 8, 9, 31, 64}) {
                CAPTURE(static_cast<int>(isa), rows, n);
                const Index lda = n + 3;
                const auto A = normal_tensor<double>({rows, lda}, 1);
                const auto x = normal_tensor<double>({rows}, 2);
                std::vector<double> y(static_cast<std::size_t>(n) + 1, 77.0);
                detail::column_products(rows, n, A.data(), lda, x.data(), y.data(), isa);
                for (Index j = 0; j < n; ++j) {
                    double sum = 0, size = 0;
                    for (Index i = 0; i < rows; ++i) {
                        sum += A(i, j) * x(i);
                        size += std::abs(A(i, j) * x(i));
                    }
                    CHECK(std::abs(y[static_cast<std::size_t>(j)] - sum) <=
                          tolerance<double>(rows, size));
                }
                CHECK(y.back() == 77.0);
            }
}

TEST_CASE("a sweep of rotations equals one rotation after the other, on every instruction set") {
    for (const auto isa : every_isa())
        for (const auto& [first, count] :
             {std::array<Index, 2>{0, 1}, {3, 1}, {3, 4}, {8, 9}, {8, 5}}) {
            CAPTURE(static_cast<int>(isa), first, count);
            constexpr Index columns = 10, rows = detail::strip_rows;
            auto strip = normal_tensor<double>({columns, rows}, 4);
            auto expected = strip;
            detail::RotationSweep sweep{first};
            for (Index k = 0; k < count; ++k) {
                const double angle = 0.3 + 0.7 * static_cast<double>(k);
                const double c = std::cos(angle), s = std::sin(angle);
                sweep.cosines.push_back(c);
                sweep.sines.push_back(s);
                for (Index i = 0; i < rows; ++i) {
                    const double x = expected(first - k, i), y = expected(first - k + 1, i);
                    expected(first - k, i) = c * x - s * y;
                    expected(first - k + 1, i) = s * x + c * y;
                }
            }
            detail::rotate_strip(strip.data(), sweep, isa);
            CHECK(naive::distance(strip, expected) <=
                  tolerance<double>(columns, naive::norm(expected)));
        }
}

TEST_CASE("T = Z diag(lambda) Z^T for tridiagonal matrices of every kind") {
    const auto draw = [](Index n, std::uint64_t seed) {
        const auto x = normal_tensor<double>({n}, seed);
        return std::vector<double>(x.data(), x.data() + n);
    };
    std::vector<std::array<std::vector<double>, 2>> all{{{{3.0}, {}}},
                                                        {{{1.0, 1.0}, {1e-300}}},
                                                        {{{0.0, 0.0}, {1.0}}},
                                                        {{{0.0, 0.0, 0.0}, {0.0, 0.0}}},
                                                        {{draw(17, 5), draw(16, 6)}},
                                                        {{draw(130, 7), draw(129, 8)}}};
    std::vector<double> d, e;  // Wilkinson's W21+: pairs that agree to 14 digits
    for (int k = -10; k <= 10; ++k) d.push_back(std::abs(k));
    e.assign(20, 1.0);
    all.push_back({d, e});
    e[9] = 0;  // two blocks
    all.push_back({d, e});
    for (std::size_t k = 0; k < d.size(); ++k) d[k] = std::pow(10.0, -static_cast<double>(k));
    for (std::size_t k = 0; k < e.size(); ++k) e[k] = d[k] / 3;
    all.push_back({d, e});  // graded, the large end first: QL's unfavourable order
    for (const auto& [diagonal, beside] : all) {
        CAPTURE(diagonal, beside);
        const auto n = static_cast<Index>(diagonal.size());
        const detail::TridiagonalEigen eigen(diagonal, beside);
        Tensor<double> Z({n, n}), scaled({n, n});
        for (Index i = 0; i < n; ++i)
            for (Index k = 0; k < n; ++k) {
                Z(i, k) = eigen.vector(i, k);
                scaled(i, k) = Z(i, k) * eigen.values()[static_cast<std::size_t>(k)];
            }
        const auto T = tridiagonal(diagonal, beside);
        CHECK(naive::distance(naive::product(scaled, naive::adjoint(Z)), T) <=
              tolerance<double>(n, naive::norm(T)));
        CHECK(naive::distance(naive::product(naive::adjoint(Z), Z), naive::identity<double>(n)) <=
              tolerance<double>(n * n, 1));
    }
}

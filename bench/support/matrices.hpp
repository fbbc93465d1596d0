// Inputs of the benches: matrices of a known spectrum made in O(n^2 log n), sums of Kronecker
// products, random chains.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo::bench {

/// (out, in) of the linears that products and plans are measured on.
[[nodiscard]] inline std::vector<std::pair<Index, Index>> layer_shapes(bool quick) {
    if (quick) return {{1536, 576}};
    return {{4096, 4096}, {11008, 4096}, {4096, 11008}, {1536, 576}};
}

/// sigma_k = k^-0.8, k = 1 .. n.
[[nodiscard]] inline std::vector<double> power_spectrum(Index n) {
    std::vector<double> sigma;
    for (Index k = 1; k <= n; ++k) sigma.push_back(std::pow(static_cast<double>(k), -0.8));
    return sigma;
}

/// Relative error of the best approximation of rank `rank`.
[[nodiscard]] inline double optimal_error(const std::vector<double>& sigma, Index rank) {
    double all = 0, tail = 0;
    for (auto k = static_cast<Index>(sigma.size()); k-- > 0;) {
        const double square =
            sigma[static_cast<std::size_t>(k)] * sigma[static_cast<std::size_t>(k)];
        all += square;
        if (k >= rank) tail += square;
    }
    return std::sqrt(tail / all);
}

/// norm(A - B) / norm(A), Frobenius, summed in double.
[[nodiscard]] inline double relative_difference(const Tensor<float>& A, const Tensor<float>& B) {
    double difference = 0, norm = 0;
    for (Index k = 0; k < A.size(); ++k) {
        const double a = A.data()[k], d = a - B.data()[k];
        difference += d * d;
        norm += a * a;
    }
    return std::sqrt(difference / norm);
}

/// norm(C x - A (B x)) / norm(A (B x)) for random x, in double: how wrong a product C = A B is,
/// without forming it again (Freivalds).
template <Scalar T>
[[nodiscard]] double product_error(MatrixView<const T> A, MatrixView<const T> B,
                                   MatrixView<const T> C) {
    using Wide = std::conditional_t<is_complex<T>, std::complex<double>, double>;
    const auto times = [](const MatrixView<const T>& M, const std::vector<Wide>& x) {
        std::vector<Wide> y(static_cast<std::size_t>(M.rows));
        parallel_for(0, M.rows, 16, [&](Index first, Index last) {
            for (Index i = first; i < last; ++i)
                for (Index j = 0; j < M.cols; ++j)
                    y[static_cast<std::size_t>(i)] +=
                        static_cast<Wide>(M.data[i * M.row_stride + j * M.col_stride]) *
                        x[static_cast<std::size_t>(j)];
        });
        return y;
    };
    std::vector<Wide> x(static_cast<std::size_t>(B.cols));
    Random(7).fill_normal(x.data(), B.cols);
    const auto expected = times(A, times(B, x)), got = times(C, x);
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        difference += std::norm(got[i] - expected[i]);
        norm += std::norm(expected[i]);
    }
    return std::sqrt(difference / norm);
}

/// M <- Q M, Q = (H D / sqrt(n))^2 with the Walsh-Hadamard matrix H and random signs D: orthogonal,
/// without structure that a random sketch could feel, n log n operations a column. n = 2^p.
inline void mix_rows(Tensor<float>& M, std::uint64_t seed) {
    const Index n = M.extent(0), columns = M.extent(1);
    Random random(seed);
    const auto unit = static_cast<float>(1 / std::sqrt(static_cast<double>(n)));
    for (int pass = 0; pass < 2; ++pass) {
        std::vector<float> signs;
        for (Index i = 0; i < n; ++i) signs.push_back(random.bits() % 2 == 0 ? unit : -unit);
        parallel_for(0, columns, 64, [&](Index first, Index last) {
            for (Index begin = first; begin < last; begin += 64) {
                const Index end = std::min(last, begin + 64);
                for (Index i = 0; i < n; ++i)
                    for (Index j = begin; j < end; ++j)
                        M(i, j) *= signs[static_cast<std::size_t>(i)];
                for (Index half = 1; half < n; half *= 2) {
                    for (Index i = 0; i < n; i = (i + 1) % half == 0 ? i + 1 + half : i + 1) {
                        float* upper = M.data() + i * columns;
                        float* lower = upper + half * columns;
                        for (Index j = begin; j < end; ++j) {
                            const float a = upper[j], b = lower[j];
                            upper[j] = a + b;
                            lower[j] = a - b;
                        }
                    }
                }
            }
        });
    }
}

/// U diag(sigma) V^T, (n, n), n = sigma.size() a power of two.
[[nodiscard]] inline Tensor<float> matrix_with_spectrum(const std::vector<double>& sigma,
                                                        std::uint64_t seed) {
    const auto n = static_cast<Index>(sigma.size());
    Tensor<float> M({n, n}), Mt({n, n});
    for (Index k = 0; k < n; ++k) M(k, k) = static_cast<float>(sigma[static_cast<std::size_t>(k)]);
    mix_rows(M, seed);
    EigenBackend().permute<float>(permuted(TensorView<const float>(M), {1, 0}), Mt.data());
    mix_rows(Mt, seed + 1);
    return Mt;
}

/// The matrix (out, in) whose legs, interleaved, are the elements of M: (o1 i1, .., oN iN).
[[nodiscard]] inline Tensor<float> deinterleaved(const Tensor<float>& M, const Layout& layout) {
    const Index sites = num_sites(layout);
    Shape legs, order;
    for (Index k = 0; k < sites; ++k) {
        legs.push_back(layout.out[static_cast<std::size_t>(k)]);
        legs.push_back(layout.in[static_cast<std::size_t>(k)]);
        order.push_back(2 * k);
    }
    for (Index k = 0; k < sites; ++k) order.push_back(2 * k + 1);
    Tensor<float> W({rows(layout), cols(layout)});
    EigenBackend().permute<float>(permuted(TensorView<const float>(M.data(), legs), order),
                                  W.data());
    return W;
}

/// sum over k = 1 .. terms of k^-0.8 a_k x b_k x c_k + noise, a (s), b (s), c (s) of norm 1: as a
/// tensor (s, s s). Its best chain needs bonds of `terms`, the noise all of them.
[[nodiscard]] inline Tensor<float> kronecker_sum(Index s, Index terms, double noise,
                                                 std::uint64_t seed) {
    const auto factors = [&](std::uint64_t k) {  // (terms, s), rows of norm 1
        auto F = normal_tensor<float>({terms, s}, seed + k);
        for (Index t = 0; t < terms; ++t) {
            double square = 0;
            for (Index i = 0; i < s; ++i) square += double{F(t, i)} * F(t, i);
            for (Index i = 0; i < s; ++i) F(t, i) /= static_cast<float>(std::sqrt(square));
        }
        return F;
    };
    const auto A = factors(0), B = factors(1), C = factors(2);
    const auto sigma = power_spectrum(terms);
    Tensor<float> BC({terms, s * s}), M({s, s * s});
    for (Index t = 0; t < terms; ++t)
        for (Index i = 0; i < s; ++i)
            for (Index j = 0; j < s; ++j)
                BC(t, i * s + j) =
                    static_cast<float>(sigma[static_cast<std::size_t>(t)]) * B(t, i) * C(t, j);
    EigenBackend().gemm(1.0f, transpose(matrix(A.data(), terms, s)),
                        matrix(BC.data(), terms, s * s), 0.0f, matrix(M.data(), s, s * s));
    double square = 0;
    for (Index k = 0; k < M.size(); ++k) square += double{M.data()[k]} * M.data()[k];
    const double unit = noise * std::sqrt(square / static_cast<double>(M.size()));
    Random random(seed + 3);
    for (Index k = 0; k < M.size(); ++k) M.data()[k] += static_cast<float>(unit * random.normal());
    return M;
}

/// Independent normal cores, scaled so that W has elements of variance near 1.
[[nodiscard]] inline Mpo<float> random_mpo(const Layout& layout, const Shape& bonds,
                                           std::uint64_t seed) {
    std::vector<Tensor<float>> cores;
    for (std::size_t k = 0; k < layout.out.size(); ++k) {
        auto core = normal_tensor<float>({bonds[k], layout.out[k], layout.in[k], bonds[k + 1]},
                                         seed + k);  // (D, o, i, D')
        const double unit = 1 / std::sqrt(static_cast<double>(bonds[k + 1]));
        for (Index n = 0; n < core.size(); ++n) core.data()[n] *= static_cast<float>(unit);
        cores.push_back(std::move(core));
    }
    return Mpo<float>(std::move(cores));
}

}  // namespace mpo::bench

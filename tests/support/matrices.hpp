// Inputs with known answers: matrices of a given spectrum, exact to rounding, and random chains.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "mpo/core/random.hpp"
#include "naive.hpp"

namespace mpo::test {

/// As a bond dimension: no limit.
inline constexpr Index no_cap = std::numeric_limits<Index>::max();

/// sigma_k = k^-0.8, k = 1 .. n: slow algebraic decay, as in trained weights.
[[nodiscard]] inline std::vector<double> power_spectrum(Index n) {
    std::vector<double> sigma;
    for (Index k = 1; k <= n; ++k) sigma.push_back(std::pow(static_cast<double>(k), -0.8));
    return sigma;
}

/// sigma_k = 10^(-k/20), k = 1 .. n: a decade every 20 values.
[[nodiscard]] inline std::vector<double> exponential_spectrum(Index n) {
    std::vector<double> sigma;
    for (Index k = 1; k <= n; ++k) sigma.push_back(std::pow(10.0, -static_cast<double>(k) / 20));
    return sigma;
}

/// sigma_k = 1: nothing can be dropped cheaply, and all singular vectors are arbitrary.
[[nodiscard]] inline std::vector<double> flat_spectrum(Index n) {
    return std::vector<double>(static_cast<std::size_t>(n), 1.0);
}

/// sigma_k = 1/k up to `rank`, then zeros.
[[nodiscard]] inline std::vector<double> rank_deficient_spectrum(Index n, Index rank) {
    std::vector<double> sigma;
    for (Index k = 1; k <= n; ++k) sigma.push_back(k <= rank ? 1.0 / static_cast<double>(k) : 0.0);
    return sigma;
}

/// sqrt of the sum of squares from position `first` on: the best error at rank `first`.
[[nodiscard]] inline double tail_norm(const std::vector<double>& sigma, Index first = 0) {
    double sum = 0;
    for (auto k = sigma.size(); k-- > static_cast<std::size_t>(first);) sum += sigma[k] * sigma[k];
    return std::sqrt(sum);
}

/// Q (m, n), m >= n, Q^H Q = 1 to rounding: Gram-Schmidt, twice, on standard normals.
template <class W>
[[nodiscard]] Tensor<W> orthonormal_columns(Index m, Index n, std::uint64_t seed) {
    auto Q = normal_tensor<W>({m, n}, seed);  // (m, n)
    for (Index j = 0; j < n; ++j) {
        for (int pass = 0; pass < 2; ++pass)
            for (Index k = 0; k < j; ++k) {
                W overlap = 0;
                for (Index i = 0; i < m; ++i) overlap += conjugated(Q(i, k)) * Q(i, j);
                for (Index i = 0; i < m; ++i) Q(i, j) -= overlap * Q(i, k);
            }
        double length = 0;
        for (Index i = 0; i < m; ++i) length += std::norm(Q(i, j));
        for (Index i = 0; i < m; ++i) Q(i, j) /= std::sqrt(length);
    }
    return Q;
}

/// W = U diag(sigma) V^H, (m, n), with random orthogonal U, V; sigma.size() <= min(m, n).
template <Scalar T>
[[nodiscard]] Tensor<T> matrix_with_spectrum(Index m, Index n, const std::vector<double>& sigma,
                                             std::uint64_t seed) {
    const auto r = static_cast<Index>(sigma.size());
    auto U = orthonormal_columns<Wide<T>>(m, r, seed);            // (m, r)
    const auto V = orthonormal_columns<Wide<T>>(n, r, seed + 1);  // (n, r)
    for (Index i = 0; i < m; ++i)
        for (Index k = 0; k < r; ++k) U(i, k) *= sigma[static_cast<std::size_t>(k)];
    return naive::narrow<T>(naive::product(U, naive::adjoint(V)));  // (m, n)
}

/// Independent normal cores, scaled so that norm(W) is about sqrt(rows cols).
template <Scalar T>
[[nodiscard]] Mpo<T> random_mpo(const Layout& layout, const Shape& bonds, std::uint64_t seed) {
    Random random(seed);
    std::vector<Tensor<T>> cores;
    for (std::size_t k = 0; k < layout.out.size(); ++k) {
        Tensor<T> core({bonds[k], layout.out[k], layout.in[k], bonds[k + 1]});  // (D, o, i, D')
        random.fill_normal(core.data(), core.size());
        const double unit = 1 / std::sqrt(static_cast<double>(bonds[k + 1]));
        for (Index n = 0; n < core.size(); ++n) core.data()[n] *= static_cast<Real<T>>(unit);
        cores.push_back(std::move(core));
    }
    return Mpo<T>(std::move(cores));
}

struct Chain {
    Layout layout;
    Shape bonds;
};

/// Chains that break careless code: one site, all legs 1, primes, legs and bonds of 1, bonds larger
/// than useful (so the cores are rank-deficient), wide and tall cores, the most sites there can be.
[[nodiscard]] inline std::vector<Chain> awkward_chains() {
    return {
        {{{3}, {5}}, {1, 1}},
        {{{1}, {1}}, {1, 1}},
        {{{1, 1, 1}, {1, 1, 1}}, {1, 3, 2, 1}},
        {{{4, 3}, {2, 5}}, {1, 6, 1}},
        {{{7, 1}, {1, 11}}, {1, 3, 1}},
        {{{2, 1, 3}, {3, 1, 2}}, {1, 9, 1, 1}},
        {{{3, 2, 5}, {2, 3, 1}}, {1, 4, 5, 1}},
        {{{2, 2, 2, 2}, {1, 3, 2, 1}}, {1, 2, 12, 2, 1}},
        {{Shape(12, 1), {2, 1, 1, 2, 1, 3, 1, 1, 2, 1, 1, 2}},
         {1, 2, 2, 3, 4, 5, 6, 5, 4, 3, 2, 2, 1}},
    };
}

}  // namespace mpo::test

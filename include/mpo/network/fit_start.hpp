// Where a fit begins: TT-SVD in a metric that is a product over the sites, near the one that is meant.
//
//   S ~ S_1 x .. x S_N,   S_k = trace of S over all in legs but that of site k,   S_k = T_k T_k^H
//   W (T_1 x .. x T_N)  ->  TT-SVD  ->  in leg k of core k times T_k^-1
//
// Exact where all in legs but one have size 1, low rank among them; elsewhere a beginning that ALS improves
// on several times.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "mpo/network/decompose.hpp"
#include "mpo/network/leg_tensor.hpp"

namespace mpo::detail {

/// The trace of S (n, n), on the host, over all in legs but that of site k: (n_k, n_k).
template <Scalar W>
[[nodiscard]] Tensor<W> partial_moment(const Tensor<W>& S, const Layout& layout, Index k) {
    const auto at = static_cast<std::size_t>(k);
    const Index n = S.extent(0), leg = layout.in[at];
    Index left = 1;
    for (std::size_t j = 0; j < at; ++j) left *= layout.in[j];
    const Index right = n / left / leg;
    Tensor<W> sum({leg, leg});
    for (Index l = 0; l < left; ++l)
        for (Index i = 0; i < leg; ++i)
            for (Index j = 0; j < leg; ++j) {
                const W* from = S.data() + (l * leg + i) * right * n + (l * leg + j) * right;
                W here{0};
                for (Index r = 0; r < right; ++r) here += from[r * (n + 1)];
                sum(i, j) += here;
            }
    return sum;
}

/// T and T^-1 (n, n) of a second moment M = T T^H, on scale 1, in backend memory.
template <Scalar T, BackendFor<T> B>
struct Whitening {
    BufferOf<B, T> forth, back;
};

template <Scalar T, Scalar W, BackendFor<T> B>
[[nodiscard]] Whitening<T, B> whitening(Tensor<W> M, const B& backend) {
    constexpr double ridge = 1e-6;  // of the mean: T^-1 then magnifies rounding by 1e3 at most
    const Index n = M.extent(0);
    double trace = 0;
    for (Index k = 0; k < n; ++k) trace += static_cast<double>(std::real(M(k, k)));
    const double scale = trace > 0 ? static_cast<double>(n) / trace : 0;
    for (Index k = 0; k < M.size(); ++k) M.data()[k] *= static_cast<Real<W>>(scale);
    for (Index k = 0; k < n; ++k) M(k, k) += static_cast<Real<W>>(trace > 0 ? ridge : 1);
    auto L = send<W>(M, backend);
    const auto factor = matrix(L.data(), n, n);
    if (backend.cholesky(factor) < n) {  // rounding of a moment that is nearly singular
        for (Index k = 0; k < n; ++k) M(k, k) += static_cast<Real<W>>(1e-3);
        L = send<W>(M, backend);
        if (backend.cholesky(matrix(L.data(), n, n)) < n)
            raise<NumericalError>({"fit: a second moment of ", n, " inputs is not semidefinite"});
    }
    auto inverse = unit_matrix<W>(n, backend);
    backend.solve_triangular(Triangle::lower, matrix<const W>(L.data(), n, n),
                             matrix(inverse.data(), n, n));
    return {converted<T, W>(std::move(L), n, n, backend),
            converted<T, W>(std::move(inverse), n, n, backend)};
}

/// x (rows, i, cols) -> sum over i of x[.., i, ..] M[i, j].
template <Scalar T, BackendFor<T> B>
[[nodiscard]] LegTensor<T, B> times_leg(const T* x, const Shape& shape, const T* M,
                                        const B& backend) {
    return contracted(LegView<T>{x, {0, 1, 2}, shape}, LegView<T>{M, {1, 3}, {shape[1], shape[1]}},
                      backend, {0, 3, 2});
}

/// W as a chain with bonds of at most `max_bond_dim`, found in the metric of the S_k.
template <Scalar T, Scalar G, BackendFor<T> B>
[[nodiscard]] Mpo<T> whitened_decomposition(const Tensor<T>& W, const Tensor<G>& S,
                                            const DecomposeOptions& options, const B& backend) {
    const auto sites = num_sites(options.layout);
    const Index m = W.extent(0), n = W.extent(1);
    std::vector<Whitening<T, B>> whitenings;
    auto white = send<T>(W, backend);
    Index left = 1;
    for (Index k = 0; k < sites; ++k) {
        const Index leg = options.layout.in[static_cast<std::size_t>(k)];
        whitenings.push_back(whitening<T>(partial_moment(S, options.layout, k), backend));
        white = times_leg<T>(white.data(), {m * left, leg, n / left / leg},
                             whitenings.back().forth.data(), backend)
                    .elements;
        left *= leg;
    }
    const auto found = decompose(fetch<T>(white.data(), m, n, backend), options, backend).mpo;
    std::vector<Tensor<T>> cores;
    for (Index k = 0; k < sites; ++k) {
        const auto& core = found.core(k);
        const Shape& s = core.shape();
        const auto loaded = send<T>(core, backend);
        const auto back =
            times_leg<T>(loaded.data(), {s[0] * s[1], s[2], s[3]},
                         whitenings[static_cast<std::size_t>(k)].back.data(), backend);
        Tensor<T> result(s);
        backend.download(static_cast<const T*>(back.elements.data()), result.view());
        cores.push_back(std::move(result));
    }
    return Mpo<T>(std::move(cores));
}

}  // namespace mpo::detail

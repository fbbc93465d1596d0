// Two neighbouring cores as one, and two again: the singular value decomposition over the bond between them, in a
// product metric near that of the inputs.
//
//   H ~ H_1 x H_2 / tr H,   H_1 = trace of H over the in legs behind the bond, H_2 over those before it
//   H_k = T_k T_k^H,   (T_1) pair (T_2) = U sigma V   ->   T_1^-1 U,  sigma V T_2^-1
//
// sigma^2 is what a direction of the bond is worth: by how much the loss rises without it, up to how far H is from
// a product. With orthonormal neighbours and S = I it is exact, and the step is that of Holtz, Rohwedder, Schneider,
// SIAM J. Sci. Comput. 34 (2012), section 4 (modified ALS; in physics two-site DMRG: White, Phys. Rev. Lett. 69
// (1992)).
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "mpo/network/canonical.hpp"
#include "mpo/network/fit_site.hpp"
#include "mpo/network/fit_start.hpp"

namespace mpo::detail {

/// Two cores (a, o, i, x) and (x, p, j, b) as one: (a, o, p, i, j, b).
template <Scalar T, BackendFor<T> B>
[[nodiscard]] LegTensor<T, B> merge(const LoadedCore<T, B>& first, const LoadedCore<T, B>& second,
                                    const B& backend) {
    const LegView<T> left{first.elements.data(), {leg_a, leg_o, leg_i, leg_x}, first.shape};
    const LegView<T> right{second.elements.data(), {leg_x, leg_p, leg_j, leg_b}, second.shape};
    return contracted(left, right, backend, {leg_a, leg_o, leg_p, leg_i, leg_j, leg_b});
}

/// What split_pair returns.
template <Scalar T, BackendFor<T> B>
struct PairSplit {
    LoadedCore<T, B> first, second;    // (a, o, i, bond), (bond, p, j, b)
    Index bond = 0;                    // the dimension asked for, or what there is
    std::vector<double> weights = {};  // of all directions, descending, in units of the loss
};

/// A pair (a, o, p, i, j, b) as two cores, the best ones in the product of the traces.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] PairSplit<T, B> split_pair(const LegTensor<T, B>& pair,
                                         const PairTraces<T, B>& traces, Index bond,
                                         const B& backend) {
    const Shape& s = pair.shape;
    const Index u = s[0] * s[3], v = s[4] * s[5];  // rows of the two traces
    const auto H1 = fetch<T>(traces.first.elements.data(), u, u, backend);
    const auto H2 = fetch<T>(traces.second.elements.data(), v, v, backend);
    double trace = 0;
    for (Index k = 0; k < u; ++k) trace += static_cast<double>(std::real(H1(k, k)));
    const auto T1 = whitening<T>(H1, backend), T2 = whitening<T>(H2, backend);  // of mean 1
    const double unit = trace > 0 ? trace / static_cast<double>(u) / static_cast<double>(v) : 0;

    const std::vector<Index> forth1{leg_a, leg_i, leg_a + primed, leg_i + primed},
        back1{leg_a + primed, leg_i + primed, leg_a, leg_i},
        forth2{leg_j, leg_b, leg_j + primed, leg_b + primed},
        back2{leg_j + primed, leg_b + primed, leg_j, leg_b};
    const Shape s1{s[0], s[3], s[0], s[3]}, s2{s[4], s[5], s[4], s[5]};
    const auto half = contracted(pair.view(), LegView<T>{T1.forth.data(), forth1, s1}, backend);
    auto white =
        contracted(half.view(), LegView<T>{T2.forth.data(), forth2, s2}, backend,
                   {leg_a + primed, leg_o, leg_i + primed, leg_p, leg_j + primed, leg_b + primed});

    const Index m = u * s[1], n = v * s[2], r = (std::min)(m, n);
    const auto A = matrix(white.elements.data(), m, n);
    const auto U = backend.template allocate<T>(m * r), Vt = backend.template allocate<T>(r * n);
    const auto sigma = backend.template allocate<Real<T>>(r);
    backend.svd(A, matrix(U.data(), m, r), sigma.data(), matrix(Vt.data(), r, n));
    Tensor<Real<T>> values({r});
    backend.download(static_cast<const Real<T>*>(sigma.data()), values.view());
    PairSplit<T, B> result;
    for (Index k = 0; k < r; ++k) {
        const auto value = static_cast<double>(values(k));
        result.weights.push_back(value * value * unit);
    }
    result.bond = (std::min)(bond, r);

    const auto kept = first_columns(matrix(U.data(), m, r), result.bond,
                                    {s[0], s[1], s[3], result.bond}, Sweep::to_right, backend);
    const auto carry = project(outgoing(kept, Sweep::to_right), A, backend);
    const LegView<T> white1{
        kept.elements.data(), {leg_a + primed, leg_o, leg_i + primed, leg_x}, kept.shape};
    const LegView<T> white2{carry.elements.data(),
                            {leg_x, leg_p, leg_j + primed, leg_b + primed},
                            {result.bond, s[2], s[4], s[5]}};
    auto first = contracted(white1, LegView<T>{T1.back.data(), back1, s1}, backend,
                            {leg_a, leg_o, leg_i, leg_x});
    auto second = contracted(white2, LegView<T>{T2.back.data(), back2, s2}, backend,
                             {leg_x, leg_p, leg_j, leg_b});
    result.first = {std::move(first.shape), std::move(first.elements)};
    result.second = {std::move(second.shape), std::move(second.elements)};
    return result;
}

}  // namespace mpo::detail

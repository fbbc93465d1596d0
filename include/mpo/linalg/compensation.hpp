// What a linear should do where its inputs are no longer those that it was trained on: behind compressed
// layers it reads x_c instead of x_o, and is to answer as W does to x_o.
//
//   P minimises  E norm(x_o - P x_c)^2 + mu norm(P - 1)^2,    P = (X + mu) (C + mu)^-1,
//   C = E[x_c x_c^H],   X = E[x_o x_c^H]
//
// For every W and A then E norm(W x_o - A x_c)^2 = tr((W P - A) C (W P - A)^H) + what no A can mend, but for
// mu. So W P in the metric C takes the place of W in the metric of its inputs, for all linears that read
// them and in whatever form they are stored. mu keeps directions as they are of which C knows nothing.
#pragma once

#include <cmath>
#include <utility>

#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/orthonormalize.hpp"
#include "mpo/linalg/weighted_low_rank.hpp"

namespace mpo {

/// P of the inputs behind a compressed prefix.
///
/// C        (n, n), Hermitian, positive semidefinite
/// X        (n, n), rows of the dense flow, columns of the compressed one
/// ridge    mu / (tr(C) / n), above 0
/// returns  P (n, n); 1 where C = X
/// error    n eps of the scalar / ridge, relative
/// cost     4/3 n^3 multiply-adds
/// throws   ShapeError, ArgumentError (ridge), NumericalError (NaN, Inf; C not Hermitian, indefinite)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Tensor<T> compensating_map(const Tensor<T>& C, const Tensor<T>& X, double ridge,
                                         const B& backend) {
    if (C.rank() != 2 || C.size() == 0 || C.extent(0) != C.extent(1) || X.shape() != C.shape())
        detail::raise<ShapeError>({"compensating_map: C and X must be (n, n), got ",
                                   to_string(C.shape()), " and ", to_string(X.shape())});
    if (!(ridge > 0) || !std::isfinite(ridge))
        detail::raise<ArgumentError>({"compensating_map: the ridge must be above 0, got ", ridge});
    const Index n = C.extent(0);
    auto factor = detail::send<T>(C, backend);
    (void)detail::moment_rounding<T, T>(matrix<const T>(factor.data(), n, n), "compensating_map",
                                        backend);
    double trace = 0;
    for (Index k = 0; k < n; ++k) trace += static_cast<double>(std::real(C(k, k)));
    const auto mu = static_cast<T>(
        static_cast<Real<T>>(trace > 0 ? ridge * trace / static_cast<double>(n) : 1.0));
    const auto adjoint_of = [n](const Tensor<T>& A) {
        Tensor<T> result({n, n});
        for (Index i = 0; i < n; ++i)
            for (Index j = 0; j < n; ++j)
                if constexpr (is_complex<T>)
                    result(j, i) = std::conj(A(i, j));
                else
                    result(j, i) = A(i, j);
        return result;
    };
    Tensor<T> shifted = C, target = adjoint_of(X);
    for (Index i = 0; i < n; ++i) {
        shifted(i, i) += mu;
        target(i, i) += mu;
    }
    factor = detail::send<T>(shifted, backend);
    if (const Index at = backend.cholesky(matrix(factor.data(), n, n)); at < n)
        detail::raise<NumericalError>({"compensating_map: C + ", ridge,
                                       " tr(C) / n is not positive ", "definite at row ", at,
                                       " of ", n});
    auto P = detail::send<T>(target, backend);  // (C + mu) P^H = X^H + mu
    if (!std::isfinite(detail::squared_norm<T>(P.data(), n * n, backend)))
        detail::raise<NumericalError>({"compensating_map: X, ", n, " x ", n, ", holds NaN or Inf"});
    detail::solve_cholesky(matrix<const T>(factor.data(), n, n), matrix(P.data(), n, n), backend);
    return adjoint_of(detail::fetch<T>(P.data(), n, n, backend));
}

}  // namespace mpo

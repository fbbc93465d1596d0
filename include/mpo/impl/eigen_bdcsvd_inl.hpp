// Eigen's divide-and-conquer SVD, alone: instantiating it costs some 20 s of compile time a scalar.
#pragma once

#include <Eigen/SVD>

#include "mpo/core/error.hpp"

namespace mpo::detail {

/// A = U diag(sigma) V^H, thin. Throws NumericalError where the iteration did not converge.
template <class Matrix>
void thin_svd(const Matrix& A, Matrix& U,
              Eigen::Matrix<typename Matrix::RealScalar, Eigen::Dynamic, 1>& sigma, Matrix& V) {
    const Eigen::BDCSVD<Matrix> svd(A, Eigen::ComputeThinU | Eigen::ComputeThinV);
    if (svd.info() != Eigen::Success)
        throw NumericalError(
            concat("svd: no convergence for a ", A.rows(), " x ", A.cols(), " matrix"));
    U = svd.matrixU();
    sigma = svd.singularValues();
    V = svd.matrixV();
}

}  // namespace mpo::detail

// Eigen's divide-and-conquer SVD, alone: instantiating it costs some 20 s of compile time a scalar.
//
// Eigen 3.4 can return singular vectors that are not orthonormal, without a word: its complex Jacobi
// rotations, which also serve BDCSVD below 16 columns, square numbers that then underflow, and a
// complex<float> 12 x 15 matrix of equal rows comes back with an error of 2 %. So each result is
// checked on a few random vectors, O(m n), and a wrong one is computed again by our own rotations.
#pragma once

#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <limits>

#include "mpo/core/error.hpp"
#include "mpo/core/random.hpp"
#include "mpo/impl/jacobi_svd_inl.hpp"

namespace mpo::detail {

template <class Matrix>
struct ThinSvd {
    Matrix U;                                                             // (m, r)
    Eigen::Matrix<typename Matrix::RealScalar, Eigen::Dynamic, 1> sigma;  // descending
    Matrix V;                                                             // (n, r)
};

/// Whether A = U diag(sigma) V^H and both bases are orthonormal, up to rounding: each error E is
/// seen through norm(E X)^2 ~ k norm(E)^2 for k random columns X.
template <class Matrix>
[[nodiscard]] bool holds(const Matrix& A, const ThinSvd<Matrix>& svd) {
    using Value = typename Matrix::Scalar;
    constexpr Eigen::Index k = 8;
    Random random(1);
    const auto draw = [&](Eigen::Index rows) {
        Matrix X(rows, k);
        random.fill_normal(X.data(), X.size());
        return X;
    };
    const double eps = std::numeric_limits<typename Matrix::RealScalar>::epsilon();
    const double unit = 64 * eps * std::sqrt(static_cast<double>((std::max)(A.rows(), A.cols())));
    const Matrix X = draw(A.cols()), Y = draw(svd.sigma.size());
    const Matrix projected = svd.V.adjoint() * X;
    const Matrix residual =
        A * X - svd.U * (svd.sigma.template cast<Value>().asDiagonal() * projected);
    const auto orthonormal = [&](const Matrix& basis) {
        const Matrix image = basis * Y;
        const Matrix change = basis.adjoint() * image - Y;
        return static_cast<double>(change.norm()) <= unit * static_cast<double>(Y.norm());
    };
    return static_cast<double>(residual.norm()) <=
               unit * static_cast<double>(A.norm()) * std::sqrt(static_cast<double>(k)) &&
           orthonormal(svd.U) && orthonormal(svd.V);
}

/// The same by rotations; A^H where A is wide.
template <class Matrix>
[[nodiscard]] ThinSvd<Matrix> svd_by_rotations(const Matrix& A) {
    using Value = typename Matrix::Scalar;
    using W = std::conditional_t<is_complex<Value>, std::complex<double>, double>;
    if (A.rows() < A.cols()) {
        auto swapped = svd_by_rotations<Matrix>(A.adjoint());
        return {std::move(swapped.V), std::move(swapped.sigma), std::move(swapped.U)};
    }
    Columns<W> left(A.rows(), A.cols()), right(A.cols(), A.cols());
    for (Index k = 0; k < A.size(); ++k)
        left.values[static_cast<std::size_t>(k)] = static_cast<W>(A.data()[k]);
    const auto sigma = jacobi_svd(left, right);
    ThinSvd<Matrix> svd{Matrix(A.rows(), A.cols()), {}, Matrix(A.cols(), A.cols())};
    svd.sigma.resize(A.cols());
    for (Index k = 0; k < A.size(); ++k)
        svd.U.data()[k] = static_cast<Value>(left.values[static_cast<std::size_t>(k)]);
    for (Index k = 0; k < right.rows * right.count; ++k)
        svd.V.data()[k] = static_cast<Value>(right.values[static_cast<std::size_t>(k)]);
    for (Index k = 0; k < A.cols(); ++k)
        svd.sigma[k] = static_cast<typename Matrix::RealScalar>(sigma[static_cast<std::size_t>(k)]);
    return svd;
}

/// A = U diag(sigma) V^H, thin. Throws NumericalError where neither method arrives at one.
template <class Matrix>
[[nodiscard]] ThinSvd<Matrix> thin_svd(const Matrix& A) {
    {
        const Eigen::BDCSVD<Matrix> solver(A, Eigen::ComputeThinU | Eigen::ComputeThinV);
        ThinSvd<Matrix> svd{solver.matrixU(), solver.singularValues(), solver.matrixV()};
        if (solver.info() == Eigen::Success && holds(A, svd)) return svd;
    }
    constexpr Index most = 1024;  // minutes there, eight times more for twice the size
    if ((std::min)(A.rows(), A.cols()) <= most) {
        auto svd = svd_by_rotations(A);
        if (holds(A, svd)) return svd;
    }
    throw NumericalError(concat("svd: singular vectors of a ", A.rows(), " x ", A.cols(),
                                " matrix did not converge"));
}

}  // namespace mpo::detail

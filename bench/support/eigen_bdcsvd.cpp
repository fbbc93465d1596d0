#include "support/eigen_bdcsvd.hpp"

#include <Eigen/SVD>

namespace mpo::bench {

float eigen_bdcsvd(MatrixView<const float> A) {
    const Eigen::Map<const Eigen::MatrixXf> At(A.data, A.cols, A.rows);  // column-major: A^T
    const Eigen::BDCSVD<Eigen::MatrixXf> svd(At, Eigen::ComputeThinU | Eigen::ComputeThinV);
    return svd.singularValues()(0);
}

}  // namespace mpo::bench

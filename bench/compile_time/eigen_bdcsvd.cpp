// The measure: a program that instantiates Eigen's divide-and-conquer SVD for one scalar.
#include <Eigen/SVD>

int main() {
    const Eigen::MatrixXf A = Eigen::MatrixXf::Random(64, 64);
    const Eigen::BDCSVD<Eigen::MatrixXf> svd(A, Eigen::ComputeThinU | Eigen::ComputeThinV);
    return svd.singularValues()(0) > 0 ? 0 : 1;
}

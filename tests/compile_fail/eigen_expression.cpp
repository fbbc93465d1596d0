// expect: mpo: as_view needs elements in memory: evaluate the Eigen expression first
#include "mpo/eigen.hpp"

int main() {
    const Eigen::MatrixXf A(2, 3), B(2, 3);
    (void)mpo::as_view(A + B);
}

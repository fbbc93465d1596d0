// expect: mpo: as_view takes float, double and their complex numbers
#include "mpo/eigen.hpp"

int main() {
    const Eigen::MatrixXi A(2, 3);
    (void)mpo::as_view(A);
}

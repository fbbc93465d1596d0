// expect: mpo: as_view of a temporary Eigen matrix would outlive its elements
#include "mpo/eigen.hpp"

int main() {
    (void)mpo::as_view(Eigen::MatrixXf(2, 3));
}

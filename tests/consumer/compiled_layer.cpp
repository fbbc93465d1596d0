// The same library from mpo::compiled: what reaches Eigen was instantiated when it was built.
#include <iostream>

#include "mpo/mpo.hpp"

#ifndef MPO_COMPILED
#error "mpo::compiled must define MPO_COMPILED for whoever links it"
#endif

int main() {
    const mpo::EigenBackend cpu;
    const auto A = mpo::normal_tensor<float>({3, 2}, 1);      // (3, 2)
    const mpo::Tensor<float> identity({2, 2}, {1, 0, 0, 1});  // (2, 2)
    mpo::Tensor<float> C({3, 2});                             // (3, 2)
    cpu.gemm(1.0F, mpo::as_matrix(A.view()), mpo::as_matrix(identity.view()), 0.0F,
             mpo::as_matrix(C.view()));
    std::cout << "C = A I: " << C(2, 1) << " = " << A(2, 1) << '\n';
    return C(2, 1) == A(2, 1) ? 0 : 1;
}

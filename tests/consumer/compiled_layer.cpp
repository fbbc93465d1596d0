// The same library from mpo::compiled: what reaches Eigen was instantiated when it was built.
#include <iostream>

#include "mpo/mpo.hpp"

#ifndef MPO_COMPILED
#error "mpo::compiled must define MPO_COMPILED for whoever links it"
#endif

int main() {
    const mpo::EigenBackend cpu;
    const auto A = mpo::normal_tensor<float>({3, 3}, 1);                 // (3, 3)
    const mpo::Tensor<float> identity({3, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1});  // (3, 3)
    mpo::Tensor<float> C({3, 3});                                        // (3, 3)
    cpu.gemm<float>(1, A.matrix(), identity.matrix(), 0, C.matrix());
    std::cout << "C = A I, C[0] = " << C.data()[0] << '\n';
    return C.data()[0] == A.data()[0] ? 0 : 1;
}

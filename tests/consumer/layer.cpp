// What a stranger writes first, header-only: a tensor, a truncation, nothing heavy.
#include <iostream>

#include "mpo/mpo.hpp"

int main() {
    const auto W = mpo::normal_tensor<float>({6, 4}, 1);  // (6, 4)
    const mpo::BondChoice choice = mpo::choose_bond_dim({3, 2, 1}, 0, 1.5, 100);
    std::cout << "mpo " << MPO_VERSION_MAJOR << '.' << MPO_VERSION_MINOR << ": W is "
              << mpo::to_string(W.shape()) << ", bond " << choice.bond_dim << '\n';
    return choice.bond_dim == 2 ? 0 : 1;
}

// One program, three sets of flags: mpo::compiled as it was built, this file as it is, and this file again for the
// machine's widest vectors (WIDE). Each has its own idea of how Eigen aligns memory; none may meet another's.
#include <Eigen/QR>
#include <cmath>
#include <iostream>
#include <vector>

#include "mpo/mpo.hpp"

namespace {

/// W after decomposition and back through an application to the identity, and an Eigen factorisation of the user's own.
std::vector<float> everything() {
    const mpo::EigenBackend cpu;
    mpo::Tensor<float> W({12, 18}), I({18, 18}), Y({18, 12});
    for (mpo::Index i = 0; i < 12; ++i)
        for (mpo::Index j = 0; j < 18; ++j) W(i, j) = 1.0F / static_cast<float>(1 + 2 * i + j);
    for (mpo::Index i = 0; i < 18; ++i) I(i, i) = 1;
    const auto result = mpo::decompose(
        W, {.layout = {.out = {3, 4}, .in = {6, 3}}, .truncation = {.max_relative_error = 1e-3}},
        cpu);
    mpo::make_plan(result.mpo, {.batch = 18}, cpu).apply(I, Y);
    std::vector<float> values(Y.data(), Y.data() + Y.size());

    Eigen::MatrixXf A(9, 5);
    for (int i = 0; i < 9; ++i)
        for (int j = 0; j < 5; ++j) A(i, j) = static_cast<float>((7 * i + 3 * j) % 11);
    const Eigen::HouseholderQR<Eigen::MatrixXf> qr(A);
    const Eigen::MatrixXf again =
        qr.householderQ() * Eigen::MatrixXf(qr.matrixQR().triangularView<Eigen::Upper>());
    values.insert(values.end(), again.data(), again.data() + again.size());
    return values;
}

}  // namespace

std::vector<float> everything_wide();

#ifdef WIDE
std::vector<float> everything_wide() {
    return everything();
}
#else
int main() {
    const auto plain = everything(), wide = everything_wide();
    float worst = plain.size() == wide.size() ? 0 : HUGE_VALF;
    for (std::size_t k = 0; k < plain.size() && k < wide.size(); ++k)
        worst = std::fmax(worst, std::fabs(plain[k] - wide[k]));
    std::cout << plain.size() << " numbers, off by at most " << worst << '\n';
    return worst < 1e-4F ? 0 : 1;
}
#endif

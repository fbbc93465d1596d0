// Decomposes a matrix into an MPO, looks at what was lost, and compares it with plain low rank.

#include <cmath>
#include <iomanip>
#include <iostream>

#include "mpo/mpo.hpp"

namespace {

/// W[i, j] = 1 / (1 + |i/m - j/n|) + noise: smooth along its diagonal, as kernels are.
[[nodiscard]] mpo::Tensor<float> smooth_matrix(mpo::Index m, mpo::Index n) {
    auto W = mpo::normal_tensor<float>({m, n}, 1);  // (m, n)
    for (mpo::Index i = 0; i < m; ++i)
        for (mpo::Index j = 0; j < n; ++j) {
            const double x = static_cast<double>(i) / static_cast<double>(m);
            const double y = static_cast<double>(j) / static_cast<double>(n);
            W(i, j) = static_cast<float>(1 / (1 + std::abs(x - y))) + 1e-3f * W(i, j);
        }
    return W;
}

/// norm(W - W') / norm(W), entry by entry.
[[nodiscard]] double distance(const mpo::Tensor<float>& W, const mpo::Tensor<float>& other) {
    double lost = 0, total = 0;
    for (mpo::Index k = 0; k < W.size(); ++k) {
        const double w = W.data()[k], difference = w - static_cast<double>(other.data()[k]);
        lost += difference * difference;
        total += w * w;
    }
    return std::sqrt(lost / total);
}

}  // namespace

int main() {
    const mpo::EigenBackend cpu;
    const auto W = smooth_matrix(1024, 1024);  // (out, in)

    // W[(o1 o2), (i1 i2)] becomes two cores (1, 32, 32, D) and (D, 32, 32, 1)
    const auto [op, report] = mpo::decompose(
        W, {.layout = {.out = {32, 32}, .in = {32, 32}}, .truncation = {.max_bond_dim = 24}}, cpu);

    std::cout << "W 1024 x 1024, " << W.size() << " parameters\n"
              << "MPO " << mpo::to_string(op.layout()) << ", bond " << op.bond_dim(1) << ", "
              << op.num_parameters() << " parameters\n"
              << std::setprecision(3) << "relative error    " << report.relative_error << " ("
              << mpo::to_string(report.error_kind) << ", bound by "
              << mpo::to_string(report.bonds[0].limit) << ")\n";

    // the report needs no check, but here is one
    const double measured = distance(W, mpo::to_dense(op, cpu));
    std::cout << "measured          " << measured << '\n';

    // plain low rank is one more layout: (out, 1), (1, in)
    const auto layout = mpo::low_rank_layout(1024, 1024);
    const mpo::Index rank = mpo::max_uniform_bond(layout, op.num_parameters());
    const auto plain =
        mpo::decompose(W, {.layout = layout, .truncation = {.max_bond_dim = rank}}, cpu);
    std::cout << "plain low rank    " << plain.report.relative_error << " (rank " << rank << ", "
              << plain.mpo.num_parameters() << " parameters)\n";

    return std::abs(measured - report.relative_error) < 1e-5 ? 0 : 1;
}

// What a user of one layer writes: decompose a matrix, apply the result.
#include "mpo/mpo.hpp"

int main() {
    const mpo::EigenBackend cpu;
    const auto W = mpo::normal_tensor<float>({64, 64}, 1);
    const auto [op, report] = mpo::decompose(
        W, {.layout = {.out = {8, 8}, .in = {8, 8}}, .truncation = {.max_bond_dim = 16}}, cpu);
    const auto plan = mpo::make_plan(op, {.batch = 4}, cpu);
    const auto X = mpo::normal_tensor<float>({4, 64}, 2);
    mpo::Tensor<float> Y({4, 64});
    plan.apply(X, Y);
    return report.relative_error < 1 ? 0 : 1;
}

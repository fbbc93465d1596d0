// Applies an MPO to a batch of activations without ever forming the matrix, in either direction.

#include <cmath>
#include <iostream>

#include "mpo/mpo.hpp"

namespace {

/// norm(A - B) / norm(B).
[[nodiscard]] double difference(const mpo::Tensor<float>& A, const mpo::Tensor<float>& B) {
    double lost = 0, total = 0;
    for (mpo::Index k = 0; k < B.size(); ++k) {
        const double a = A.data()[k], b = B.data()[k];
        lost += (a - b) * (a - b);
        total += b * b;
    }
    return std::sqrt(lost / total);
}

}  // namespace

int main() {
    const mpo::EigenBackend cpu;
    const mpo::Index out = 768, in = 512, batch = 32;
    const auto W = mpo::normal_tensor<float>({out, in}, 1);    // (out, in)
    const auto X = mpo::normal_tensor<float>({batch, in}, 2);  // (B, in)

    const auto layout = mpo::opposed_layout(out, in, 4).value();
    const auto op =
        mpo::decompose(W, {.layout = layout, .truncation = {.max_bond_dim = 64}}, cpu).mpo;

    // a plan owns the packed cores; apply is const and safe from many threads
    const auto plan = mpo::make_plan(op, {.batch = batch}, cpu);
    mpo::Tensor<float> Y({batch, out});  // (B, out)
    plan.apply(X, Y);                    // Y = X W'^T

    std::cout << "MPO " << mpo::to_string(layout) << ", bond " << op.bond_dim(1) << '\n'
              << "direction                 " << mpo::to_string(plan.direction()) << '\n'
              << "multiply-adds per token   " << plan.multiply_adds_per_token() << ", dense "
              << out * in << '\n'
              << "the other way round       "
              << std::max(mpo::multiply_adds_right_to_left(layout, op.bond_dims()),
                          mpo::multiply_adds_left_to_right(layout, op.bond_dims()))
              << '\n'
              << "workspace per thread      " << plan.workspace_bytes_per_thread() << " bytes\n";

    // the same product with the matrix that the MPO stands for
    const auto dense = mpo::to_dense(op, cpu);  // (out, in)
    mpo::Tensor<float> expected({batch, out});  // (B, out)
    cpu.gemm(1.0f, mpo::as_matrix(X.view()), mpo::transpose(mpo::as_matrix(dense.view())), 0.0f,
             mpo::as_matrix(expected.view()));
    const double error = difference(Y, expected);
    std::cout << "difference from dense     " << (error < 1e-5 ? "rounding" : "too large") << '\n';
    return error < 1e-5 ? 0 : 1;
}

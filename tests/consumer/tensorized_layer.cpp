// A dense layer is replaced and trained for one step, with Eigen and nothing else on the machine.
#include <iostream>

#include "mpo/mpo.hpp"

int main() {
    const mpo::EigenBackend cpu;
    // a Kronecker product: 8x8 times 8x8, which plain low rank cannot hold
    const auto A = mpo::normal_tensor<float>({8, 8}, 1), B = mpo::normal_tensor<float>({8, 8}, 2);
    mpo::Tensor<float> W({64, 64});  // (out, in)
    for (mpo::Index o = 0; o < 64; ++o)
        for (mpo::Index i = 0; i < 64; ++i) W(o, i) = A(o / 8, i / 8) * B(o % 8, i % 8);
    const auto bias = mpo::normal_tensor<float>({64}, 3);

    auto [layer, verdict] = mpo::tensorize(W,
                                           {.budget = 0.3,
                                            .max_flops_ratio = 1.0,
                                            .batch = 16,
                                            .plan = {.with_gradient = true},
                                            .bias = bias.view()},
                                           cpu);
    std::cout << mpo::to_string(verdict, 3);

    const auto X = mpo::normal_tensor<float>({16, 64}, 4);  // (B, in)
    mpo::Tensor<float> Y({16, 64}), dX({16, 64});           // (B, out), (B, in)
    layer.apply(X, Y);
    auto gradients = layer.zero_gradients();
    layer.gradient(X, Y, dX, gradients);  // of |Y|^2 / 2

    // W is exact, so the first output is known: sum over i of W(0, i) X(0, i), and the bias
    float expected = bias(0);
    for (mpo::Index i = 0; i < 64; ++i) expected += W(0, i) * X(0, i);
    const float difference = Y(0, 0) - expected;
    const bool found =
        verdict.advice == mpo::Advice::compress && layer.mpo().num_parameters() == 128;
    return found && difference * difference < 1e-6F && gradients.bias(0) != 0 ? 0 : 1;
}

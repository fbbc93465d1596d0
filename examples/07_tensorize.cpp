// Replaces a dense layer: one call searches the layouts, the verdict says what else was tried, and the
// layer that comes out is applied, trained for a few steps, saved and loaded.

#include <cmath>
#include <filesystem>
#include <iostream>
#include <utility>

#include "mpo/io/layer_file.hpp"
#include "mpo/mpo.hpp"

namespace {

/// Four Kronecker products (32 x 2) (2 x 32) and noise: an MPO with opposed legs of bond 4; plain low
/// rank needs four times the parameters.
[[nodiscard]] mpo::Tensor<float> hidden_structure() {
    auto W = mpo::normal_tensor<float>({64, 64}, 1);          // (out, in)
    const auto A = mpo::normal_tensor<float>({4, 32, 2}, 2);  // (term, out, in)
    const auto B = mpo::normal_tensor<float>({4, 2, 32}, 3);  // (term, out, in)
    for (mpo::Index o = 0; o < 64; ++o)
        for (mpo::Index i = 0; i < 64; ++i) {
            W(o, i) *= 0.02f;
            for (mpo::Index k = 0; k < 4; ++k) W(o, i) += A(k, o / 2, i / 32) * B(k, o % 2, i % 32);
        }
    return W;
}

/// norm(A - B) / norm(B).
[[nodiscard]] double difference(const mpo::Tensor<float>& A, const mpo::Tensor<float>& B) {
    double lost = 0, total = 0;
    for (mpo::Index k = 0; k < B.size(); ++k) {
        lost += std::pow(static_cast<double>(A.data()[k]) - static_cast<double>(B.data()[k]), 2);
        total += std::pow(static_cast<double>(B.data()[k]), 2);
    }
    return std::sqrt(lost / total);
}

using Layer = mpo::MpoLinear<float>;

/// One step of gradient descent on norm(Y - target)^2 / (2 B); returns the relative error before it.
double train(Layer& layer, const mpo::Tensor<float>& X, const mpo::Tensor<float>& target) {
    mpo::Tensor<float> Y(target.shape()), dX(X.shape());  // (B, out), (B, in)
    Layer::Tape tape;
    layer.apply(X, Y, tape);
    const double error = difference(Y, target);
    for (mpo::Index k = 0; k < Y.size(); ++k)
        Y.data()[k] = (Y.data()[k] - target.data()[k]) / static_cast<float>(X.extent(0));
    auto gradients = layer.zero_gradients();
    layer.gradient(X, Y, dX, gradients, &tape);
    auto cores = layer.mpo().cores();
    for (std::size_t c = 0; c < cores.size(); ++c)
        for (mpo::Index k = 0; k < cores[c].size(); ++k)
            cores[c].data()[k] -= 2e-4f * gradients.cores[c].data()[k];
    auto bias = layer.bias();
    for (mpo::Index k = 0; k < bias.size(); ++k) bias(k) -= 0.5f * gradients.bias(k);
    layer.assign(mpo::Mpo<float>(std::move(cores)), std::move(bias));
    return error;
}

}  // namespace

int main() {
    const mpo::EigenBackend cpu;
    const auto W = hidden_structure();    // (out, in)
    const mpo::Tensor<float> zero({64});  // (out)
    auto [layer, verdict] = mpo::tensorize(W,
                                           {.budget = 0.2,
                                            .max_flops_ratio = 1.0,
                                            .batch = 256,
                                            .plan = {.with_gradient = true},
                                            .bias = zero.view()},
                                           cpu);
    std::cout << mpo::to_string(verdict, 4) << '\n';

    // the outputs of the dense layer, shifted: the bias has something to learn
    const auto X = mpo::normal_tensor<float>({256, 64}, 4);  // (B, in)
    mpo::Tensor<float> target({256, 64});                    // (B, out)
    cpu.gemm(1.0f, mpo::as_matrix(X.view()), mpo::transpose(mpo::as_matrix(W.view())), 0.0f,
             mpo::as_matrix(target.view()));
    for (mpo::Index k = 0; k < target.size(); ++k) target.data()[k] += 1;
    const double before = train(layer, X, target);
    double after = before;
    for (int step = 0; step < 20; ++step) after = train(layer, X, target);
    std::cout << "error on outputs " << before << " -> " << after << " in 20 steps\n";

    const auto path = std::filesystem::temp_directory_path() / "mpo_example_07.safetensors";
    mpo::save_layer(layer, path);
    const auto back = mpo::load_layer<Layer>(path, {.batch = 256, .with_gradient = true}, cpu);
    std::filesystem::remove(path);
    mpo::Tensor<float> Y(target.shape()), again(target.shape());  // (B, out)
    layer.apply(X, Y);
    back.apply(X, again);
    const bool same = difference(again, Y) == 0;
    std::cout << "loaded again: " << (same ? "the same outputs" : "other outputs") << '\n';
    return same && after < before && verdict.advice == mpo::Advice::compress ? 0 : 1;
}

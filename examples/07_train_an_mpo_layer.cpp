// Trains layers from random cores, without any model: a teacher filters images of 16 x 16 pixels, and a
// layer learns the filter from 512 noisy pairs. The filter is a sum of four products of a filter of rows
// and one of columns, W = sum over k of A_k (x) B_k, which an MPO of two sites and bond 4 can hold. Low
// rank of as many numbers cannot, and a dense layer has 32 times as many to determine from the same
// pairs. (Where the structure is another one, so is the verdict: 07_tensorize searches.)

#include <cmath>
#include <iomanip>
#include <iostream>
#include <string>

#include "mpo/model/optimizer.hpp"
#include "mpo/model/trainable_linear.hpp"
#include "mpo/mpo.hpp"

namespace {

using mpo::Index, mpo::Tensor;
using Layer = mpo::TrainableLinear<float>;

const mpo::EigenBackend cpu;
constexpr Index side = 16, pixels = side * side;

/// Pairs Y (B, pixels) = X (B, pixels) W^T + noise.
struct Pairs {
    Tensor<float> X, Y;
};
[[nodiscard]] Pairs ask_teacher(Index count, float noise, std::uint64_t seed) {
    const auto A = mpo::normal_tensor<float>({4, side, side}, 1);  // (term, out, in), of rows
    const auto B = mpo::normal_tensor<float>({4, side, side}, 2);  // of columns
    Tensor<float> W({pixels, pixels});                             // (out, in)
    for (Index o = 0; o < pixels; ++o)
        for (Index i = 0; i < pixels; ++i)
            for (Index k = 0; k < 4; ++k)
                W(o, i) += A(k, o / side, i / side) * B(k, o % side, i % side) / (2 * side);
    auto X = mpo::normal_tensor<float>({count, pixels}, seed);
    auto Y = mpo::normal_tensor<float>({count, pixels}, seed + 1);  // the noise
    cpu.gemm(1.0f, as_matrix(X.view()), transpose(as_matrix(W.view())), noise, as_matrix(Y.view()));
    return {std::move(X), std::move(Y)};
}

[[nodiscard]] Tensor<float> normal(mpo::Shape shape, std::uint64_t seed, double deviation) {
    auto numbers = mpo::normal_tensor<float>(std::move(shape), seed);
    for (Index n = 0; n < numbers.size(); ++n) numbers.data()[n] *= static_cast<float>(deviation);
    return numbers;
}
/// Independent normal cores (D, o, i, D') that make a W with elements of variance 1 / in.
[[nodiscard]] mpo::Mpo<float> random_chain(const mpo::Layout& layout, Index bond) {
    const double deviation = std::pow(bond * cols(layout), -0.25);
    return mpo::Mpo<float>({normal({1, layout.out[0], layout.in[0], bond}, 10, deviation),
                            normal({bond, layout.out[1], layout.in[1], 1}, 11, deviation)});
}

/// norm(layer(X) - Y)^2 / norm(Y)^2; dY becomes the gradient of norm(layer(X) - Y)^2 / B.
double loss_of(const Layer& layer, const Pairs& pairs, Tensor<float>& dY, Layer::Tape& tape) {
    layer.apply(pairs.X, dY, tape);
    double lost = 0, total = 0;
    for (Index n = 0; n < dY.size(); ++n) {
        const float y = pairs.Y.data()[n], difference = dY.data()[n] - y;
        lost += double{difference} * difference;
        total += double{y} * y;
        dY.data()[n] = 2 * difference / static_cast<float>(pairs.X.extent(0));
    }
    return lost / total;
}

/// Trains a weight of any form; returns the loss on other pairs, which have no noise.
double train(mpo::LinearWeight<float> weight) {
    const auto training = ask_teacher(512, 0.3f, 100), other = ask_teacher(512, 0, 200);
    Layer layer(std::move(weight), {.rows = 512, .parts = mpo::TrainedParts::all()}, cpu);
    mpo::Parameters<float> parameters;
    layer.list(parameters);
    mpo::AdamW<float> adam(parameters, {{5e-3, 20, mpo::LearningRateDecay::cosine}, 400});
    Tensor<float> dY(training.Y.shape()), dX(training.X.shape());
    Layer::Tape tape;
    const double before = loss_of(layer, other, dY, tape);
    for (int step = 0; step < 400; ++step) {
        const double loss = loss_of(layer, training, dY, tape);
        parameters.clear_gradients();
        layer.gradient(training.X, dY, dX, tape);
        adam.step({.loss = loss});
        layer.refresh();
    }
    const double after = loss_of(layer, other, dY, tape);
    std::cout << std::left << std::setw(16) << layer.name() << std::right << std::setw(10)
              << parameters.num_values() << std::fixed << std::setprecision(4) << std::setw(13)
              << before << std::setw(18) << after << '\n';
    return after;
}

}  // namespace

int main() {
    std::cout << "layer 256x256   parameters  loss before   after 400 steps\n";
    const double chain = train({"MPO, bond 4", random_chain({{side, side}, {side, side}}, 4), {}});
    const double low_rank =
        train({"low rank 4", random_chain(mpo::low_rank_layout(pixels, pixels), 4), {}});
    const double dense = train({"dense", normal({pixels, pixels}, 10, 1.0 / side), {}});
    return chain < 0.01 && chain < dense && dense < low_rank ? 0 : 1;
}

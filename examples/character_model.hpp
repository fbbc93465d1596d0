// The model of 08_train_a_small_language_model.cpp, characters as tokens and a decoder of random numbers, and how
// it is trained.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/random.hpp"
#include "mpo/core/stopwatch.hpp"
#include "mpo/model/head_loss.hpp"
#include "mpo/model/optimizer.hpp"
#include "mpo/model/trainable_transformer.hpp"
#include "mpo/network/layout.hpp"

namespace example {

using mpo::Index, mpo::Tensor, mpo::Random;

constexpr mpo::WindowShape batch{8, 128};  // 1024 characters a step

/// Characters as numbers, in the order in which they first occur.
struct Text {
    std::vector<Index> ids;
    Index vocab = 0;

    explicit Text(const std::string& characters) {
        std::vector<Index> id_of(256, -1);
        for (const char c : characters) {
            Index& id = id_of[static_cast<unsigned char>(c)];
            if (id < 0) id = vocab++;
            ids.push_back(id);
        }
    }
};

[[nodiscard]] inline Tensor<float> normal(mpo::Shape shape, double deviation, Random& random) {
    Tensor<float> numbers(std::move(shape));
    random.fill_normal(numbers.data(), numbers.size());
    for (Index n = 0; n < numbers.size(); ++n) numbers.data()[n] *= static_cast<float>(deviation);
    return numbers;
}

/// W (out, in) with elements of variance 1 / in: dense where chi is 0, else an MPO of two sites with the legs of
/// balanced_layout and bond chi.
[[nodiscard]] inline mpo::LinearWeight<float> random_linear(std::string name, Index out, Index in,
                                                            Index chi, Random& random) {
    const auto terms = static_cast<double>(in * (chi > 0 ? chi : 1));  // of an output
    if (chi == 0) return {std::move(name), normal({out, in}, std::pow(terms, -0.5), random), {}};
    const auto legs = mpo::balanced_layout(out, in, 2);
    const double deviation = std::pow(terms, -0.25);
    auto first = normal({1, legs.out[0], legs.in[0], chi}, deviation, random);  // (D, o, i, D')
    auto second = normal({chi, legs.out[1], legs.in[1], 1}, deviation, random);
    return {std::move(name), mpo::Mpo<float>({std::move(first), std::move(second)}), {}};
}

/// Five layers of width 128, four heads that share two of keys and values: a million numbers where all is dense.
[[nodiscard]] inline mpo::TransformerConfig shape_of_model(Index vocab) {
    mpo::TransformerConfig config;
    config.hidden_size = 128;
    config.intermediate_size = 384;
    config.num_layers = 5;
    config.num_heads = 4;
    config.num_kv_heads = 2;
    config.head_dim = 32;
    config.vocab_size = vocab;
    config.max_positions = batch.length;
    config.rms_norm_eps = 1e-5;
    config.rotary = mpo::rotary_frequencies(config.head_dim, 1e4, {});
    config.tied_head = true;
    return config;
}

[[nodiscard]] inline mpo::ModelWeights<float> random_weights(const mpo::TransformerConfig& config,
                                                             Index chi, Random& random) {
    const Index n = config.hidden_size, inner = config.intermediate_size;
    const Index keys = config.num_kv_heads * config.head_dim;
    const Tensor<float> ones({n}, std::vector<float>(static_cast<std::size_t>(n), 1.0f));
    const std::pair<const char*, std::pair<Index, Index>> linears[] = {
        {"self_attn.q_proj", {n, n}},    {"self_attn.k_proj", {keys, n}},
        {"self_attn.v_proj", {keys, n}}, {"self_attn.o_proj", {n, n}},
        {"mlp.gate_proj", {inner, n}},   {"mlp.up_proj", {inner, n}},
        {"mlp.down_proj", {n, inner}}};
    mpo::ModelWeights<float> weights{normal({config.vocab_size, n}, 0.05, random), ones, {}, {}};
    for (Index k = 0; k < config.num_layers; ++k) {
        weights.layers.push_back({ones, ones, {}});
        for (const auto& [name, shape] : linears)
            weights.layers.back().linears.push_back(
                random_linear("model.layers." + std::to_string(k) + "." + name, shape.first,
                              shape.second, chi, random));
    }
    return weights;
}

using Model = mpo::TrainableTransformer<float>;

/// Sums over the windows that begin at these characters; with the gradients of the mean loss where `trains`.
[[nodiscard]] inline mpo::HeadLossSums run(Model& model, const Text& text,
                                           const std::vector<Index>& begins, bool trains,
                                           const mpo::EigenBackend& cpu) {
    std::vector<Index> tokens, next;
    for (const Index begin : begins)
        for (auto t = static_cast<std::size_t>(begin);
             t < static_cast<std::size_t>(begin + batch.length); ++t) {
            tokens.push_back(text.ids[t]);
            next.push_back(text.ids[t + 1]);
        }
    const auto& hidden = model.forward(tokens, batch);
    const mpo::HeadWeight<float> head(as_matrix(model.head().view()));
    const mpo::HeadTargets targets{.next = next};
    const mpo::HeadLossOptions options{.scale = 1.0 / static_cast<double>(batch.rows())};
    if (!trains)
        return mpo::head_loss<float>(as_matrix(hidden.view()), head, targets, options, cpu);
    model.parameters().clear_gradients();
    Tensor<float> dhidden(hidden.shape());
    const auto sums =
        mpo::head_loss<float>(as_matrix(hidden.view()), head, targets, options, cpu,
                              as_matrix(dhidden.view()), as_matrix(model.head_gradient()->view()));
    model.backward(dhidden);
    return sums;
}

/// Where the windows of a batch begin, before `end`.
[[nodiscard]] inline std::vector<Index> random_begins(Index end, Random& random) {
    std::vector<Index> begins;
    for (Index w = 0; w < batch.windows; ++w) begins.push_back(random.below(end - batch.length));
    return begins;
}

/// Up to 128 windows, spread over the text from `begin` on.
[[nodiscard]] inline mpo::HeadLossSums held_out(Model& model, const Text& text, Index begin,
                                                const mpo::EigenBackend& cpu) {
    const Index room = static_cast<Index>(text.ids.size()) - begin - batch.length - 1;
    const Index count = std::min<Index>(128, room / batch.rows() * batch.windows);
    mpo::HeadLossSums sums;
    for (Index first = 0; first < count; first += batch.windows) {
        std::vector<Index> begins;
        for (Index w = first; w < first + batch.windows; ++w)
            begins.push_back(begin + w * room / count);
        sums += run(model, text, begins, false, cpu);
    }
    return sums;
}

/// Sentences of eight words: what follows within a word can be known, which word follows cannot.
[[nodiscard]] inline std::string made_up() {
    const char* words[] = {"the ", "red ", "small ", "cat ", "bridge ", "sees ", "carries ", ". "};
    std::string text;
    for (Random random(1); text.size() < 30000;) text += words[random.below(8)];
    return text;
}

/// What became of one model.
struct Trained {
    Index parameters = 0;
    double accuracy = 0, nats = 0, minutes = 0;
    double training = 0;  // nats of the last tenth of the steps
};
/// The mean of some.
[[nodiscard]] inline Trained mean_of(const std::vector<Trained>& runs) {
    const auto count = static_cast<double>(runs.size());
    Trained mean;
    for (const auto& run : runs) {
        mean.accuracy += run.accuracy / count;
        mean.nats += run.nats / count;
        mean.minutes += run.minutes / count;
    }
    return mean;
}
/// Trains on the first nine tenths of a text, and looks at the rest once.
///
/// peak   of the learning rate
[[nodiscard]] inline Trained train(const Text& text, Index chi, double peak, Index steps,
                                   Index seed, const mpo::EigenBackend& cpu) {
    const double start = mpo::detail::seconds_now();
    const Index end = static_cast<Index>(text.ids.size()) * 9 / 10;
    Random random(static_cast<std::uint64_t>(seed));
    const auto config = shape_of_model(text.vocab);
    const mpo::TrainingOptions options{.rows = batch.rows(), .parts = mpo::TrainedParts::all()};
    Model model(config, random_weights(config, chi, random), options, cpu);
    const mpo::LearningRate rate{peak, steps / 10, mpo::LearningRateDecay::cosine, 0.05};
    mpo::AdamW<float> adam(model.parameters(),
                           {.learning_rate = rate, .total_steps = steps, .clip_norm = 1});
    mpo::HeadLossSums last;
    for (Index step = 0; step < steps; ++step) {
        const auto sums = run(model, text, random_begins(end, random), true, cpu);
        adam.step({.loss = sums.cross_entropy});
        model.refresh();
        if (step >= steps * 9 / 10) last += sums;
    }
    const auto sums = held_out(model, text, end, cpu);
    return {model.parameters().num_values(), static_cast<double>(sums.hits) / sums.weight,
            sums.cross_entropy / sums.weight, (mpo::detail::seconds_now() - start) / 60,
            last.cross_entropy / last.weight};
}

}  // namespace example

#include "mpo/model/trainable_transformer.hpp"

#include <cmath>
#include <cstring>
#include <numeric>

#include "mpo/core/random.hpp"
#include "mpo/model/head_loss.hpp"
#include "mpo/model/transformer.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

template <class To, class From>
[[nodiscard]] Tensor<To> converted(const Tensor<From>& from) {
    Tensor<To> to(from.shape());
    std::transform(from.data(), from.data() + from.size(), to.data(),
                   [](From x) { return static_cast<To>(x); });
    return to;
}

template <class T>
[[nodiscard]] Mpo<T> random_chain(std::vector<Shape> shapes, std::uint64_t seed) {
    std::vector<Tensor<T>> cores;
    Random random(seed);
    for (auto& shape : shapes) {
        Tensor<T> core(shape);
        random.fill_normal(core.data(), core.size());
        const T unit = static_cast<T>(0.8 / std::sqrt(static_cast<double>(shape[0] * shape[2])));
        for (Index k = 0; k < core.size(); ++k) core.data()[k] *= unit;
        cores.push_back(std::move(core));
    }
    return Mpo<T>(std::move(cores));
}

/// The numbers of a tiny decoder in double, as it is stored.
struct DoubleModel {
    TransformerConfig config;
    ModelWeights<double> weights;
};

template <class T>
[[nodiscard]] ModelWeights<T> converted(const ModelWeights<float>& from) {
    ModelWeights<T> to{converted<T>(from.embedding), converted<T>(from.norm), {}, {}};
    for (const auto& layer : from.layers) {
        to.layers.push_back(
            {converted<T>(layer.input_norm), converted<T>(layer.post_attention_norm), {}});
        for (const auto& linear : layer.linears)
            to.layers.back().linears.push_back(
                {linear.name, converted<T>(std::get<0>(linear.weight)), converted<T>(linear.bias)});
    }
    if (from.head) to.head = converted<T>(*from.head);
    return to;
}

[[nodiscard]] DoubleModel double_model(const TinyDecoder& decoder) {
    const TemporaryFolder folder;
    write_decoder(folder / "model", decoder);
    auto [config, weights] = read_model_weights(folder / "model", cpu);
    return {std::move(config), converted<double>(weights)};
}

[[nodiscard]] TrainingOptions trains_all(Index rows) {
    TrainingOptions options;
    options.rows = rows;
    options.parts = TrainedParts::all();
    return options;
}

/// Mean cross-entropy of the tokens behind all positions but the last of each window, and its gradients.
template <class T>
double loss_and_gradients(TrainableTransformer<T>& model, const std::vector<Index>& tokens,
                          const WindowShape& shape) {
    const auto& hidden = model.forward(tokens, shape);
    std::vector<Index> next(tokens.begin() + 1, tokens.end());
    next.push_back(0);
    std::vector<float> weights(tokens.size(), 1.0f);
    for (Index w = 0; w < shape.windows; ++w)
        weights[static_cast<std::size_t>((w + 1) * shape.length - 1)] = 0;
    HeadTargets targets;
    targets.next = next;
    targets.weights = weights;
    const double count = static_cast<double>(shape.windows * (shape.length - 1));
    HeadLossOptions options;
    options.scale = 1 / count;
    Tensor<T> gradient(hidden.shape());
    const HeadWeight<T> head(as_matrix(model.head().view()));
    model.parameters().clear_gradients();
    auto* dW = model.head_gradient();
    const auto sums =
        head_loss<T>(as_matrix(hidden.view()), head, targets, options, cpu,
                     as_matrix(gradient.view()), dW ? as_matrix(dW->view()) : MatrixView<T>{});
    model.backward(gradient);
    return sums.cross_entropy / count;
}

/// |difference quotient - <g, direction>| of every parameter along a random direction, relative to both norms.
void check_differences(TrainableTransformer<double>& model, const std::vector<Index>& tokens,
                       const WindowShape& shape) {
    loss_and_gradients(model, tokens, shape);
    std::vector<std::vector<double>> gradients;
    for (const auto& p : model.parameters().all())
        gradients.emplace_back(p.gradient.begin(), p.gradient.end());
    Random random(7);
    for (std::size_t k = 0; k < gradients.size(); ++k) {
        const auto& parameter = model.parameters().all()[k];
        INFO(parameter.name);
        std::vector<double> direction(parameter.values.size()),
            kept(parameter.values.begin(), parameter.values.end());
        for (auto& d : direction) d = random.normal();
        const auto shifted = [&](double step) {
            for (std::size_t i = 0; i < kept.size(); ++i)
                parameter.values[i] = kept[i] + step * direction[i];
            model.refresh();
            return loss_and_gradients(model, tokens, shape);
        };
        const double h = 1e-5 / std::sqrt(static_cast<double>(kept.size()));
        const double quotient =
            (8 * (shifted(h) - shifted(-h)) - (shifted(2 * h) - shifted(-2 * h))) / (12 * h);
        shifted(0);
        const double expected =
            std::inner_product(direction.begin(), direction.end(), gradients[k].begin(), 0.0);
        const double norm = std::sqrt(std::inner_product(gradients[k].begin(), gradients[k].end(),
                                                         gradients[k].begin(), 0.0));
        CHECK(std::abs(quotient - expected) <= 2e-6 * norm + 1e-9);
    }
}

}  // namespace

TEST_CASE("training: what the head reads is what inference makes of it") {
    for (const auto& decoder : tiny_decoders()) {
        INFO(decoder.name);
        const TemporaryFolder folder;
        write_decoder(folder / "model", decoder);
        const Transformer model(folder / "model", {}, cpu);
        const auto rows = static_cast<Index>(decoder.tokens.size());
        auto cache = model.make_cache(rows);
        const auto expected = model.forward(decoder.tokens, cache);
        auto [config, weights] = read_model_weights(folder / "model", cpu);
        TrainableTransformer<float> trained(config, std::move(weights), trains_all(rows), cpu);
        const auto& hidden = trained.forward(decoder.tokens, {1, rows});
        double difference = 0, scale = 0;
        for (Index k = 0; k < hidden.size(); ++k) {
            difference = (std::max)(
                difference, std::abs(static_cast<double>(hidden.data()[k]) - expected.data()[k]));
            scale = (std::max)(scale, std::abs(static_cast<double>(expected.data()[k])));
        }
        CHECK(difference <= 2e-5 * scale);
    }
}

TEST_CASE("training: gradients of twenty decoders are torch's") {
    const SafetensorsFile oracle(fixture("decoder_gradients.safetensors"));
    for (const auto& decoder : tiny_decoders()) {
        INFO(decoder.name);
        auto [config, weights] = double_model(decoder);
        const auto rows = static_cast<Index>(decoder.tokens.size());
        const TemporaryFolder folder;
        TrainableTransformer<double> model(config, std::move(weights), trains_all(rows), cpu);
        const double loss = loss_and_gradients(model, decoder.tokens, {1, rows});
        CHECK(std::abs(loss - oracle.read<double>(decoder.name + ".loss").data()[0]) <=
              1e-5 * loss);
        CHECK(model.parameters().all().size() == decoder.shapes.size());
        for (const auto& parameter : model.parameters().all()) {
            INFO(parameter.name);
            const auto expected = oracle.read<double>(decoder.name + "." + parameter.name);
            const auto size = static_cast<Index>(parameter.gradient.size());
            double squares = 0;
            for (const double g : parameter.gradient) squares += g * g;
            const double norm = expected.data()[0];
            CHECK(std::abs(std::sqrt(squares) - norm) <= 1e-4 * norm);
            for (int k = 1; k <= 4; ++k) {
                const auto direction = hashed_tensor(std::to_string(k), {1, size}, 0);
                double along = 0;
                for (Index i = 0; i < size; ++i)
                    along += parameter.gradient[static_cast<std::size_t>(i)] *
                             static_cast<double>(direction.data()[i]);
                // what a gradient that does not care for the direction has along it
                const double typical = norm / std::sqrt(static_cast<double>(size));
                CHECK(std::abs(along - expected.data()[k]) <= 1e-4 * typical);
            }
        }
    }
}

TEST_CASE("training: differences of the loss along every array, chains of all kinds among them") {
    for (const char* name : {"group_3", "qwen2", "tied"}) {
        INFO(name);
        const auto decoder = tiny_decoder(name);
        auto [config, weights] = double_model(decoder);
        const Index n = config.hidden_size, inner = config.intermediate_size;
        const Index queries = config.num_heads * config.head_dim;
        auto& linears = weights.layers[0].linears;  // 36 x 36, 32 x 32 or 24 x 24 queries
        linears[0].weight = random_chain<double>({{1, queries, 1, 5}, {5, 1, n, 1}}, 1);
        linears[4].weight = random_chain<double>({{1, inner / 2, 2, 4}, {4, 2, n / 2, 1}}, 2);
        linears[6].weight =
            random_chain<double>({{1, 2, 2, 3}, {3, n / 4, inner / 2, 3}, {3, 2, 1, 1}}, 3);
        auto& last = weights.layers[1].linears;
        last[3].weight = random_chain<double>({{1, 1, queries / 2, 6}, {6, n, 2, 1}}, 4);
        const Index length = 6;
        const std::vector<Index> tokens(decoder.tokens.begin(),
                                        decoder.tokens.begin() + 2 * length);
        TrainableTransformer<double> model(config, std::move(weights), trains_all(2 * length), cpu);
        check_differences(model, tokens, {2, length});
    }
}

TEST_CASE("training: activations made again give the same bits") {
    const auto decoder = tiny_decoder("deep");
    const Index length = 6;
    const std::vector<Index> tokens(decoder.tokens.begin(), decoder.tokens.begin() + 2 * length);
    std::vector<std::vector<double>> gradients;
    for (const Index bytes : {Index{0}, Index{1} << 16, Index{1} << 30}) {
        auto [config, weights] = double_model(decoder);
        auto options = trains_all(2 * length);
        options.max_tape_bytes = bytes;
        TrainableTransformer<double> model(config, std::move(weights), options, cpu);
        loss_and_gradients(model, tokens, {2, length});
        gradients.emplace_back();
        for (const auto& p : model.parameters().all())
            gradients.back().insert(gradients.back().end(), p.gradient.begin(), p.gradient.end());
    }
    CHECK(gradients[0] == gradients[2]);
    CHECK(gradients[1] == gradients[2]);
}

TEST_CASE("training: what is not trained is not listed, and the rest has the same gradient") {
    const auto decoder = tiny_decoder("group_3");
    const auto rows = static_cast<Index>(decoder.tokens.size());
    auto everything = double_model(decoder), norms = double_model(decoder);
    TrainableTransformer<double> all(everything.config, std::move(everything.weights),
                                     trains_all(rows), cpu);
    TrainingOptions options;
    options.rows = rows;
    TrainableTransformer<double> some(norms.config, std::move(norms.weights), options, cpu);
    loss_and_gradients(all, decoder.tokens, {1, rows});
    loss_and_gradients(some, decoder.tokens, {1, rows});
    CHECK(some.head_gradient() == nullptr);
    REQUIRE(some.parameters().all().size() == 5);  // no chain is there, and no bias
    for (const auto& parameter : some.parameters().all())
        for (const auto& other : all.parameters().all())
            if (other.name == parameter.name)
                CHECK(std::equal(other.gradient.begin(), other.gradient.end(),
                                 parameter.gradient.begin(), parameter.gradient.end()));
}

TEST_CASE("training: what does not fit is refused") {
    const auto decoder = tiny_decoder("group_3");
    auto read = double_model(decoder);
    const auto& config = read.config;
    auto& weights = read.weights;
    auto short_of_a_layer = weights;
    short_of_a_layer.layers.pop_back();
    check_throws<ShapeError>(
        [&] { TrainableTransformer<double>(config, short_of_a_layer, trains_all(4), cpu); },
        {"2 layers, got", "and 1"});
    auto exchanged = weights;
    std::swap(exchanged.layers[1].linears[0], exchanged.layers[1].linears[1]);
    check_throws<ShapeError>(
        [&] { TrainableTransformer<double>(config, exchanged, trains_all(4), cpu); },
        {"k_proj must be 36 x 36, got 12 x 36"});
    TrainableTransformer<double> model(config, std::move(weights), trains_all(4), cpu);
    check_throws<ShapeError>(
        [&] {
            model.forward(std::vector<Index>{1, 2}, {1, 2});
        },
        {"need 4 tokens in windows, got 2"});
    check_throws<ArgumentError>(
        [&] {
            model.forward(std::vector<Index>{1, 2, 3, 32}, {2, 2});
        },
        {"token 3 is 32, the vocabulary has 32"});
    check_throws<ShapeError>(
        [&] {
            model.backward(Tensor<double>({4, 36}));
        },
        {"need a gradient of shape"});
}

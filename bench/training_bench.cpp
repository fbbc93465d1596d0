// Steps of training at SmolLM2-135M's shape with random weights, 4 windows of 512 tokens: one layer, as the block
// stage of healing takes it, and the whole model, dense against MPOs and low rank.
//
// Dense trains all seven weights of a layer, an MPO its cores; norms are trained in both, embedding and head are
// frozen in both. A step is forward, loss, backward, AdamW and what an MPO has to pack anew. Activations are kept for
// all layers in both, nothing is made twice.
//
// Beside each ratio stands its ceiling: multiply-adds of the dense step over those of the other, both with attention
// and head. Counted are products: three of a linear (forward, dX, dW), 2 of attention's forward way and 5 of its
// way back, two of the frozen head. Norms, gates, the loss and AdamW are not counted, and cost time.
#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/random.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/head_loss.hpp"
#include "mpo/model/heal_flow.hpp"
#include "mpo/model/optimizer.hpp"
#include "mpo/model/trainable_transformer.hpp"
#include "mpo/network/layout_search.hpp"
#include "support/counting_new.hpp"
#include "support/matrices.hpp"
#include "support/probe.hpp"
#include "support/program.hpp"
#include "support/smollm2.hpp"

namespace {

using namespace mpo;
using bench::Bar;
using bench::Comparison;
using bench::Interval;
using bench::median;
using bench::median_interval;
using bench::Options;
using bench::ratios;
using bench::Row;

const EigenBackend backend;

[[nodiscard]] WindowShape windows(const Options& options) {
    return {options.shape(4, 1), 512};
}

/// How the linears of the layers are made.
struct Form {
    std::string name = "dense";
    Index opposed = 0;      // legs (m / f, f) x (f, n / f); 1: low rank; 0: balanced, two sites
    double parameters = 1;  // largest share, of numbers as gauge-fixed storage keeps them
    double multiply_adds = 1e9;  // largest share, of the cheaper sweep
    bool dense = false;
};

[[nodiscard]] LinearWeight<float> make_linear(std::string name, Index rows, Index cols,
                                              const Form& form) {
    static std::uint64_t seed = 1;
    const float unit = 1 / std::sqrt(static_cast<float>(cols));
    if (form.dense) {
        auto W = normal_tensor<float>({rows, cols}, seed++);
        for (Index k = 0; k < W.size(); ++k) W.data()[k] *= unit;
        return {std::move(name), std::move(W), {}};
    }
    const auto numbers = static_cast<double>(rows * cols);
    const Layout layout = form.opposed == 0   ? balanced_layout(rows, cols, 2)
                          : form.opposed == 1 ? low_rank_layout(rows, cols)
                                              : opposed_layout(rows, cols, form.opposed).value();
    LayoutLimits limits;
    limits.max_parameters = static_cast<Index>(form.parameters * numbers);
    limits.max_multiply_adds = static_cast<Index>(form.multiply_adds * numbers);
    limits.stored_as = StoredAs::gauge_fixed;
    auto cores = bench::random_mpo(layout, price_layout(layout, limits).bonds, seed++).cores();
    for (Index k = 0; k < cores[0].size(); ++k) cores[0].data()[k] *= unit;
    return {std::move(name), Mpo<float>(std::move(cores)), {}};
}

[[nodiscard]] LayerWeights<float> make_layer(const TransformerConfig& config, const Form& form) {
    const Index hidden = config.hidden_size, inner = config.intermediate_size;
    const Index keys = config.num_kv_heads * config.head_dim;
    const Tensor<float> ones({hidden}, std::vector<float>(static_cast<std::size_t>(hidden), 1.0f));
    LayerWeights<float> layer{ones, ones, {}};
    const auto add = [&](const char* name, Index rows, Index cols) {
        layer.linears.push_back(make_linear(name, rows, cols, form));
    };
    add("q", hidden, hidden), add("k", keys, hidden), add("v", keys, hidden);
    add("o", hidden, hidden), add("gate", inner, hidden), add("up", inner, hidden);
    add("down", hidden, inner);
    return layer;
}

[[nodiscard]] TrainingOptions training_options(const Options& options) {
    TrainingOptions training;
    training.rows = windows(options).rows();
    training.max_tape_bytes = Index{1} << 40;  // all layers
    training.parts.weights = true;
    return training;
}

/// Flops of one layer's step: of its linears, and of attention.
[[nodiscard]] double layer_flops(const TransformerConfig& config,
                                 const std::vector<TrainableLinear<float>>& linears,
                                 const WindowShape& shape) {
    double multiply_adds = 0;
    for (const auto& linear : linears)
        multiply_adds += linear.plan() ? linear.plan()->choice().multiply_adds
                                       : static_cast<double>(linear.rows() * linear.cols());
    const auto length = static_cast<double>(shape.length);
    const double pairs = static_cast<double>(shape.windows) * length * (length + 1) / 2;
    return 6 * multiply_adds * static_cast<double>(shape.rows()) +
           14 * pairs * static_cast<double>(config.num_heads * config.head_dim);
}

/// A layer that is brought nearer to given outputs.
class BlockStep {
  public:
    BlockStep(const Options& options, const Form& form)
        : config_(bench::smollm2(options, 4)),
          shape_(windows(options)),
          layer_("", make_layer(config_, form), config_, training_options(options), backend),
          angles_(config_.rotary, 0, shape_.length),
          x_(normal_tensor<float>({shape_.rows(), config_.hidden_size}, 1)),
          target_(normal_tensor<float>(x_.shape(), 2)),
          y_(x_.shape()),
          flowing_(x_.shape()),
          tape_(config_, shape_.rows()),
          gradients_(config_, shape_.rows()) {
        layer_.list(parameters_);
        adam_.emplace(parameters_, AdamWOptions{.learning_rate = {.peak = 1e-6}, .clip_norm = 1});
        const auto rows = static_cast<std::size_t>(shape_.rows());
        weights_ = {std::vector<float>(rows, 1.0f / static_cast<float>(x_.size())),
                    std::vector<float>(rows, 0.0f), std::vector<float>(rows, 1e9f)};
    }
    void run() {
        parameters_.clear_gradients();
        layer_.apply(shape_, angles_, x_, y_, tape_);
        const auto loss = detail::block_loss(y_, target_, weights_, 0, &flowing_);
        layer_.gradient(shape_, angles_, x_, tape_, gradients_, flowing_);
        adam_->step({.loss = loss.ordinary});
        layer_.refresh();
    }
    [[nodiscard]] double flops() const { return layer_flops(config_, layer_.linears(), shape_); }
    [[nodiscard]] Index num_parameters() const { return parameters_.num_values(); }

  private:
    TransformerConfig config_;
    WindowShape shape_;
    TrainableBlock<float> layer_;
    RotaryAngles<float> angles_;
    Tensor<float> x_, target_, y_, flowing_;
    BlockTape<float> tape_;
    BlockGradients<float> gradients_;
    detail::RowWeights weights_;
    Parameters<float> parameters_;
    std::optional<AdamW<float>> adam_;
};

/// The whole model, which learns to say some tokens.
class ModelStep {
  public:
    ModelStep(const Options& options, const Form& form)
        : shape_(windows(options)),
          model_(bench::smollm2(options, 4), make_weights(options, form), training_options(options),
                 backend),
          head_(as_matrix(model_.head().view()), backend),
          dhidden_({shape_.rows(), model_.config().hidden_size}),
          adam_(model_.parameters(),
                AdamWOptions{.learning_rate = {.peak = 1e-6}, .clip_norm = 1}) {
        for (Index k = 0; k < shape_.rows(); ++k) {
            tokens_.push_back(k * 7919 % model_.config().vocab_size);
            next_.push_back((k + 1) * 7919 % model_.config().vocab_size);
        }
    }
    void run() {
        model_.parameters().clear_gradients();
        const auto& hidden = model_.forward(tokens_, shape_);
        const HeadTargets targets{.next = next_};
        const HeadLossOptions options{.scale = 1 / static_cast<double>(shape_.rows())};
        const auto sums = head_loss<float>(as_matrix(hidden.view()), head_, targets, options,
                                           backend, as_matrix(dhidden_.view()));
        model_.backward(dhidden_);
        adam_.step({.loss = sums.cross_entropy});
        model_.refresh();
    }
    [[nodiscard]] double flops() {
        const auto& config = model_.config();
        double flops =
            4 * static_cast<double>(shape_.rows() * config.vocab_size * config.hidden_size);
        for (const auto& layer : model_.layers())
            flops += layer_flops(config, layer.linears(), shape_);
        return flops;
    }
    [[nodiscard]] Index num_parameters() const { return model_.parameters().num_values(); }

  private:
    [[nodiscard]] static ModelWeights<float> make_weights(const Options& options,
                                                          const Form& form) {
        const auto config = bench::smollm2(options, 4);
        ModelWeights<float> weights;
        weights.embedding = normal_tensor<float>({config.vocab_size, config.hidden_size}, 3);
        for (Index k = 0; k < weights.embedding.size(); ++k) weights.embedding.data()[k] *= 0.04f;
        weights.norm = Tensor<float>({config.hidden_size}, std::vector<float>(576, 1.0f));
        for (Index k = 0; k < config.num_layers; ++k) {
            weights.layers.push_back(make_layer(config, form));
            for (auto& linear : weights.layers.back().linears)
                linear.name = detail::concat("layers.", k, ".", linear.name);
        }
        return weights;
    }

    WindowShape shape_;
    TrainableTransformer<float> model_;
    HeadWeight<float> head_;
    Tensor<float> dhidden_;
    AdamW<float> adam_;
    std::vector<Index> tokens_, next_;
};

const Form dense_form{.dense = true};

/// Bytes that a step holds at most, all that it is made of included.
template <class Step>
[[nodiscard]] double peak_of(const Options& options, const Form& form) {
    const std::size_t before = bench::live_bytes();
    bench::reset_peak();
    Step step(options, form);
    step.run();
    step.run();
    return static_cast<double>(bench::peak_bytes() - before);
}

/// What a form is measured against.
struct Bars {
    Bar* speed = nullptr;
    Bar* memory = nullptr;
};

/// Steps of a form and of the dense weights in turns.
template <class Step>
[[nodiscard]] Row step_row(const Form& form, const Bars& bars, int rounds, const Options& options) {
    set_num_threads(options.threads);
    const double dense_peak = peak_of<Step>(options, dense_form),
                 peak = peak_of<Step>(options, form);
    Step dense(options, dense_form), small(options, form);
    const auto seconds = bench::interleave(
        {.rounds = rounds}, {{.run = [&] { small.run(); }}, {.run = [&] { dense.run(); }}});
    Row row{.seconds = median(seconds[0]), .flops = small.flops(), .threads = options.threads};
    row.ratio = median_interval(ratios(seconds[1], seconds[0]));
    const double ceiling = dense.flops() / small.flops();
    row.counters["dense_ms"] = 1e3 * median(seconds[1]);
    row.counters["ceiling"] = ceiling;
    row.counters["parameters"] = static_cast<double>(small.num_parameters());
    row.counters["dense_parameters"] = static_cast<double>(dense.num_parameters());
    row.counters["peak_MB"] = 1e-6 * peak;
    row.counters["dense_peak_MB"] = 1e-6 * dense_peak;
    row.label = "ratio: speed to the dense step";
    row.bars = {bars.speed, bars.memory};
    char note[64];
    std::snprintf(note, sizeof note, "ceiling by multiply-adds %.2f", ceiling);
    bars.speed->measured(row.ratio, note);
    const double share = peak / dense_peak;
    bars.memory->measured({share, share, share});
    return row;
}

template <class Step>
void declare_form(const std::string& group, const Form& form, double limit, int rounds,
                  const Options& options) {
    const std::string name = group + " " + form.name;
    const Bars bars{&bench::declare_bar({.name = "training " + name + " speed",
                                         .limit = limit,
                                         .what = "speed / the dense fine-tuning step, float"}),
                    &bench::declare_bar({.name = "training " + name + " memory",
                                         .comparison = Comparison::at_most,
                                         .limit = 1,
                                         .what = "peak bytes / the dense fine-tuning step's"})};
    bench::add_row("training/" + group + "/" + form.name, options,
                   [=, &options] { return step_row<Step>(form, bars, rounds, options); });
}

/// The dense step alone: what a peer is compared with.
template <class Step>
[[nodiscard]] Row dense_row(int rounds, const Options& options) {
    set_num_threads(options.threads);
    Step step(options, dense_form);
    const bench::FmaProbe<float> probe;
    const auto seconds = bench::interleave(
        {.rounds = rounds}, {{.run = [&] { step.run(); }}, {.run = [&] { probe.run(); }}});
    Row row{.seconds = median(seconds[0]), .flops = step.flops(), .threads = options.threads};
    row.ratio = median_interval(ratios(seconds[1], seconds[0]));
    const double scale = row.flops / probe.flops(options.threads);
    for (double* x : {&row.ratio.median, &row.ratio.low, &row.ratio.high}) *x *= scale;
    row.counters["tokens_per_s"] = static_cast<double>(windows(options).rows()) / row.seconds;
    row.label = "ratio: share of the FMA rate";
    return row;
}

void declare_rows(const Options& options) {
    constexpr int rounds = 5;  // a step of the whole model takes seconds
    bench::add_row("training/block/dense", options,
                   [&options] { return dense_row<BlockStep>(9, options); });
    const Form low_rank{.name = "low_rank_0.3", .opposed = 1, .parameters = 0.3};
    Form bounded{.name = "opposed_2_0.3_flops_0.4", .opposed = 2, .parameters = 0.3};
    bounded.multiply_adds = 0.4;
    const Form tight{.name = "opposed_2_flops_0.3", .opposed = 2, .multiply_adds = 0.3};
    const Form tight_low_rank{.name = "low_rank_flops_0.3", .opposed = 1, .multiply_adds = 0.3};
    for (const Form& form : {low_rank, bounded, tight_low_rank, tight})
        declare_form<BlockStep>("block", form, 2, 9, options);
    // as many parameters, and no bound on multiply-adds: 0.64 of dense's with f = 2, about dense's with the others
    const Form unbounded[] = {{.name = "opposed_2_0.3", .opposed = 2, .parameters = 0.3},
                              {.name = "opposed_4_0.3", .opposed = 4, .parameters = 0.3},
                              {.name = "balanced_0.3", .opposed = 0, .parameters = 0.3}};
    for (const Form& form : unbounded) declare_form<BlockStep>("block", form, 1 / 1.3, 9, options);
    bench::add_row("training/model/dense", options,
                   [=, &options] { return dense_row<ModelStep>(rounds, options); });
    for (const Form& form :
         {Form{.name = "low_rank_flops_0.4", .opposed = 1, .multiply_adds = 0.4},
          Form{.name = "opposed_2_flops_0.4", .opposed = 2, .multiply_adds = 0.4}})
        declare_form<ModelStep>("model", form, 1.5, rounds, options);
    for (const Form& form : unbounded)
        declare_form<ModelStep>("model", form, 1 / 1.3, rounds, options);
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}

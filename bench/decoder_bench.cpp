// A decoder of SmolLM2-135M's shape with random weights: prefill against the FMA rate, decoding against the
// speed at which as many bytes can be read, and compressed linears against dense ones.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/transformer.hpp"
#include "mpo/network/layout_search.hpp"
#include "support/decoding.hpp"
#include "support/matrices.hpp"
#include "support/probe.hpp"
#include "support/program.hpp"
#include "support/read_probe.hpp"
#include "support/smollm2.hpp"

namespace {

using namespace mpo;
using bench::Bar;
using bench::median_interval;
using bench::Options;
using bench::ratios;
using bench::Row;

const EigenBackend backend;

/// Numbers in [-1, 1) / sqrt(columns), good enough to be multiplied.
[[nodiscard]] Tensor<float> weight(Index rows, Index cols) {
    static std::uint32_t state = 1;
    Tensor<float> W({rows, cols});
    const float unit = 1 / (8388608 * std::sqrt(static_cast<float>(cols)));
    for (Index k = 0; k < W.size(); ++k) {
        state = state * 1664525 + 1013904223;
        W.data()[k] = static_cast<float>(static_cast<std::int32_t>(state) >> 8) * unit;
    }
    return W;
}

/// How the linears of the layers are made: dense, or as MPOs of that share of the parameters.
struct Forms {
    WeightStorage storage = WeightStorage::f32;
    double budget = 1;  // below 1: MPOs
    Index opposed = 1;  // legs (m / f, f) x (f, n / f); 1: low rank
    /// What `mpo compress --calibrate --max-flops-ratio 1` chooses for the most part: low rank, but for wide
    /// matrices in legs cut in two; gauge-fixed storage, at most dense's multiply-adds.
    bool as_chosen = false;
    DenseCache dense_cache = DenseCache::forbid;
};

[[nodiscard]] Linear make_linear(Index rows, Index cols, const Forms& forms) {
    LinearOptions options;
    options.dense_storage = forms.storage;
    options.dense_cache = forms.dense_cache;
    if (forms.budget >= 1) {
        const auto W = weight(rows, cols);
        return Linear("linear", matrix(W.data(), rows, cols), {}, options, backend);
    }
    LayoutLimits limits;
    limits.max_parameters = static_cast<Index>(forms.budget * static_cast<double>(rows * cols));
    if (forms.as_chosen) {
        limits.max_multiply_adds = rows * cols;
        limits.stored_as = StoredAs::gauge_fixed;
    }
    const Layout layout = forms.as_chosen && rows < cols ? Layout{{1, rows}, {cols / 2, 2}}
                          : forms.opposed == 1           ? low_rank_layout(rows, cols)
                                               : opposed_layout(rows, cols, forms.opposed).value();
    return Linear("linear", bench::random_mpo(layout, price_layout(layout, limits).bonds, 1), {},
                  options, backend);
}

[[nodiscard]] Transformer make_model(const Options& options, const Forms& forms) {
    const auto config = bench::smollm2(options, 6);
    const Index hidden = config.hidden_size, inner = config.intermediate_size;
    const Index keys = config.num_kv_heads * config.head_dim;
    const auto ones = [&] { return Tensor<float>({hidden}, std::vector<float>(576, 1.0f)); };
    TransformerWeights weights;
    {
        const auto E = weight(config.vocab_size, hidden);
        weights.embedding =
            WeightPanels(matrix(E.data(), config.vocab_size, hidden), forms.storage);
    }
    weights.norm = ones();
    for (Index k = 0; k < config.num_layers; ++k)
        weights.layers.push_back(
            {ones(), ones(), make_linear(hidden, hidden, forms), make_linear(keys, hidden, forms),
             make_linear(keys, hidden, forms), make_linear(hidden, hidden, forms),
             make_linear(inner, hidden, forms), make_linear(inner, hidden, forms),
             make_linear(hidden, inner, forms)});
    return Transformer(config, std::move(weights), {}, backend);
}

/// Flops of the linears and of attention for the tokens first .. first + count - 1.
[[nodiscard]] double layer_flops(const TransformerConfig& config, Index first, Index count) {
    const double hidden = static_cast<double>(config.hidden_size);
    const double queries = static_cast<double>(config.num_heads * config.head_dim);
    const double keys = static_cast<double>(config.num_kv_heads * config.head_dim);
    const double weights =
        hidden * (2 * queries + 2 * keys + 3 * static_cast<double>(config.intermediate_size));
    double pairs = 0;
    for (Index p = first; p < first + count; ++p) pairs += static_cast<double>(p + 1);
    return static_cast<double>(config.num_layers) *
           (2 * weights * static_cast<double>(count) + 4 * queries * pairs);
}

[[nodiscard]] Row prefill_row(Index count, Bar& bar, const Options& options) {
    set_num_threads(options.threads);
    const auto model = make_model(options, {});
    const auto tokens = bench::some_tokens(count, model.config().vocab_size);
    auto cache = model.make_cache(count);
    Tensor<float> hidden({count, model.config().hidden_size});
    Tensor<float> logits({64, model.config().vocab_size});
    const auto layers = [&] {
        cache.truncate(0);
        model.forward(tokens, cache, detail::rows_of(hidden));
    };
    const auto head = [&] { bench::run_head(model, hidden, logits); };
    const bench::FmaProbe<float> probe;
    const auto seconds = bench::interleave(
        {.rounds = 5}, {{.run = layers}, {.run = [&] { probe.run(); }}, {.run = head}});
    Row row{.seconds = bench::median(seconds[0]),
            .flops = layer_flops(model.config(), 0, count),
            .threads = options.threads};
    row.ratio = median_interval(ratios(seconds[1], seconds[0]));
    const double scale = row.flops / probe.flops(options.threads);
    for (double* x : {&row.ratio.median, &row.ratio.low, &row.ratio.high}) *x *= scale;
    const double both = row.seconds + bench::median(seconds[2]);
    row.counters["tokens_per_s"] = static_cast<double>(count) / row.seconds;
    row.counters["tokens_per_s_with_head"] = static_cast<double>(count) / both;
    row.label = "ratio: share of the FMA rate, head not included";
    row.bars = {&bar};
    bar.measured(row.ratio);
    return row;
}

/// One token behind `context` others; every byte of the weights is read once.
[[nodiscard]] Row decode_row(Index context, WeightStorage storage, Bar* bar,
                             const Options& options) {
    set_num_threads(options.threads);
    const auto model = make_model(options, {.storage = storage});
    auto cache = model.make_cache(context + 1);
    const auto tokens = bench::some_tokens(context + 1, model.config().vocab_size);
    const std::span<const Index> all(tokens);
    if (context > 0) (void)model.forward(all.first(static_cast<std::size_t>(context)), cache);
    Tensor<float> hidden({1, model.config().hidden_size}), logits({1, model.config().vocab_size});
    const auto token = [&] {
        model.forward(all.last(1), cache, detail::rows_of(hidden));
        model.logits(detail::rows_of(hidden), detail::rows_of(logits));
        cache.truncate(context);
    };
    const bench::ReadProbe probe(model.dense_bytes());
    const auto seconds =
        bench::interleave({.rounds = 21}, {{.run = token}, {.run = [&] { probe.run(); }}});
    Row row{.seconds = bench::median(seconds[0]),
            .bytes = static_cast<double>(model.dense_bytes()),
            .threads = options.threads};
    row.ratio = median_interval(ratios(seconds[1], seconds[0]));
    row.counters["tokens_per_s"] = 1 / row.seconds;
    row.counters["read_GB_per_s"] = 1e-9 * row.bytes / bench::median(seconds[1]);
    row.label = "ratio: share of the speed at which an array of the weights' size is read";
    if (bar) {
        row.bars = {bar};
        bar->measured(row.ratio);
    }
    return row;
}

/// `batch` tokens through the layers, compressed and dense.
[[nodiscard]] Row compressed_row(Index batch, const Forms& forms, Bar* bar,
                                 const Options& options) {
    set_num_threads(options.threads);
    const auto dense = make_model(options, {}), small = make_model(options, forms);
    const auto tokens = bench::some_tokens(batch, dense.config().vocab_size);
    auto cache = dense.make_cache(batch);
    Tensor<float> hidden({batch, dense.config().hidden_size});
    const auto side = [&](const Transformer& model) {
        return bench::Side{.run = [&] {
            cache.truncate(0);
            model.forward(tokens, cache, detail::rows_of(hidden));
        }};
    };
    const auto seconds = bench::interleave({.rounds = 9}, {side(small), side(dense)});
    Row row{.seconds = bench::median(seconds[0]), .threads = options.threads};
    row.ratio = median_interval(ratios(seconds[1], seconds[0]));
    row.counters["dense_ms"] = 1e3 * bench::median(seconds[1]);
    row.label = "ratio: speed to the dense layers";
    if (bar) {
        row.bars = {bar};
        bar->measured(row.ratio);
    }
    return row;
}

void declare_compressed(const std::string& name, const Forms& forms, bool barred,
                        const Options& options) {
    for (const Index batch : {1, 32, 512}) {
        const std::string row = detail::concat(name, "/", batch);
        Bar* bar =
            barred
                ? &bench::declare_bar(
                      {.name = "decoder " + row, .limit = 1, .what = "speed / dense layers, float"})
                : nullptr;
        bench::add_row("decoder/" + row, options,
                       [=, &options] { return compressed_row(batch, forms, bar, options); });
    }
}

void declare_rows(const Options& options) {
    const Index tokens = options.shape(2048, 512);
    Bar& prefill = bench::declare_bar(
        {.name = "decoder prefill", .limit = 0.60, .what = "linears and attention / FMA rate"});
    bench::add_row(detail::concat("decoder/prefill/", tokens), options,
                   [=, &prefill, &options] { return prefill_row(tokens, prefill, options); });
    for (const auto storage : {WeightStorage::f32, WeightStorage::bf16}) {
        const std::string name = storage == WeightStorage::f32 ? "f32" : "bf16";
        Bar& bar = bench::declare_bar({.name = "decoder decode " + name,
                                       .limit = 0.75,
                                       .what = "bytes of weights / read bandwidth"});
        bench::add_row("decoder/decode/" + name + "/0", options,
                       [=, &bar, &options] { return decode_row(0, storage, &bar, options); });
        bench::add_row("decoder/decode/" + name + "/1024", options,
                       [=, &options] { return decode_row(1024, storage, nullptr, options); });
    }
    declare_compressed("low_rank_0.3", {.budget = 0.3}, true, options);
    declare_compressed("opposed_2_0.3", {.budget = 0.3, .opposed = 2}, true, options);
    declare_compressed("as_chosen_0.6", {.budget = 0.6, .as_chosen = true}, true, options);
    declare_compressed("opposed_8_0.3", {.budget = 0.3, .opposed = 8}, false, options);
    declare_compressed("opposed_8_0.3_cached",
                       {.budget = 0.3, .opposed = 8, .dense_cache = DenseCache::allow}, false,
                       options);
}

}  // namespace

int main(int argc, char** argv) {
    return mpo::bench::run_program(argc, argv, declare_rows);
}

#include "mpo/model/calibration_walk.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "mpo/linalg/truncation.hpp"
#include "mpo/model/transformer.hpp"
#include "mpo/network/decompose.hpp"
#include "support/calibration.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A decoder in a folder, its text in windows of different lengths and weights, and what every linear reads in
/// them according to Transformer.
struct Calibrated {
    explicit Calibrated(const std::string& name, const ChangeTensor& change = {})
        : decoder(tiny_decoder(name)) {
        write_decoder(path, decoder, change);
        windows = windows_of(decoder);
    }
    [[nodiscard]] InputsByLinear inputs() const {
        return observed_inputs(Transformer(path, {}, cpu), windows);
    }
    TemporaryFolder folder;
    std::filesystem::path path = folder / "model";
    TinyDecoder decoder;
    std::vector<CalibrationWindow> windows;
};

/// Token 3 is along e_0, which no other token has a part in; in layer 0 attention adds nothing and the MLP
/// answers e_0 a thousand times louder than anything else: positions of token 3 are sinks behind it.
[[nodiscard]] Tensor<float> with_sink(const std::string& name, Tensor<float> W) {
    const bool embedding = name == "model.embed_tokens.weight";
    for (Index r = 0; embedding && r < W.extent(0); ++r) {
        for (Index i = 0; r == 3 && i < W.extent(1); ++i) W(r, i) = 0;
        W(r, 0) = r == 3 ? 1.0f : 0.0f;
    }
    if (name == "model.layers.0.self_attn.o_proj.weight") return Tensor<float>(W.shape());
    if (name == "model.layers.0.mlp.gate_proj.weight" ||
        name == "model.layers.0.mlp.up_proj.weight")
        for (Index r = 0; r < W.extent(0); ++r) W(r, 0) = 40;
    return W;
}

[[nodiscard]] Linear low_rank_of(const std::string& name, const Tensor<float>& W) {
    const auto found = decompose(
        W, {.layout = low_rank_layout(W.extent(0), W.extent(1)), .truncation = {.max_bond_dim = 6}},
        cpu);
    return Linear(name, found.mpo, {}, {}, cpu);
}

}  // namespace

TEST_CASE("calibration walk: the dense flow is the decoder, and its moments are the plain sums") {
    for (const char* name : {"plain", "group_3", "qwen2", "prime_sizes", "sharded_bf16", "long"}) {
        INFO(name);
        const Calibrated given(name);
        const auto expected = given.inputs();
        CalibrationWalk walk(given.path, given.windows, {}, cpu);
        Index linears = 0;
        for (; !walk.done(); walk.advance()) {
            const auto moments = walk.moments();
            CHECK(moments.linears() == walk.linears());
            CHECK(moments.flows() == MomentFlows::dense);
            CHECK(moments.sinks() == 0);
            const auto S = moments.second_moment(cpu);
            for (const auto& linear : walk.linears()) {
                ++linears;
                const auto& X = expected.at(linear);
                CHECK(moments_apart(S, naive_moment(X, X, given.windows)) < moment_rounding(X));
            }
        }
        CHECK(linears == 7 * walk.config().num_layers);
        CHECK(walk.linears().empty());
        CHECK_FALSE(walk.diverged());
        CHECK(walk.sinks().empty());
        REQUIRE(static_cast<Index>(walk.deviations().size()) == walk.config().num_layers);
        CHECK(walk.deviations().back().ordinary == 0);
        const Transformer model(given.path, {}, cpu);
        const auto norm = Checkpoint(given.path).read<float>("model.norm.weight");
        for (std::size_t w = 0; w < given.windows.size(); ++w) {
            auto x = walk.state(static_cast<Index>(w));
            detail::normalize_rows(detail::rows_of(x), norm, walk.config(), detail::rows_of(x));
            auto cache = model.make_cache(x.extent(0));
            CHECK(same_values(x, model.forward(given.windows[w].tokens, cache)));
        }
    }
}

TEST_CASE("calibration walk: it may pass by stages without their moments") {
    const Calibrated given("group_2");
    CalibrationWalk all(given.path, given.windows, {}, cpu),
        last(given.path, given.windows, {}, cpu);
    for (; !all.done(); all.advance(), last.advance()) {
        const auto moments = all.moments();
        (void)all.moments();  // twice is once
        if (all.layer() + 1 == all.config().num_layers && all.stage() == BlockStage::down)
            CHECK(moments_apart(last.moments().second_moment(cpu), moments.second_moment(cpu)) ==
                  0);
    }
    CHECK(same_values(all.state(0), last.state(0)));
}

TEST_CASE("calibration walk: with replaced linears the second flow is the compressed decoder") {
    for (const char* name : {"group_3", "one_head", "long"}) {
        INFO(name);
        const Calibrated given(name);
        // every linear from the output of layer 0 on but for v; the flows are one before
        const auto replaces = [](const std::string& linear) {
            return linear.find("layers.0.self_attn.q") == std::string::npos &&
                   linear.find("layers.0.self_attn.k") == std::string::npos &&
                   linear.find("v_proj") == std::string::npos;
        };
        TransformerOptions options;
        detail::WeightReader reader(given.path, options, cpu);
        const auto config = transformer_config(reader.checkpoint());
        auto weights = detail::read_weights(reader, config);
        for (auto& layer : weights.layers)
            for (Linear* linear :
                 {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
                if (const std::string module = linear->name(); replaces(module))
                    *linear = low_rank_of(
                        module, reader.read(module + ".weight", {linear->rows(), linear->cols()}));
        const Transformer small(config, std::move(weights), {}, cpu);
        const auto dense = given.inputs(), compressed = observed_inputs(small, given.windows);

        CalibrationWalk walk(given.path, given.windows, {}, cpu);
        for (; !walk.done(); walk.advance()) {
            const bool one = walk.layer() == 0 && walk.stage() == BlockStage::attention;
            const bool diverged =
                !one && !(walk.layer() == 0 && walk.stage() == BlockStage::output);
            const auto moments = walk.moments();
            CHECK(walk.diverged() == diverged);
            CHECK(moments.flows() == (diverged ? MomentFlows::both : MomentFlows::dense));
            for (const auto& linear : walk.linears()) {
                const auto &X = dense.at(linear), &Z = compressed.at(linear);
                INFO(linear);
                const double slack = moment_rounding(X);
                CHECK(moments_apart(moments.second_moment(cpu), naive_moment(X, X, given.windows)) <
                      slack);
                // the flow of Transformer is rounded the same way, but a chain of few tokens need not be
                const double loose = tolerance<float>(X[0].extent(1) * config.num_layers, 8);
                CHECK(moments_apart(moments.compressed_moment(cpu),
                                    naive_moment(Z, Z, given.windows)) < loose);
                CHECK(moments_apart(moments.cross_moment(cpu), naive_moment(X, Z, given.windows)) <
                      loose);
                if (replaces(linear)) walk.replace(low_rank_of(linear, walk.weight(linear)));
            }
        }
        const auto norm = Checkpoint(given.path).read<float>("model.norm.weight");
        double lost = 0, total = 0;
        for (std::size_t w = 0; w < given.windows.size(); ++w) {
            auto x = walk.compressed_state(static_cast<Index>(w));
            const auto& y = walk.state(static_cast<Index>(w));
            for (Index k = 0; k < x.size(); ++k) {
                const double a = x.data()[k], b = y.data()[k];
                lost += (a - b) * (a - b);
                total += b * b;
            }
            detail::normalize_rows(detail::rows_of(x), norm, config, detail::rows_of(x));
            auto cache = small.make_cache(x.extent(0));
            CHECK(same_values(x, small.forward(given.windows[w].tokens, cache)));
        }
        CHECK(lost > 0);
        CHECK(std::abs(walk.deviations().back().ordinary / std::sqrt(lost / total) - 1) <
              tolerance<double>(1000, 1));
    }
}

TEST_CASE("calibration walk: two halves of the windows give the whole") {
    const Calibrated given("tied", with_sink);
    const auto middle = given.windows.begin() + 1;
    CalibrationWalk whole(given.path, given.windows, {}, cpu),
        left(given.path, {given.windows.begin(), middle}, {}, cpu),
        right(given.path, {middle, given.windows.end()}, {}, cpu);
    for (; !whole.done(); whole.advance(), left.advance(), right.advance()) {
        auto sum = left.moments();
        sum.merge(right.moments());
        const auto all = whole.moments();
        CHECK(sum.tokens() == all.tokens());
        CHECK(sum.sinks() == all.sinks());
        CHECK(moments_apart(sum.second_moment(cpu), all.second_moment(cpu)) <
              tolerance<double>(all.tokens(), 1));
    }
    CHECK_FALSE(whole.sinks().empty());
    CHECK(left.sinks().size() + right.sinks().size() == whole.sinks().size());
}

TEST_CASE(
    "calibration walk: sinks are found where they appear, and have the weight that was promised") {
    const Calibrated given("group_3", with_sink);
    const auto dense = given.inputs();
    CalibrationOptions options;
    options.reader_sink_weight = 0.25;
    CalibrationWalk walk(given.path, given.windows, options, cpu);
    std::vector<std::vector<bool>> sinks;  // by window and position
    for (const auto& window : given.windows) {
        sinks.emplace_back();
        for (const Index token : window.tokens) sinks.back().push_back(token == 3);
    }
    Index count = 0;
    for (const auto& window : sinks) count += std::count(window.begin(), window.end(), true);
    REQUIRE(count > 1);
    for (; !walk.done(); walk.advance()) {
        const bool appeared = walk.layer() > 0 || walk.stage() == BlockStage::down;
        const auto moments = walk.moments();
        const std::string name = walk.linears().front();
        INFO(name);
        const auto& X = dense.at(name);
        const bool writes = writes_residual(walk.stage());
        CHECK(moments.sinks() == (writes && appeared ? count : 0));
        const auto W = walk.weight(name);
        const Index n = W.extent(1);
        // plain loops over what Transformer says that the linear reads
        Tensor<double> ordinary({n, n}), guarded({n, n});
        double weight = 0, sink_weight = 0, energy = 0;
        std::vector<Tensor<float>> states;
        for (std::size_t w = 0; w < given.windows.size(); ++w) {
            states.push_back(walk.state(static_cast<Index>(w)));
            for (Index t = 0; t < X[w].extent(0); ++t) {
                const bool sink = appeared && sinks[w][static_cast<std::size_t>(t)];
                const double v = given.windows[w].weight;
                double output = 0, state = 0;
                for (Index o = 0; writes && o < W.extent(0); ++o) {
                    double y = 0;
                    for (Index i = 0; i < n; ++i) y += static_cast<double>(W(o, i)) * X[w](t, i);
                    output += y * y;
                    state += (y + states[w](t, o)) * (y + states[w](t, o));
                }
                const double one = sink && !writes ? v * 0.25 : v;
                for (Index i = 0; i < n; ++i)
                    for (Index j = 0; j < n; ++j) {
                        const double product = static_cast<double>(X[w](t, i)) * X[w](t, j);
                        if (sink && writes)
                            guarded(i, j) += v * product / state;
                        else
                            ordinary(i, j) += one * product;
                    }
                if (sink && writes) {
                    sink_weight += v;
                } else {
                    weight += one;
                    energy += v * output;
                }
            }
        }
        auto M = ordinary;
        for (Index k = 0; k < M.size(); ++k) {
            M.data()[k] /= weight;
            if (sink_weight > 0)
                M.data()[k] += 5 * energy / weight / sink_weight * guarded.data()[k];
        }
        CHECK(moments_apart(moments.second_moment(cpu), M) < tolerance<float>(n, 4));
        CHECK(std::abs(moments.weight() - weight) < tolerance<double>(100, weight));
    }
    REQUIRE(static_cast<Index>(walk.sinks().size()) == count);
    for (const auto& sink : walk.sinks()) {
        CHECK(sink.module() == "model.layers.0.mlp.down_proj");
        CHECK(
            sinks[static_cast<std::size_t>(sink.window)][static_cast<std::size_t>(sink.position)]);
        CHECK(sink.norm > 20 * sink.median);
    }
    CHECK(walk.deviations()[0].sinks == count);
}

TEST_CASE("calibration walk: what a compression did to sinks is told apart from the rest") {
    const Calibrated given("group_3", with_sink);
    CalibrationWalk walk(given.path, given.windows, {}, cpu);
    while (walk.stage() != BlockStage::down) walk.advance();
    const std::string name = walk.linears().front();
    auto W = walk.weight(name);
    for (Index k = 0; k < W.size(); ++k) W.data()[k] *= 0.9f;  // a tenth of every update is lost
    walk.replace(Linear(name, as_matrix(W.view()), {}, {}, cpu));
    walk.advance();
    const auto& deviation = walk.deviations().front();
    CHECK(deviation.sinks > 1);
    CHECK(std::abs(deviation.worst_sink - 0.1) < 1e-3);  // the update is nearly all of the state
    CHECK(deviation.ordinary > 0.01);
    CHECK(deviation.ordinary < 0.099);
}

TEST_CASE("calibration walk: sinks may be there from the embedding on") {
    const Calibrated given("plain", [](const std::string& name, Tensor<float> W) {
        for (Index i = 0; name == "model.embed_tokens.weight" && i < W.extent(1); ++i)
            W(5, i) *= 90;
        return W;
    });
    auto windows = given.windows;
    windows[0].tokens[1] = 5;
    const CalibrationWalk walk(given.path, windows, {}, cpu);
    REQUIRE_FALSE(walk.sinks().empty());
    CHECK(walk.sinks().front().module() == "model.embed_tokens");
    CalibrationOptions blind;
    blind.sink_factor = 1e6;
    CHECK(CalibrationWalk(given.path, windows, blind, cpu).sinks().empty());
}

TEST_CASE("calibration walk: NaN and Inf name linear, window and position") {
    const Calibrated loud("plain", [](const std::string& name, Tensor<float> W) {
        const bool scaled = name == "model.layers.1.mlp.gate_proj.weight" ||
                            name == "model.layers.1.mlp.up_proj.weight";
        for (Index k = 0; scaled && k < W.size(); ++k) W.data()[k] *= 1e25f;
        return W;
    });
    CalibrationWalk walk(loud.path, loud.windows, {}, cpu);
    while (walk.layer() == 0 || walk.stage() != BlockStage::down) walk.advance();
    const std::vector<std::string> says{"window 0", "position 0", "model.layers.1.mlp.down_proj"};
    check_throws<NumericalError>([&] { walk.advance(); }, says);  // without moments, too
    check_throws<NumericalError>([&] { (void)walk.moments(); }, says);
    const Calibrated given("plain");
    CalibrationWalk good(given.path, given.windows, {}, cpu);
    auto W = good.weight("model.layers.0.self_attn.v_proj");
    W.data()[0] = std::numeric_limits<float>::quiet_NaN();
    good.replace(Linear("model.layers.0.self_attn.v_proj", as_matrix(W.view()), {}, {}, cpu));
    good.advance();
    check_throws<NumericalError>([&] { (void)good.moments(); },
                                 {"window 0", "model.layers.0.self_attn.o_proj"});
}

TEST_CASE("calibration walk: bad windows, options and calls are refused") {
    const Calibrated given("plain");
    const auto with = [&](const CalibrationWindow& window) {
        auto windows = given.windows;
        windows.push_back(window);
        const CalibrationWalk walk(given.path, windows, {}, cpu);
    };
    check_throws<ArgumentError>([&] { const CalibrationWalk walk(given.path, {}, {}, cpu); },
                                {"no tokens"});
    const std::string at = "window " + std::to_string(given.windows.size());
    check_throws<ArgumentError>([&] { with({{}, 1}); }, {at, "got 0"});
    check_throws<ArgumentError>([&] { with({{1}, 1}); }, {at, "2 to 512", "got 1"});
    check_throws<ArgumentError>([&] { with({std::vector<Index>(513, 1), 1}); }, {at, "got 513"});
    check_throws<ArgumentError>([&] { with({{1, 40}, 1}); }, {at, "token 1", "is 40"});
    check_throws<ArgumentError>([&] { with({{-1, 1}, 1}); }, {at, "token 0", "is -1"});
    check_throws<ArgumentError>([&] { with({{1, 2}, 0}); }, {at, "weight", "got 0"});
    CalibrationOptions options;
    options.sink_factor = 1;
    check_throws<ArgumentError>(
        [&] { const CalibrationWalk walk(given.path, given.windows, options, cpu); },
        {"sink_factor", "got 1"});
    check_throws<FileError>(
        [&] { const CalibrationWalk walk(given.folder / "none", given.windows, {}, cpu); },
        {"none"});

    CalibrationWalk walk(given.path, given.windows, {}, cpu);
    check_throws<ArgumentError>([&] { (void)walk.weight("model.layers.0.self_attn.o_proj"); },
                                {"model.layers.0.self_attn.o_proj", "no linear of the stage"});
    const Tensor<float> W({32, 31});
    check_throws<ShapeError>(
        [&] {
            walk.replace(
                Linear("model.layers.0.self_attn.q_proj", as_matrix(W.view()), {}, {}, cpu));
        },
        {"model.layers.0.self_attn.q_proj", "32 x 32", "32 x 31"});
    CHECK_FALSE(walk.diverged());
    while (!walk.done()) walk.advance();
    check_throws<ArgumentError>([&] { (void)walk.moments(); }, {"all 2 layers"});
    check_throws<ArgumentError>([&] { walk.advance(); }, {"all 2 layers"});
}

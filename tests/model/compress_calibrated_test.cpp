// Calibrated compression on decoders small enough to do everything again by plain loops: the result is a model, it
// keeps to its budget, its report says what is stored and what that loses, and what goes wrong leaves nothing.
#include "mpo/model/compress_calibrated.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "mpo/model/evaluate.hpp"
#include "mpo/model/reconstruct.hpp"
#include "support/calibration.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"
#include "support/naive.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A tiny decoder, tokens to calibrate it with, and room for results beside it.
struct CalibratedWorkshop {
    explicit CalibratedWorkshop(const std::string& name, const ChangeTensor& change = {})
        : decoder(tiny_decoder(name)) {
        write_decoder(folder / "model", decoder, change);
        calibration.windows = windows_of(decoder);
        calibration.linear.rivals = Rivals::none;
        calibration.linear.fit.max_sweeps = 3;
        options.budget = 0.6;
        options.dtype = DType::f32;
    }
    CompressReport run(const std::string& name = "out") const {
        return compress(Checkpoint(folder / "model"), folder / name, options, calibration, cpu);
    }
    [[nodiscard]] Transformer open(const std::string& name) const {
        TransformerOptions how;
        how.read_mode = ReadMode::buffered;
        return Transformer(folder / name, how, cpu);
    }
    /// What a result says instead of the weight of a module.
    [[nodiscard]] Tensor<float> stored_matrix(const std::string& name,
                                              const std::string& module) const {
        const CompressedCheckpoint stored(folder / name);
        for (const auto& linear : stored.linears())
            if (linear.name == module)
                return naive::narrow<float>(naive::to_dense(stored.read<float>(linear)));
        return stored.checkpoint().read<float>(module + ".weight");
    }
    [[nodiscard]] Tensor<float> weight(const std::string& module) const {
        return Checkpoint(folder / "model").read<float>(module + ".weight");
    }

    TemporaryFolder folder;
    TinyDecoder decoder;
    CompressOptions options;
    CompressCalibration calibration;
};

/// Columns of very different strength: inputs that matter and inputs that do not, as real ones are.
[[nodiscard]] Tensor<float> with_uneven_inputs(const std::string& name, Tensor<float> W) {
    if (name.find("layernorm") != std::string::npos)
        for (Index k = 0; k < W.size(); ++k)
            W.data()[k] *= static_cast<float>(2 * std::pow(0.85, static_cast<double>(k)));
    return W;
}

/// norm(h_c - h_o) / norm(h_o) of the states behind the last norm, over all windows.
[[nodiscard]] double flow_deviation(const CalibratedWorkshop& workshop, const std::string& name) {
    const auto model = workshop.open(name), dense = workshop.open("model");
    double lost = 0, all = 0;
    for (const auto& window : workshop.calibration.windows) {
        const auto tokens = static_cast<Index>(window.tokens.size());
        auto cache = model.make_cache(tokens), dense_cache = dense.make_cache(tokens);
        const auto z = model.forward(window.tokens, cache),
                   x = dense.forward(window.tokens, dense_cache);
        lost += window.weight * std::pow(naive::distance(z, x), 2);
        all += window.weight * std::pow(naive::norm(x), 2);
    }
    return std::sqrt(lost / all);
}

[[nodiscard]] double divergence(const CalibratedWorkshop& workshop, const std::string& name) {
    const auto model = workshop.open(name), dense = workshop.open("model");
    double sum = 0;
    for (const auto& window : workshop.calibration.windows)
        sum += window.weight * compare(model, dense, window.tokens).kld.mean *
               static_cast<double>(window.tokens.size());
    return sum;
}

/// What is written to the folder of a workshop where `call` throws an E: nothing.
template <class E>
void check_refused(const CalibratedWorkshop& workshop, const std::vector<std::string>& pieces) {
    check_throws<E>([&] { (void)workshop.run(); }, pieces);
    CHECK(workshop.folder.names() == std::vector<std::string>{"model"});
}

}  // namespace

TEST_CASE("calibrated compression: the result is a model within its budget") {
    for (const char* name : {"group_3", "qwen2", "prime_sizes", "sharded_bf16"})
        for (const StoredAs stored_as : {StoredAs::gauge_fixed, StoredAs::cores}) {
            CAPTURE(name, stored_as);
            CalibratedWorkshop workshop(name);
            workshop.options.stored_as = stored_as;
            workshop.options.dtype = DType::bf16;
            const auto report = workshop.run();
            const Checkpoint source(workshop.folder / "model");
            REQUIRE(static_cast<Index>(report.linears.size()) ==
                    7 * workshop.decoder.config["num_hidden_layers"].get<Index>());
            const CompressedCheckpoint stored(workshop.folder / "out");
            Index parameters = 0, dense = 0;
            for (const auto& linear : report.linears) {
                CAPTURE(linear.name);
                REQUIRE(linear.calibration);
                const auto& said = *linear.calibration;
                const Index size = num_elements(linear.shape);
                CHECK(static_cast<double>(linear.size.parameters) <= 0.6 * double(size));
                CHECK(linear.size.parameters == num_stored(linear.layout, linear.bonds, stored_as));
                CHECK(linear.stored_as == stored_as);
                CHECK(said.share == 0.6);
                CHECK(said.loss >= 0);
                CHECK(said.loss <= 1);
                CHECK(said.fitted_loss <= said.low_rank_loss * (1 + 1e-9));
                CHECK_FALSE(said.verdict.empty());
                CHECK_FALSE(said.candidates.empty());
                Index bytes = 0;
                for (const auto& one : stored.linears())
                    if (one.name == linear.name)
                        for (const auto& tensor : stored.tensors_of(one))
                            bytes += stored.checkpoint().info(tensor).bytes;
                CHECK(bytes == linear.size.bytes);
                const auto W = workshop.weight(linear.name);
                const double error =
                    naive::distance(workshop.stored_matrix("out", linear.name), W) / naive::norm(W);
                CHECK(linear.relative_error == Approx(error).epsilon(1e-4));
                parameters += linear.size.parameters;
                dense += size;
            }
            CHECK(static_cast<double>(parameters) <= 0.6 * double(dense));
            CHECK(report.bytes == stored.checkpoint().bytes());
            CHECK(report.parameters == stored.num_parameters());
            for (const auto& tensor : source.tensors())
                if (!linear_kind(tensor.name.substr(0, tensor.name.rfind('.'))))
                    CHECK(stored.checkpoint().contains(tensor.name));
            const auto model = workshop.open("out");
            auto cache = model.make_cache(8);
            const std::vector<Index> tokens{1, 2, 3, 4};
            CHECK(std::isfinite(naive::norm(model.forward(tokens, cache))));
        }
}

namespace {

/// What makes good for the layers before, as far as so many tokens are to be believed.
[[nodiscard]] Tensor<double> believed_map(const Tensor<double>& C, const Tensor<double>& X,
                                          const std::vector<CalibrationWindow>& windows) {
    double tokens = 0;
    for (const auto& window : windows) tokens += static_cast<double>(window.tokens.size());
    const Index n = C.extent(0);
    const double trust = std::max(0.0, 1 - static_cast<double>(n) / tokens);
    return naive::combination(trust, compensating_map<double>(C, X, 1e-2, cpu), 1 - trust,
                              naive::identity<double>(n));
}

}  // namespace

TEST_CASE("calibrated compression: every loss is the naive one, compensation and all") {
    for (const Compensation compensation : {Compensation::off, Compensation::on}) {
        CAPTURE(compensation);
        CalibratedWorkshop workshop("llama3_rope", with_uneven_inputs);
        workshop.options.budget = 0.75;
        workshop.calibration.compensation = compensation;
        workshop.calibration.compensation_ridge = 1e-2;
        const auto report = workshop.run();
        const auto& windows = workshop.calibration.windows;
        const auto dense = observed_inputs(workshop.open("model"), windows),
                   compressed = observed_inputs(workshop.open("out"), windows);
        Index exact = 0;
        for (const auto& linear : report.linears) {
            CAPTURE(linear.name);
            // q, k and v of the first layer read what the dense model's read
            const bool first = linear.name.find("layers.0.self_attn") != std::string::npos &&
                               linear.kind != LinearKind::o;
            const auto &x = dense.at(linear.name), &z = compressed.at(linear.name);
            const auto C = naive_moment(z, z, windows);
            auto target = naive::widen(workshop.weight(linear.name));
            if (!first && compensation == Compensation::on)
                target =
                    naive::product(target, believed_map(C, naive_moment(x, z, windows), windows));
            const auto A = naive::widen(workshop.stored_matrix("out", linear.name));
            const double loss = naive::weighted_loss(naive::combination(1.0, target, -1.0, A), C) /
                                naive::weighted_loss(target, C);
            exact += first ? 1 : 0;
            // the flows are rounded to float, and the more so the further back a linear is
            CHECK(linear.calibration->loss == Approx(loss).epsilon(first ? 1e-4 : 2e-2));
        }
        CHECK(exact == 3);
    }
}

TEST_CASE("calibrated compression: shares are obeyed, a share of 1 stays dense") {
    CalibratedWorkshop workshop("group_3");
    const std::string dense = "model.layers.0.mlp.down_proj", small = "model.layers.1.mlp.up_proj";
    workshop.calibration.shares = {{dense, 1.0}, {small, 0.3}};
    const auto report = workshop.run();
    for (const auto& linear : report.linears) {
        CAPTURE(linear.name);
        const double share = linear.name == dense ? 1 : linear.name == small ? 0.3 : 0.6;
        CHECK(linear.calibration->share == share);
        CHECK((linear.form == LinearForm::dense) == (share == 1));
        CHECK(static_cast<double>(linear.size.parameters) <=
              share * static_cast<double>(num_elements(linear.shape)));
    }
    CHECK(same_values(workshop.stored_matrix("out", dense), workshop.weight(dense)));
    CalibratedWorkshop all("one_layer");
    all.options.budget = 1;
    for (const auto& linear : all.run().linears) CHECK(linear.form == LinearForm::dense);
    CHECK(flow_deviation(all, "out") == 0);
}

TEST_CASE("calibrated compression: linears make good for what those before them have lost") {
    for (const char* name : {"group_3", "long", "llama3_rope"}) {
        CAPTURE(name);
        CalibratedWorkshop workshop(name, with_uneven_inputs);
        workshop.options.budget = 0.7;
        workshop.calibration.compensation = Compensation::off;
        (void)workshop.run("off");
        workshop.calibration.compensation = Compensation::on;
        (void)workshop.run("on");
        CHECK(flow_deviation(workshop, "on") < flow_deviation(workshop, "off"));
    }
}

TEST_CASE("calibrated compression: the model diverges less than one of plain truncation") {
    for (const char* name : {"group_3", "long", "llama3_rope"}) {
        CAPTURE(name);
        CalibratedWorkshop workshop(name, with_uneven_inputs);
        workshop.options.budget = 0.7;
        const auto calibrated = workshop.run();
        const auto plain = compress(Checkpoint(workshop.folder / "model"),
                                    workshop.folder / "plain", workshop.options, cpu);
        CHECK(100 * calibrated.size().parameters <= 105 * plain.size().parameters);
        CHECK(divergence(workshop, "out") < 0.7 * divergence(workshop, "plain"));
    }
}

TEST_CASE("calibrated compression: only and skip choose, the rest is copied") {
    CalibratedWorkshop workshop("group_3");
    workshop.options.only = "mlp";
    workshop.options.skip = "layers.0.mlp.(gate|up)";
    const auto report = workshop.run();
    std::vector<std::string> names;
    for (const auto& linear : report.linears) {
        names.push_back(linear.name);
        CHECK(linear.form != LinearForm::dense);
    }
    std::sort(names.begin(), names.end());
    CHECK(names ==
          std::vector<std::string>{"model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj",
                                   "model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj"});
    const std::string q = "model.layers.1.self_attn.q_proj";
    CHECK(same_values(workshop.stored_matrix("out", q), workshop.weight(q)));
}

TEST_CASE("calibrated compression: a budget in bytes is kept, pivots and all") {
    for (const DType dtype : {DType::bf16, DType::f32})
        for (const Index bytes : {16000, 24000}) {
            CAPTURE(dtype, bytes);
            CalibratedWorkshop workshop("group_3");
            workshop.options.budget.reset();
            workshop.options.budget_bytes = bytes * (dtype == DType::f32 ? 2 : 1);
            workshop.options.dtype = dtype;
            CHECK(workshop.run().size().bytes <= *workshop.options.budget_bytes);
        }
}

TEST_CASE("calibrated compression: the same seed, the same bytes") {
    CalibratedWorkshop workshop("group_3");
    workshop.options.dtype = DType::bf16;
    (void)workshop.run("one");
    (void)workshop.run("two");
    CHECK(contents(workshop.folder / "one") == contents(workshop.folder / "two"));
}

TEST_CASE("calibrated compression: fewer tokens than inputs are enough") {
    CalibratedWorkshop workshop("group_3");
    workshop.calibration.windows = {{{1, 5, 2}, 1}};
    const auto report = workshop.run();
    for (const auto& linear : report.linears) {
        CAPTURE(linear.name);
        CHECK(linear.calibration->loss < 1e-3);  // of 3 inputs every bond of 3 keeps all
    }
    CHECK(std::isfinite(flow_deviation(workshop, "out")));
}

TEST_CASE("calibrated compression: progress counts every linear, and cancels without a trace") {
    CalibratedWorkshop workshop("group_3");
    std::vector<std::string> heard;
    Index cancel_at = 100;
    workshop.options.progress = [&](const Progress& progress) {
        heard.emplace_back(progress.linear);
        CHECK(progress.done == static_cast<Index>(heard.size()));
        CHECK(progress.count == 14);
        return progress.done == cancel_at ? ProgressReply::cancel : ProgressReply::go_on;
    };
    (void)workshop.run();
    CHECK(heard.size() == 14);
    CHECK(std::is_sorted(heard.begin(), heard.end(), [](const auto& a, const auto& b) {
        return a.substr(0, 14) < b.substr(0, 14);  // front to back
    }));
    std::filesystem::remove_all(workshop.folder / "out");
    heard.clear();
    cancel_at = 9;
    check_refused<Cancelled>(workshop, {"9 of 14"});
    CHECK(heard.size() == 9);
    workshop.options.progress = [](const Progress& progress) -> ProgressReply {
        if (progress.done == 5) throw std::runtime_error("enough");
        return ProgressReply::go_on;
    };
    check_refused<std::runtime_error>(workshop, {"enough"});
}

TEST_CASE("calibrated compression: numbers it cannot work with are refused by name") {
    const auto broken = [](const std::string& tensor, float value) {
        return CalibratedWorkshop("group_3", [=](const std::string& name, Tensor<float> W) {
            for (Index k = 0; name == tensor && k < W.size(); ++k)
                if (k == W.size() / 2 || std::isfinite(value)) W.data()[k] = value;
            return W;
        });
    };
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    check_refused<NumericalError>(broken("model.layers.1.input_layernorm.weight", nan),
                                  {"model.layers.1.input_layernorm.weight", "nan"});
    // finite weights, activations that are not
    check_refused<NumericalError>(broken("model.layers.1.input_layernorm.weight", 3e38F),
                                  {"model.layers.1.self_attn.q_proj", "window 0"});
    check_refused<NumericalError>(broken("model.layers.0.post_attention_layernorm.weight", 3e38F),
                                  {"model.layers.0.mlp.gate_proj", "window 0"});
    check_refused<NumericalError>(broken("model.layers.1.self_attn.v_proj.weight", nan),
                                  {"model.layers.1.self_attn.v_proj"});
}

TEST_CASE("calibrated compression: wrong requests are refused before anything is done") {
    const auto refused = [](const std::vector<std::string>& pieces, auto&& change) {
        CalibratedWorkshop workshop("one_layer");
        change(workshop.options, workshop.calibration);
        Index heard = 0;
        workshop.options.progress = [&](const Progress&) {
            ++heard;
            return ProgressReply::go_on;
        };
        check_refused<ArgumentError>(workshop, pieces);
        CHECK(heard == 0);
    };
    using Options = CompressOptions;
    using Calibration = CompressCalibration;
    const double nan = std::numeric_limits<double>::quiet_NaN();
    refused({"no tokens"}, [](Options&, Calibration& c) { c.windows.clear(); });
    refused({"window 0", "got 1"}, [](Options&, Calibration& c) { c.windows = {{{1}, 1}}; });
    refused({"999", "vocabulary"}, [](Options&, Calibration& c) { c.windows = {{{1, 999}, 1}}; });
    refused({"exactly one"}, [](Options& o, Calibration&) { o.budget.reset(); });
    refused({"budget"}, [](Options& o, Calibration&) { o.budget = 1.5; });
    refused({"budget", "smallest"}, [](Options& o, Calibration&) { o.budget = 0.01; });
    refused({"no layout"}, [](Options& o, Calibration&) {
        o.budget.reset();
        o.budget_bytes = 3000;
    });
    refused({"calibration needs a budget"}, [](Options& o, Calibration&) {
        o.budget.reset();
        o.tolerance = 0.1;
    });
    refused({"peers"}, [](Options& o, Calibration&) { o.peers[CompressForm::mpo] = "peer"; });
    for (const double bad : {-1.0, nan})
        refused({"sink_weight"}, [&](Options&, Calibration& c) { c.sink_weight = bad; });
    for (const double bad : {0.0, nan}) {
        refused({"compensation_ridge"},
                [&](Options&, Calibration& c) { c.compensation_ridge = bad; });
        refused({"max_flops_ratio"},
                [&](Options&, Calibration& c) { c.linear.max_flops_ratio = bad; });
    }
    refused({"ridge"}, [&](Options&, Calibration& c) { c.linear.fit.ridge = nan; });
    const std::string q = "model.layers.0.self_attn.q_proj";
    for (const double bad : {0.0, 1.1, nan})
        refused({"share", q}, [&](Options&, Calibration& c) { c.shares = {{q, bad}}; });
    refused({"share", "lm_head", "not compressed"}, [](Options&, Calibration& c) {
        c.shares = {{"lm_head", 0.5}};
    });
    refused({q, "no layout", "smallest"}, [&](Options&, Calibration& c) {
        c.shares = {{q, 1e-3}};
    });
    CalibratedWorkshop workshop("one_layer");
    (void)workshop.run();
    check_throws<ArgumentError>([&] { (void)workshop.run(); }, {"exists"});
    check_throws<ArgumentError>(
        [&] {
            (void)compress(Checkpoint(workshop.folder / "out"), workshop.folder / "again",
                           workshop.options, workshop.calibration, cpu);
        },
        {"compressed already"});
}

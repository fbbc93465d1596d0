// Laws of the profile: its errors are those of a checkpoint with the one linear replaced, a run that was cut goes on
// where it was, and what belongs to another profile is refused.
#include "mpo/model/profile.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "mpo/linalg/weighted_loss.hpp"
#include "mpo/model/calibration_texts.hpp"
#include "mpo/model/evaluate.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "mpo/model/profile_json.hpp"
#include "mpo/model/profile_probe.hpp"
#include "mpo/model/profile_texts.hpp"
#include "support/calibration.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"
#include "support/tolerance.hpp"
#include "support/vocabularies.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

struct ProfiledModel {
    explicit ProfiledModel(const std::string& name) : decoder(tiny_decoder(name)) {
        write_decoder(path, decoder);
        calibration = windows_of(decoder);
        const auto vocab = decoder.config["vocab_size"].get<Index>();
        for (const Index count : {Index{9}, Index{14}}) {
            probing.push_back({{}, 1});
            for (Index t = 0; t < count; ++t)
                probing.back().tokens.push_back((t * t + 3 * t + count) % vocab);
        }
        options.calibration.sink_factor = 1e9;  // S is the plain second moment
    }
    [[nodiscard]] Profile run(const ProfileOptions& how) const {
        return profile(path, calibration, probing, how, cpu);
    }
    [[nodiscard]] Profile run() const { return run(options); }

    TemporaryFolder folder;
    std::filesystem::path path = folder / "model";
    TinyDecoder decoder;
    std::vector<CalibrationWindow> calibration, probing;
    ProfileOptions options;
};

/// Mean divergence over the windows of one model from another.
[[nodiscard]] Estimate divergence_of(const Transformer& model, const Transformer& dense,
                                     const std::vector<CalibrationWindow>& windows) {
    double sum = 0, squares = 0, count = 0;
    for (const auto& window : windows) {
        EvaluateOptions options;
        options.window = options.stride = static_cast<Index>(window.tokens.size());
        const auto result = compare(model, dense, window.tokens, options);
        const auto n = static_cast<double>(result.model.scored);
        const double deviation =
            result.kld.standard_error * result.kld.standard_error * n * (n - 1);
        sum += n * result.kld.mean;
        squares += deviation + n * result.kld.mean * result.kld.mean;
        count += n;
    }
    const double mean = sum / count;
    return {mean, std::sqrt((squares / count - mean * mean) / (count - 1))};
}

/// What lies in the file of a run: all but the seconds.
[[nodiscard]] std::string without_seconds(Profile profile) {
    profile.seconds = 0;
    return to_json(profile);
}

[[nodiscard]] ProfileOptions cancelled_after(ProfileOptions options, Index linears) {
    options.progress = [linears](const Progress& progress) {
        return progress.done == linears ? ProgressReply::cancel : ProgressReply::go_on;
    };
    return options;
}

}  // namespace

TEST_CASE("profile: its errors are those of a checkpoint with that linear alone replaced") {
    for (const char* name : {"group_2", "deep", "attention_bias", "head_dim_apart"}) {
        const ProfiledModel model(name);
        const auto result = model.run();
        const Transformer dense(model.path, {}, cpu);
        const auto observed = observed_inputs(dense, model.calibration);
        const auto names = detail::linears_before(dense.config().num_layers);
        REQUIRE(result.linears.size() == names.size());
        for (std::size_t k = 0; k < names.size(); ++k) {
            const auto& linear = result.linears[k];
            INFO(name << " " << linear.name);
            CHECK(linear.name == names[k]);
            CHECK(linear.layer == static_cast<Index>(k) / 7);
            CHECK(linear.name.find(to_string(linear.kind) + "_proj") != std::string::npos);
            const auto& X = observed.at(linear.name);
            const auto S = naive_moment(X, X, model.calibration);
            const auto W = hashed_tensor(linear.name + ".weight", {linear.rows, linear.cols},
                                         model.decoder.seed);
            Tensor<float> zero(W.shape());
            const double all = detail::weighted_loss<float>(
                as_matrix(W.view()), as_matrix(zero.view()), as_matrix(S.view()), cpu);
            const std::size_t s = k % 3;  // one size of each: every pair of kind and size occurs
            const auto& probe = linear.probes[s];
            const auto best = weighted_low_rank<float>(as_matrix(W.view()), as_matrix(S.view()),
                                                       {.max_bond_dim = probe.rank}, cpu);
            Tensor<float> product(W.shape());
            cpu.gemm(1.0F, matrix<const float>(best.left.data(), linear.rows, best.rank),
                     matrix<const float>(best.right.data(), best.rank, linear.cols), 0.0F,
                     as_matrix(product.view()));
            const double rounding = tolerance<float>(W.size(), 1);
            CHECK(std::abs(probe.weight_error -
                           naive::distance(W, product) / naive::distance(W, zero)) < rounding);
            const double loss = detail::weighted_loss<float>(
                as_matrix(W.view()), as_matrix(product.view()), as_matrix(S.view()), cpu);
            CHECK(std::abs(probe.activation_error - std::sqrt(loss / all)) < rounding);

            const auto path = model.folder / "replaced";
            write_decoder(path, model.decoder, [&](const std::string& tensor, Tensor<float> as) {
                return tensor == linear.name + ".weight" ? product : as;
            });
            const auto kld = divergence_of(Transformer(path, {}, cpu), dense, model.probing);
            CHECK(kld.mean > 0);
            CHECK(std::abs(probe.kld.mean - kld.mean) < rounding);
            CHECK(std::abs(probe.kld.standard_error - kld.standard_error) < rounding);
            std::filesystem::remove_all(path);
        }
    }
}

TEST_CASE("profile: curves and probes agree, and a larger size loses less") {
    const ProfiledModel model("plain");
    auto options = model.options;
    options.sizes = {0.2, 0.5, 0.9};
    for (const auto& linear : model.run(options).linears) {
        const auto full = (std::min)(linear.rows, linear.cols);
        REQUIRE(static_cast<Index>(linear.losses.size()) == full + 1);
        CHECK(linear.losses.front() == 1);
        CHECK(linear.losses.back() == 0);
        REQUIRE(linear.probes.size() == 3);
        for (std::size_t s = 0; s < 3; ++s) {
            const auto& probe = linear.probes[s];
            const auto rank = static_cast<double>(probe.rank);
            const auto m = static_cast<double>(linear.rows), n = static_cast<double>(linear.cols);
            CHECK(probe.size == options.sizes[s]);
            CHECK(probe.share == rank * (m + n - rank) / (m * n));
            CHECK(probe.share <= probe.size);
            CHECK((rank + 1) * (m + n - rank - 1) > probe.size * m * n);
            const double loss = linear.losses[static_cast<std::size_t>(probe.rank)];
            CHECK(probe.activation_error == std::sqrt(loss));
            CHECK(probe.kld.standard_error > 0);
            if (s == 0) continue;
            CHECK(linear.probes[s - 1].activation_error > probe.activation_error);
            CHECK(linear.probes[s - 1].weight_error > probe.weight_error);
        }
    }
}

TEST_CASE("profile: a dense linear in its own place diverges by nothing, at every layer") {
    for (const char* name : {"deep", "tied", "qwen2"}) {
        const ProfiledModel model(name);
        detail::LinearProbe probe(model.path, model.probing, {}, cpu);
        const auto config = transformer_config(Checkpoint(model.path));
        CHECK(probe.scored() == 8 + 13);
        check_throws<ArgumentError>([&] { (void)probe.linear("x"); }, {"x", "no linear"});
        for (Index layer = 0; layer < config.num_layers; ++layer, probe.advance())
            for (const auto stage : block_stages)
                for (const auto& linear : linears_of(layer, stage)) {
                    const auto& own = probe.linear(linear);
                    const auto W = hashed_tensor(linear + ".weight", {own.rows(), own.cols()},
                                                 model.decoder.seed);
                    const Linear same(linear, as_matrix(W.view()), own.bias(), {}, cpu);
                    CHECK(probe.kld(same).mean < tolerance<float>(own.cols(), 1));
                    Tensor<float> zero(W.shape());
                    CHECK(probe.kld(Linear(linear, as_matrix(zero.view()), own.bias(), {}, cpu))
                              .mean > 1e-4);
                }
    }
}

TEST_CASE("profile: a run that was cut goes on where it was") {
    const ProfiledModel model("deep");
    const auto whole = model.run();
    auto options = model.options;
    options.state = model.folder / "state";
    check_throws<Cancelled>([&] { (void)model.run(cancelled_after(options, 17)); },
                            {"profile: cancelled at model.layers.2.self_attn.v_proj; ",
                             "2 of 7 layers are kept in ", options.state.string()});
    CHECK(read_profile(options.state).linears.size() == 14);
    check_throws<Cancelled>([&] { (void)model.run(cancelled_after(options, 7)); },
                            {"at model.layers.2.mlp.down_proj", "2 of 7 layers are kept"});
    check_throws<Cancelled>([&] { (void)model.run(cancelled_after(options, 22)); },
                            {"at model.layers.5.self_attn.q_proj", "5 of 7 layers are kept"});
    Index heard = 0;
    auto counted = options;
    counted.progress = [&](const Progress& progress) {
        CHECK(progress.done == ++heard);
        CHECK(progress.count == 14);
        return ProgressReply::go_on;
    };
    const auto resumed = model.run(counted);
    CHECK(heard == 14);
    CHECK(without_seconds(resumed) == without_seconds(whole));
    CHECK(resumed.seconds > 0);
    CHECK(without_seconds(read_profile(options.state)) == without_seconds(whole));
    CHECK(without_seconds(model.run(options)) == without_seconds(whole));  // nothing is left to do

    const auto names = model.folder.names();
    check_throws<Cancelled>([&] { (void)model.run(cancelled_after(model.options, 17)); },
                            {"0 of 7 layers are kept"});
    CHECK(model.folder.names() == names);
}

TEST_CASE("profile: a state of another profile is refused by name") {
    const ProfiledModel model("plain"), other("group_2");
    auto options = model.options;
    options.state = model.folder / "state";
    CHECK_THROWS_AS(model.run(cancelled_after(options, 8)), Cancelled);
    const auto kept = read_file(options.state);
    const auto refused = [&](const ProfiledModel& of, const ProfileOptions& how,
                             const std::string& what) {
        check_throws<FormatError>([&] { (void)of.run(how); },
                                  {options.state.string(), "the profile in it has " + what});
        CHECK(read_file(options.state) == kept);
    };
    refused(other, options, "another model");
    ProfiledModel changed("plain");
    changed.probing[1].tokens[3] ^= 1;
    refused(changed, options, "other texts or windows for the divergence");
    ProfiledModel heavier("plain");
    heavier.calibration[0].weight = 3;
    refused(heavier, options, "other texts or windows for the moments");
    auto how = options;
    how.sizes = {0.3, 0.6};
    refused(model, how, "other sizes");
    how = options;
    how.sink_weight = 1;
    refused(model, how, "other options of sinks");
    how = options;
    how.calibration.model.precision = WeightPrecision::bf16;
    refused(model, how, "another precision");
    auto state = read_profile(options.state);
    state.linears[2].name = state.linears[3].name;
    write_text_file(options.state, to_json(state));
    check_throws<FormatError>([&] { (void)model.run(options); }, {"not the first layers"});
    write_file(options.state, kept.substr(0, kept.size() / 2));
    check_throws<FormatError>([&] { (void)model.run(options); }, {options.state.string()});
}

TEST_CASE("profile: JSON says everything, and lies in it are refused by name") {
    const ProfiledModel model("one_layer");
    auto result = model.run();
    result.made_by.command = "mpo profile 'a b'";
    result.made_by.seed = 18446744073709551615U;
    result.texts = {"one", "two"};
    const auto text = to_json(result);
    CHECK(to_json(parse_profile(text, "p.json")) == text);
    const auto lie = [&](auto change, const std::vector<std::string>& pieces) {
        auto json = nlohmann::json::parse(text);
        change(json);
        auto all = pieces;
        all.emplace_back("p.json");
        check_throws<FormatError>([&] { (void)parse_profile(json.dump(), "p.json"); }, all);
    };
    using Json = nlohmann::json;
    lie([](Json& j) { j["schema_version"] = 2; }, {"'schema_version' 2 is unknown"});
    lie([](Json& j) { j = 3; }, {"must be an object, got 3"});
    lie([](Json& j) { j["made_by"] = 3; }, {"'made_by': must be an object, got 3"});
    lie([](Json& j) { j["made_by"]["threads"] = 1LL << 40; }, {"'threads'"});
    lie([](Json& j) { j["made_by"]["seed"] = -1; }, {"'seed'"});
    lie([](Json& j) { j["texts"] = {1}; }, {"'texts' must be texts, got 1"});
    lie([](Json& j) { j["sizes"][0] = -0.1; }, {"'sizes' must be a number >= 0, got -0.1"});
    lie([](Json& j) { j["linears"] = "x"; }, {"'linears' must be a list, got \"x\""});
    lie([](Json& j) { j["linears"][2] = 1; }, {"linear 2: must be an object"});
    lie([](Json& j) { j["linears"][2]["kind"] = "w"; },
        {"linear 2: no linear has the 'kind' ", "w"});
    lie([](Json& j) { j["linears"][2]["layer"] = -1; }, {"linear 2: 'layer' must be a whole"});
    lie(
        [](Json& j) {
            j["linears"][2]["shape"] = {1, 2, 3};
        },
        {"linear 2: 'shape' must be [out, in]"});
    lie([](Json& j) { j["linears"][2]["shape"] = {1LL << 40, 1LL << 40}; }, {"linear 2: 'shape'"});
    lie([](Json& j) { j["linears"][2]["losses"].push_back(0); },
        {"linear 2: 'losses' must be of rank"});
    lie([](Json& j) { j["linears"][2]["losses"][3] = 7; }, {"linear 2: 'losses' grow at rank 3"});
    lie([](Json& j) { j["linears"][2]["probes"].push_back(0); }, {"of 3 sizes, got 4"});
    lie([](Json& j) { j["linears"][2]["probes"][1]["rank"] = 0; },
        {"linear 2, probe 1: 'rank' must be 1 to ", "got 0"});
    lie([](Json& j) { j["linears"][2]["probes"][1].erase("kld"); }, {"probe 1: has no 'kld'"});
    lie([](Json& j) { j["linears"][2]["probes"][1]["kld"] = nullptr; }, {"'kld' must be a number"});
}

TEST_CASE("profile: a budget is spread over it by what was measured") {
    const ProfiledModel model("deep");
    const auto result = model.run();
    const auto items = allocation_items(result);
    REQUIRE(items.size() == result.linears.size());
    Index dense = 0;
    for (std::size_t k = 0; k < items.size(); ++k) {
        const auto& linear = result.linears[k];
        CHECK(items[k].name == linear.name);
        dense += linear.rows * linear.cols;
        const auto& middle = linear.probes[1];  // never below the others: pooled at most upwards
        const double damage = items[k].damage(middle.activation_error * middle.activation_error);
        const double least = (std::min)(middle.kld.mean, linear.probes[2].kld.mean),
                     most = (std::max)(middle.kld.mean, linear.probes[0].kld.mean);
        CHECK(damage >= least * (1 - 1e-12));
        CHECK(damage <= (std::max)(most, linear.probes[2].kld.mean) * (1 + 1e-12));
    }
    const auto spread = allocate(items, dense / 2);
    CHECK(spread.cost <= dense / 2);
    CHECK(spread.damage < allocate(items, dense / 2, {.floor = 1}).damage);

    auto silent = result;
    for (auto& probe : silent.linears[0].probes) probe.kld.mean = 0;
    CHECK(allocation_items(silent)[0].damage(0.5) == 0);
}

TEST_CASE("profile: windows are spread over all of a text, and no token is in both parts") {
    const Tokenizer tokenizer(small_byte_level());
    TransformerConfig config;
    config.max_positions = 64;
    config.vocab_size = tokenizer.size();
    const TemporaryFolder folder;
    std::string text;
    for (int k = 0; k < 400; ++k) text += static_cast<char>('!' + k * k % 90);
    write_file(folder / "a", text);
    write_file(folder / "b", text.substr(100, 90));
    const auto all = read_evaluation_text(folder / "a", tokenizer).tokens;
    const auto windows = calibration_windows({{folder / "a", 0, 2, 7}}, tokenizer, config, 10);
    REQUIRE(windows.size() == 7);
    const auto last = static_cast<Index>(all.size()) - 10;
    for (Index k = 0; k < 7; ++k) {
        const auto& window = windows[static_cast<std::size_t>(k)];
        CHECK(window.weight == 2);
        CHECK(std::equal(window.tokens.begin(), window.tokens.end(), all.begin() + last * k / 6));
        CHECK(window.tokens.size() == 10);
    }
    CHECK(calibration_windows({{folder / "a", 0, 1, 1}}, tokenizer, config, 10).size() == 1);
    CHECK(calibration_windows({{folder / "a", 20, 1, 2}}, tokenizer, config, 10).size() == 2);
    const auto cut = [&](Index tokens, Index spread) {
        (void)calibration_windows({{folder / "a", tokens, 1, spread}}, tokenizer, config, 10);
    };
    check_throws<ArgumentError>([&] { cut(19, 2); },
                                {"has 19 tokens, too few for 2 windows of 10"});
    check_throws<ArgumentError>([&] { cut(9, 1); }, {"has 9 tokens, too few for 1 windows of 10"});
    check_throws<ArgumentError>([&] { cut(0, -1); }, {"at least 1 window, got -1"});

    const ProfileWindowsOptions options{5, 3, 10};
    const auto parts = profile_windows({folder / "a", folder / "b"}, tokenizer, config, options);
    CHECK(parts.calibration.size() == 10);
    CHECK(parts.probing.size() == 6);
    const auto spread = calibration_windows({{folder / "a", 0, 1, 8}}, tokenizer, config, 10);
    std::vector<std::vector<Index>> probed, rest;
    for (const std::size_t k : {1U, 4U, 6U}) probed.push_back(spread[k].tokens);
    for (const std::size_t k : {0U, 2U, 3U, 5U, 7U}) rest.push_back(spread[k].tokens);
    for (std::size_t k = 0; k < 3; ++k) CHECK(parts.probing[k].tokens == probed[k]);
    for (std::size_t k = 0; k < 5; ++k) CHECK(parts.calibration[k].tokens == rest[k]);
    const auto refuse = [&](const ProfileWindowsOptions& how, const std::string& what) {
        check_throws<ArgumentError>(
            [&] { (void)profile_windows({folder / "b"}, tokenizer, config, how); }, {what});
    };
    refuse({5, 0, 10}, "got 5 and 0");
    refuse({0, 5, 10}, "got 0 and 5");
    refuse({9, 1, 10}, "too few for 10 windows of 10");
    check_throws<ArgumentError>([&] { (void)profile_windows({}, tokenizer, config); }, {"no text"});
}

TEST_CASE(
    "profile: options outside their domain are refused, and so are models it cannot be made of") {
    const ProfiledModel model("plain");
    const auto refused = [&](auto change, const std::string& what) {
        auto options = model.options;
        change(options);
        check_throws<ArgumentError>([&] { (void)model.run(options); }, {what});
    };
    refused([](auto& o) { o.sizes = {}; }, "need 1 to 3 sizes, got 0");
    refused([](auto& o) { o.sizes = {0.1, 0.2, 0.3, 0.4}; }, "need 1 to 3 sizes, got 4");
    for (const double bad : {0.0, 1.0, -0.5, std::nan("")})
        refused([&](auto& o) { o.sizes = {bad}; }, "sizes must ascend between 0 and 1");
    refused([](auto& o) { o.sizes = {0.5, 0.5}; }, "got 0.5 as number 2");
    refused([](auto& o) { o.sink_weight = -1; }, "the weight of sinks must be >= 0");
    check_throws<ArgumentError>([&] { (void)profile(model.path, {}, model.probing, {}, cpu); },
                                {"no tokens"});
    check_throws<ArgumentError>([&] { (void)profile(model.path, model.calibration, {}, {}, cpu); },
                                {"no tokens"});
    CHECK_THROWS_AS(profile(model.folder / "none", model.calibration, model.probing, {}, cpu),
                    Error);
    CHECK(rank_of_share(30, 20, 1e-9) == 1);
    CHECK(rank_of_share(30, 20, 1) == 20);
    CHECK(rank_of_share(1, 5, 0.5) == 1);
}

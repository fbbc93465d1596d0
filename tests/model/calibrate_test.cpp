#include "mpo/model/calibrate.hpp"

#include "mpo/model/calibration_texts.hpp"
#include "mpo/model/evaluate_texts.hpp"
#include "support/calibration.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"
#include "support/vocabularies.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

struct Model {
    explicit Model(const std::string& name) : decoder(tiny_decoder(name)) {
        write_decoder(path, decoder);
        windows = windows_of(decoder);
        for (const auto& window : windows) tokens += static_cast<Index>(window.tokens.size());
    }
    TemporaryFolder folder;
    std::filesystem::path path = folder / "model";
    TinyDecoder decoder;
    std::vector<CalibrationWindow> windows;
    Index tokens = 0;
};

}  // namespace

TEST_CASE("calibrate: the moments of all linears, in order, in memory and in a file") {
    for (const char* name : {"group_2", "deep", "one_layer"}) {
        INFO(name);
        const Model model(name);
        const auto observed = observed_inputs(Transformer(model.path, {}, cpu), model.windows);
        const auto calibration = calibrate(model.path, model.windows, {}, cpu);
        const auto config = transformer_config(Checkpoint(model.path));
        REQUIRE(static_cast<Index>(calibration.moments.size()) == 4 * config.num_layers);
        CHECK(calibration.summary.windows == 3);
        CHECK(calibration.summary.tokens == model.tokens);
        const auto file_path = model.folder / "moments.safetensors";
        const auto summary = calibrate_to_file(model.path, model.windows, {}, file_path, cpu);
        CHECK(summary.tokens == model.tokens);
        const MomentsFile file(file_path, config);
        REQUIRE(file.linears().size() == calibration.moments.size());
        for (std::size_t k = 0; k < file.linears().size(); ++k) {
            const auto& moments = calibration.moments[k];
            const auto layer = static_cast<Index>(k) / 4;
            CHECK(moments.linears() == linears_of(layer, block_stages[k % 4]));
            CHECK(file.linears()[k] == moments.linears().front());
            const auto& X = observed.at(moments.linears().back());
            const auto S = moments.second_moment(cpu);
            CHECK(moments_apart(S, naive_moment(X, X, model.windows)) < moment_rounding(X));
            CHECK(moments_apart(file.read(moments.linears().back()).second_moment(cpu), S) == 0);
            CHECK(moments.tokens() == model.tokens);
            CHECK_FALSE(moments.certainly_singular() == (model.tokens >= moments.inputs()));
        }
    }
}

TEST_CASE("calibrate: a range of layers is that part of the whole") {
    const Model model("deep");
    const auto whole = calibrate(model.path, model.windows, {}, cpu);
    CalibrateOptions options;
    options.first_layer = 2;
    options.end_layer = 4;
    const auto part = calibrate(model.path, model.windows, options, cpu);
    REQUIRE(part.moments.size() == 8);
    for (std::size_t k = 0; k < 8; ++k) {
        CHECK(part.moments[k].linears() == whole.moments[8 + k].linears());
        CHECK(moments_apart(part.moments[k].second_moment(cpu),
                            whole.moments[8 + k].second_moment(cpu)) == 0);
    }
}

TEST_CASE("calibrate: it reports every linear, and cancelling leaves no file") {
    const Model model("plain");
    std::vector<std::string> heard;
    CalibrateOptions options;
    double left = 0;
    options.progress = [&](const Progress& progress) {
        heard.emplace_back(progress.linear);
        CHECK(progress.done == static_cast<Index>(heard.size()));
        CHECK(progress.count == 14);
        left = progress.seconds_left;
        return ProgressReply::go_on;
    };
    (void)calibrate(model.path, model.windows, options, cpu);
    REQUIRE(heard.size() == 14);
    CHECK(heard.front() == "model.layers.0.self_attn.q_proj");
    CHECK(heard.back() == "model.layers.1.mlp.down_proj");
    CHECK(left == 0);
    options.progress = [&](const Progress& progress) {
        return progress.done == 5 ? ProgressReply::cancel : ProgressReply::go_on;
    };
    const auto names = model.folder.names();
    CHECK_THROWS_AS(calibrate_to_file(model.path, model.windows, options, model.folder / "m", cpu),
                    Cancelled);
    CHECK(model.folder.names() == names);
}

TEST_CASE("calibrate: few tokens work and are flagged") {
    const Model model("plain");
    const std::vector<CalibrationWindow> few{{{1, 2, 3}, 1}};
    const auto calibration = calibrate(model.path, few, {}, cpu);
    for (const auto& moments : calibration.moments) {
        CHECK(moments.certainly_singular());
        CHECK(moments.tokens() == 3);
    }
}

TEST_CASE("calibrate: no tokens and no such layers are refused") {
    const Model model("plain");
    check_throws<ArgumentError>([&] { (void)calibrate(model.path, {}, {}, cpu); }, {"no tokens"});
    const auto range = [&](Index first, Index end) {
        CalibrateOptions options;
        options.first_layer = first;
        options.end_layer = end;
        (void)calibrate(model.path, model.windows, options, cpu);
    };
    check_throws<ArgumentError>([&] { range(-1, 1); }, {"0 to 2", "-1 to 1"});
    check_throws<ArgumentError>([&] { range(1, 1); }, {"1 to 1"});
    check_throws<ArgumentError>([&] { range(0, 3); }, {"0 to 3"});
}

TEST_CASE("calibrate: texts become windows as evaluation cuts them") {
    const Tokenizer tokenizer(small_byte_level());
    TransformerConfig config;
    config.max_positions = 64;
    config.vocab_size = tokenizer.size();
    const TemporaryFolder folder;
    std::string text;
    for (int k = 0; k < 40; ++k) text += k % 3 == 0 ? "the " : "ab ";
    write_file(folder / "a", text);
    write_file(folder / "b", std::string("ab the ab the ab the"));
    const auto all = read_evaluation_text(folder / "a", tokenizer).tokens;
    const auto windows =
        calibration_windows({{folder / "a", 31, 1}, {folder / "b", 0, 2.5}}, tokenizer, config, 10);
    std::vector<Index> joined;
    std::size_t w = 0;
    for (; w < windows.size() && windows[w].weight == 1; ++w) {
        CHECK(windows[w].tokens.size() == 10);  // the single token behind the third is left out
        joined.insert(joined.end(), windows[w].tokens.begin(), windows[w].tokens.end());
    }
    CHECK(w == 3);
    CHECK(joined == std::vector<Index>(all.begin(), all.begin() + 30));
    CHECK(w < windows.size());
    for (; w < windows.size(); ++w) CHECK(windows[w].weight == 2.5);

    const auto cut = [&](const CalibrationText& one, Index window) {
        (void)calibration_windows({one}, tokenizer, config, window);
    };
    check_throws<ArgumentError>([&] { (void)calibration_windows({}, tokenizer, config); },
                                {"no text"});
    check_throws<ArgumentError>([&] { cut({folder / "a", 0, 0}, 10); }, {"weight", "got 0"});
    check_throws<ArgumentError>([&] { cut({folder / "a", -1, 1}, 10); }, {"max_tokens", "-1"});
    check_throws<ArgumentError>([&] { cut({folder / "a", 0, 1}, 65); }, {"2 to 64", "got 65"});
    check_throws<ArgumentError>([&] { cut({folder / "a", 0, 1}, 1); }, {"got 1"});
    check_throws<FileError>([&] { cut({folder / "none", 0, 1}, 10); }, {"none"});
    config.vocab_size = 1;
    check_throws<ArgumentError>([&] { cut({folder / "a", 0, 1}, 10); }, {"vocabulary has 1"});
}

// A calibrated compression that was interrupted goes on behind the last layer that it finished, and ends in the bytes
// and the report of one that was not; asked for something else it refuses.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "mpo/model/compress_calibrated.hpp"
#include "mpo/model/compress_json.hpp"
#include "support/calibration.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A decoder of seven layers, seven linears each, and runs of it that keep their layers.
struct ResumeWorkshop {
    ResumeWorkshop() : decoder(tiny_decoder("deep")) {
        write_decoder(folder / "model", decoder);
        calibration.windows = windows_of(decoder);
        calibration.linear.fit.max_sweeps = 2;
        options.budget = 0.7;
    }
    CompressReport run(const std::string& name, const ProgressCallback& progress = {}) const {
        auto asked = options;
        asked.progress = progress;
        return compress(Checkpoint(folder / "model"), folder / name, asked, calibration, cpu);
    }
    /// Dies when so many linears are done.
    void run_until(Index linears) const {
        check_throws<std::runtime_error>(
            [&] {
                (void)run("out", [&](const Progress& progress) -> ProgressReply {
                    if (progress.done == linears) throw std::runtime_error("killed");
                    return ProgressReply::go_on;
                });
            },
            {"killed"});
        CHECK_FALSE(std::filesystem::exists(folder / "out"));
    }
    [[nodiscard]] Index kept_layers() const {
        const auto names = contents(folder / "state");
        return std::count_if(names.begin(), names.end(),
                             [](const auto& file) { return file.first.starts_with("layer_"); });
    }

    TemporaryFolder folder;
    TinyDecoder decoder;
    CompressOptions options;
    CompressCalibration calibration;
};

/// The report without what differs from run to run.
[[nodiscard]] std::string timeless(CompressReport report) {
    report.seconds = 0;
    for (auto& linear : report.linears) linear.seconds = 0;
    return to_json(report);
}

void check_same(const CalibrationReport& a, const CalibrationReport& b) {
    CHECK(a.share == b.share);
    CHECK(a.loss == b.loss);
    CHECK(a.fitted_loss == b.fitted_loss);
    CHECK(a.low_rank_loss == b.low_rank_loss);
    CHECK(a.sweeps == b.sweeps);
    CHECK(a.verdict == b.verdict);
    REQUIRE(a.rivals.size() == b.rivals.size());
    for (std::size_t k = 0; k < a.rivals.size(); ++k) {
        CHECK(a.rivals[k].form == b.rivals[k].form);
        CHECK(a.rivals[k].bits_per_weight == b.rivals[k].bits_per_weight);
        CHECK(a.rivals[k].loss == b.rivals[k].loss);
    }
    REQUIRE(a.candidates.size() == b.candidates.size());
    for (std::size_t k = 0; k < a.candidates.size(); ++k) {
        const auto &x = a.candidates[k], &y = b.candidates[k];
        CHECK(x.layout == y.layout);
        CHECK(x.bonds == y.bonds);
        CHECK(x.parameters == y.parameters);
        CHECK(x.multiply_adds == y.multiply_adds);
        CHECK(x.start_loss == y.start_loss);
        CHECK(x.first_loss == y.first_loss);
        CHECK(x.loss == y.loss);
        CHECK(x.why == y.why);
    }
}

}  // namespace

TEST_CASE("resumed compression: interrupted anywhere, it ends in the same bytes and report") {
    ResumeWorkshop workshop;
    workshop.calibration.shares = {{"model.layers.1.mlp.up_proj", 1.0}};
    for (const StoredAs stored_as : {StoredAs::gauge_fixed, StoredAs::cores}) {
        CAPTURE(stored_as);
        workshop.options.stored_as = stored_as;
        workshop.options.dtype = stored_as == StoredAs::cores ? DType::f32 : DType::bf16;
        workshop.calibration.resume.clear();
        const auto whole = workshop.run("whole");
        const auto bytes = contents(workshop.folder / "whole");
        workshop.calibration.resume = workshop.folder / "state";
        const bool everywhere = stored_as == StoredAs::gauge_fixed;
        for (const Index linears :
             everywhere ? std::vector<Index>{1, 7, 8, 27, 49} : std::vector<Index>{27}) {
            CAPTURE(linears);
            workshop.run_until(linears);
            const Index kept = (linears - 1) / 7;  // at most one layer is lost
            CHECK(workshop.kept_layers() == kept);
            std::vector<Index> heard;
            const auto report = workshop.run("out", [&](const Progress& progress) {
                heard.push_back(progress.done);
                CHECK(progress.count == 49);
                return ProgressReply::go_on;
            });
            CHECK(heard.front() == 7 * kept + 1);
            CHECK(heard.back() == 49);
            CHECK(workshop.kept_layers() == 7);
            CHECK(contents(workshop.folder / "out") == bytes);
            CHECK(timeless(report) == timeless(whole));
            REQUIRE(report.linears.size() == whole.linears.size());
            for (std::size_t k = 0; k < whole.linears.size(); ++k) {
                CAPTURE(whole.linears[k].name);
                check_same(*report.linears[k].calibration, *whole.linears[k].calibration);
            }
            std::filesystem::remove_all(workshop.folder / "out");
            std::filesystem::remove_all(workshop.folder / "state");
        }
        std::filesystem::remove_all(workshop.folder / "whole");
    }
}

TEST_CASE("resumed compression: interrupted twice, and with nothing left to do") {
    ResumeWorkshop workshop;
    const auto whole = workshop.run("whole");
    workshop.calibration.resume = workshop.folder / "state";
    workshop.run_until(10);
    workshop.run_until(30);
    CHECK(workshop.kept_layers() == 4);
    (void)workshop.run("first");
    const auto again = workshop.run("again", [](const Progress&) -> ProgressReply {
        FAIL("every layer was there");
        return ProgressReply::go_on;
    });
    CHECK(contents(workshop.folder / "first") == contents(workshop.folder / "whole"));
    CHECK(contents(workshop.folder / "again") == contents(workshop.folder / "whole"));
    CHECK(timeless(again) == timeless(whole));
}

TEST_CASE("resumed compression: cancelled it says that layers were kept, and skipped ones count") {
    ResumeWorkshop workshop;
    workshop.options.only = "layers.[136].*(q_proj|down_proj)";
    const auto whole = workshop.run("whole");
    REQUIRE(whole.linears.size() == 6);
    workshop.calibration.resume = workshop.folder / "state";
    check_throws<Cancelled>(
        [&] {
            (void)workshop.run("out", [](const Progress& progress) {
                return progress.done == 4 ? ProgressReply::cancel : ProgressReply::go_on;
            });
        },
        {"4 of 6", "finished layers were kept"});
    CHECK(workshop.kept_layers() == 3);
    (void)workshop.run("out");
    CHECK(contents(workshop.folder / "out") == contents(workshop.folder / "whole"));
}

TEST_CASE("resumed compression: asked for something else it refuses, naming what") {
    ResumeWorkshop workshop;
    workshop.calibration.resume = workshop.folder / "state";
    workshop.run_until(9);
    const auto state = contents(workshop.folder / "state");
    const auto refused = [&](const std::string& what, auto&& change) {
        INFO(what);
        const auto options = workshop.options;
        const auto calibration = workshop.calibration;
        change(workshop.options, workshop.calibration);
        check_throws<ArgumentError>([&] { (void)workshop.run("out"); },
                                    {what, (workshop.folder / "state").string(), "asked for is"});
        workshop.options = options;
        workshop.calibration = calibration;
        CHECK_FALSE(std::filesystem::exists(workshop.folder / "out"));
        CHECK(contents(workshop.folder / "state") == state);
    };
    using O = CompressOptions;
    using C = CompressCalibration;
    refused("budget 0.7", [](O& o, C&) { o.budget = 0.6; });
    refused("budget", [](O& o, C&) {
        o.budget.reset();
        o.budget_bytes = 20000;
    });
    refused("form", [](O& o, C&) { o.form = CompressForm::low_rank; });
    refused("sites", [](O& o, C&) { o.sites = 3; });
    refused("layouts", [](O& o, C&) { o.layouts[LinearKind::q] = {{4, 4}, {4, 4}}; });
    refused("only", [](O& o, C&) { o.only = "mlp"; });
    refused("skip", [](O& o, C&) { o.skip = "mlp"; });
    refused("dtype", [](O& o, C&) { o.dtype = DType::f16; });
    refused("stored_as", [](O& o, C&) { o.stored_as = StoredAs::cores; });
    refused("seed", [](O& o, C&) { o.seed = 2; });
    refused("tokens", [](O&, C& c) { c.windows.front().tokens.front() += 1; });
    refused("tokens", [](O&, C& c) { c.windows.front().weight = 3; });
    refused("sink_factor", [](O&, C& c) { c.walk.sink_factor = 30; });
    refused("reader_sink_weight", [](O&, C& c) { c.walk.reader_sink_weight = 0.5; });
    refused("precision", [](O&, C& c) { c.walk.model.precision = WeightPrecision::f32; });
    refused("sink_weight", [](O&, C& c) { c.sink_weight = 4; });
    refused("compensation", [](O&, C& c) { c.compensation = Compensation::off; });
    refused("compensation_ridge", [](O&, C& c) { c.compensation_ridge = 1e-2; });
    refused("shares", [](O&, C& c) { c.shares["model.layers.2.mlp.up_proj"] = 0.5; });
    refused("max_flops_ratio", [](O&, C& c) { c.linear.max_flops_ratio = 0.9; });
    refused("objective", [](O&, C& c) { c.linear.objective = FitObjective::after_healing; });
    refused("rivals", [](O&, C& c) { c.linear.rivals = Rivals::none; });
    refused("fit_max_sweeps", [](O&, C& c) { c.linear.fit.max_sweeps = 3; });
    refused("fit_ridge", [](O&, C& c) { c.linear.fit.ridge = 1e-5; });
    refused("fit_start", [](O&, C& c) { c.linear.fit.start = FitStart::plain; });
    std::filesystem::remove_all(workshop.folder / "model");
    write_decoder(workshop.folder / "model", workshop.decoder, [](const auto& name, auto W) {
        if (name == "model.layers.6.mlp.down_proj.weight") W(3, 3) += 1e-3F;
        return W;
    });
    refused("model", [](O&, C&) {});
}

TEST_CASE("resumed compression: files that are no layers of the run are refused by name") {
    ResumeWorkshop workshop;
    workshop.calibration.resume = workshop.folder / "state";
    std::filesystem::create_directory(workshop.folder / "state");
    write_file(workshop.folder / "state" / ".run.json.77.tmp", "{");  // killed at its first file
    workshop.run_until(16);
    const auto layer = workshop.folder / "state" / "layer_1.safetensors";
    const auto run = workshop.folder / "state" / "run.json";
    const auto good = read_file(layer), good_run = read_file(run);
    const auto refused = [&](const std::filesystem::path& path, const std::string& text,
                             const std::string& piece) {
        INFO(piece);
        write_file(path, text);
        check_throws<FormatError>([&] { (void)workshop.run("out"); }, {path.string(), piece});
        write_file(layer, good);
        write_file(run, good_run);
    };
    const auto replaced = [&](std::string text, const std::string& from, const std::string& to) {
        REQUIRE(from.size() == to.size());
        const auto at = text.rfind(from);
        REQUIRE(at != std::string::npos);
        return text.replace(at, from.size(), to);
    };
    refused(layer, good.substr(0, good.size() / 2), "");
    refused(layer, "", "");
    refused(layer, replaced(good, "\"linears\":", "\"lineals\":"), "is no layer");
    refused(layer, replaced(good, "layers.1.self_attn.q_proj\\\"", "layers.9.self_attn.q_proj\\\""),
            "has no linear");
    refused(layer, replaced(good, "bonds\\\":[1", "bonds\\\":[7"), "");
    refused(layer, replaced(good, "\\\"share\\\"", "\\\"shaer\\\""), "has no 'share'");
    refused(layer, read_file(workshop.folder / "state" / "layer_0.safetensors"), "has no linear");
    refused(run, "{", "");
    refused(run, "[]", "must be an object");
    refused(run, replaced(good_run, "\"seed\"", "\"sead\""), "has no 'seed'");
    (void)workshop.run("out");  // what was put back is whole
    std::filesystem::remove(run);
    check_throws<ArgumentError>([&] { (void)workshop.run("again"); }, {"something else"});
}

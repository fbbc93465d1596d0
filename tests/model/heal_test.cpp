#include "mpo/model/heal.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "mpo/model/transformer.hpp"
#include "support/catch.hpp"
#include "support/clinic.hpp"
#include "support/files.hpp"
#include "support/models.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

}  // namespace

TEST_CASE("heal: both stages lower what they measure, and write a model that can be read") {
    const Clinic clinic;
    const auto report = clinic.heal(Clinic::options());
    CHECK(report.windows == 20);
    CHECK(report.held_out == 4);
    REQUIRE(report.blocks.size() == 2);
    for (const auto& block : report.blocks) {
        CHECK(block.curve.size() == 4);
        CHECK(block.after().held_out < 0.95 * block.before().held_out);
    }
    REQUIRE(report.distillation);
    const auto& curve = report.distillation->curve;
    REQUIRE(curve.size() == 4);
    CHECK(curve.back().divergence < 0.95 * curve.front().divergence);

    // what the last look saw is what the file holds, but for bf16
    const Transformer healed(clinic.folder / "healed", {}, cpu);
    const Transformer blocks(clinic.folder / "work" / "blocks_model", {}, cpu);
    const Transformer dense(clinic.teacher(), {}, cpu), before(clinic.student(), {}, cpu);
    const auto divergence = [&](const Transformer& model) {
        const auto windows = detail::divided(clinic.texts, Clinic::options()).held_out;
        double sum = 0;
        for (Index w = 0; w < windows.count(); ++w) {
            const auto logits = [&](const Transformer& of) {
                auto cache = of.make_cache(windows.length);
                return of.logits(of.forward(windows.tokens_of(w), cache));
            };
            const auto p = logits(dense), q = logits(model);
            const Index n = p.extent(1);
            for (Index t = 0; t < windows.length; ++t)
                sum += detail::divergence(
                    n, p.data() + t * n, detail::log_sum_exp(n, p.data() + t * n), q.data() + t * n,
                    detail::log_sum_exp(n, q.data() + t * n));
        }
        return sum / static_cast<double>(windows.count() * windows.length);
    };
    CHECK(divergence(blocks) < divergence(before));
    CHECK(divergence(healed) < divergence(blocks));
}

TEST_CASE("heal: what is frozen keeps its bits, and everything else its place") {
    const Clinic clinic;
    auto options = Clinic::options();
    options.blocks->parts.norms = options.distillation->parts.norms = false;
    (void)clinic.heal(options);
    const CompressedCheckpoint before(clinic.student()), after(clinic.folder / "healed");
    REQUIRE(after.linears().size() == before.linears().size());
    REQUIRE(after.checkpoint().tensors().size() == before.checkpoint().tensors().size());
    Index changed = 0;
    for (const auto& tensor : before.checkpoint().tensors()) {
        INFO(tensor.name);
        const auto& now = after.checkpoint().info(tensor.name);
        CHECK(now.type == tensor.type);
        CHECK(now.shape == tensor.shape);
        const bool same = same_bytes(before.checkpoint(), after.checkpoint(), tensor.name);
        const bool is_core = before.core_of(tensor.name).linear != nullptr;
        CHECK((same || is_core));
        changed += same ? 0 : 1;
    }
    CHECK(changed > 10);
    CHECK(before.num_parameters() == after.num_parameters());
}

TEST_CASE("heal: broken off after any look, a run ends with the same bits") {
    const Clinic clinic;
    auto settings = Clinic::options();
    const double rate = GENERATE(5e-2, 2.0);  // at the second one layers fall back
    settings.blocks->learning_rate.peak = rate;
    Index all = 0;
    auto counted = settings;
    counted.progress = counts_looks(all);
    const auto unbroken = clinic.heal(counted, "unbroken", "work_unbroken");
    CHECK(unbroken.blocks[0].fell_back.empty() == (rate < 1));
    const auto expected = contents(clinic.folder / "unbroken");
    for (const Index looks : {1, 2, 3, 4, 6, 9, 11}) {
        INFO(looks << " looks at " << rate);
        auto options = settings;
        Index seen = 0;
        options.progress = cancels_at(looks, seen);
        const std::string work = "work_" + std::to_string(looks),
                          to = "to_" + std::to_string(looks);
        check_throws<Cancelled>([&] { clinic.heal(options, to, work); }, {"the work folder has"});
        CHECK(seen == looks);
        CHECK(!std::filesystem::exists(clinic.folder / to));
        options.progress = counts_looks(seen);
        (void)clinic.heal(options, to, work);
        CHECK(seen == all);  // no look twice
        CHECK(contents(clinic.folder / to) == expected);
    }
}

TEST_CASE(
    "heal: a layer that gets worse falls back, with a quarter of the rate for the steps left") {
    const Clinic clinic;
    auto options = Clinic::options();
    options.distillation.reset();
    options.blocks->learning_rate.peak = 2;
    for (const auto& block : clinic.heal(options).blocks) {
        CHECK(!block.fell_back.empty());
        for (const Index step : block.fell_back) {
            CHECK((step == 4 || step == 8));
            CHECK(block.curve[static_cast<std::size_t>(step / 4)].held_out >
                  block.before().held_out);
        }
        CHECK(block.after().held_out <= block.before().held_out);
    }
    // the tenth step of a rate is looked at before the next look is due
    auto rarely = options;
    rarely.blocks->steps = 24;
    rarely.blocks->evaluate_every = 24;
    const auto early = clinic.heal(rarely, "early", "work_early").blocks[0];
    CHECK(early.curve[1].step == 10);
    CHECK(early.fell_back.at(0) == 10);
    CHECK(early.curve[2].step == 20);

    std::vector<float> x{1}, g{1};
    Parameters<float> parameters;
    parameters.add({"x", x, g});
    BlockHealing healing;
    const auto tolerated = [&](Index step) {
        return detail::tolerated_loss(*options.blocks, healing, step);
    };
    CHECK(tolerated(4) == 1.1);
    CHECK(tolerated(6) == 1);
    const auto fresh = detail::optimizer_of(parameters, *options.blocks, healing);
    CHECK(fresh.options().learning_rate.peak == 2);
    CHECK(fresh.options().total_steps == 12);
    healing.fell_back = {4, 8};
    CHECK(tolerated(9) == 1.1);  // of the new rate's four steps
    CHECK(tolerated(10) == 1);
    const auto later = detail::optimizer_of(parameters, *options.blocks, healing);
    CHECK(later.options().learning_rate.peak == 0.125);
    CHECK(later.options().total_steps == 4);
    CHECK(later.options().rate_scale == RateScale::relative);
}

TEST_CASE("heal: either stage alone") {
    const Clinic clinic;
    auto blocks = Clinic::options(), distillation = Clinic::options();
    blocks.distillation.reset();
    distillation.blocks.reset();
    CHECK(!clinic.heal(blocks, "blocks", "work_1").distillation);
    CHECK(clinic.heal(distillation, "distilled", "work_2").blocks.empty());
    (void)Transformer(clinic.folder / "blocks", {}, cpu);
    (void)Transformer(clinic.folder / "distilled", {}, cpu);
    auto neither = blocks;
    neither.blocks.reset();
    check_throws<ArgumentError>([&] { clinic.heal(neither, "n", "work_3"); }, {"neither"});
}

TEST_CASE(
    "heal: a loss that is no number stops the run, names its place, and leaves the last snapshot") {
    const Clinic clinic;
    auto options = Clinic::options();
    options.blocks->learning_rate = {1e30, 0, LearningRateDecay::constant, 0};
    check_throws<NumericalError>([&] { clinic.heal(options); }, {"layer 0, step 2: AdamW"});
    CHECK(!std::filesystem::exists(clinic.folder / "healed"));
    CHECK(std::filesystem::exists(clinic.folder / "work" / "blocks" / "layer_0.unfinished"));
    // the loss that is looked at, too, and of either stage
    options.blocks->evaluate_every = 1;
    check_throws<NumericalError>([&] { clinic.heal(options, "healed", "work_2"); },
                                 {"layer 0: the held-out loss after step 1 is"});
    options = Clinic::options();
    options.blocks.reset();
    options.distillation->learning_rate = {1e30, 0, LearningRateDecay::constant, 0};
    check_throws<NumericalError>([&] { clinic.heal(options, "healed", "work_3"); },
                                 {"distill: step 2: "});
    options.distillation->evaluate_every = 1;
    check_throws<NumericalError>([&] { clinic.heal(options, "healed", "work_4"); },
                                 {"distill: held-out windows after step 1: "});
}

TEST_CASE("heal: snapshots of another run are refused by what differs") {
    const Clinic clinic;
    auto options = Clinic::options();
    options.distillation.reset();
    (void)clinic.heal(options, "first");
    options.blocks->steps = 16;
    check_throws<ArgumentError>([&] { clinic.heal(options, "second"); },
                                {"another configuration", "steps was 12, asked for is 16"});
    options = Clinic::options();
    options.distillation.reset();
    const Clinic other("group_8");
    check_throws<ArgumentError>(
        [&] {
            (void)mpo::heal(other.student(), other.teacher(), other.texts, clinic.folder / "third",
                            clinic.folder / "work", options, cpu);
        },
        {"another configuration", "asked for is"});
}

namespace {

/// A snapshot with another header; arrays as they are, but one of another length where it is named.
void change_snapshot(const std::filesystem::path& path,
                     const std::function<void(nlohmann::ordered_json&)>& change,
                     const std::string& longer = "", std::optional<float> last = {}) {
    const SafetensorsFile file(path);
    auto header = nlohmann::ordered_json::parse(file.metadata().at("header"));
    change(header);
    const auto asked = nlohmann::ordered_json::parse(file.metadata().at("configuration"));
    SnapshotWriter writer(path, asked, header);
    const Snapshot was(path, asked);
    for (const auto& entry : file.tensors()) {
        if (entry.dtype == DType::i64) {
            writer.add(entry.name, was.read<std::int64_t>(entry.name));
        } else if (entry.dtype == DType::f64) {
            writer.add(entry.name, was.read<double>(entry.name));
        } else {
            auto values = was.read<float>(entry.name);
            if (entry.name == longer) values.push_back(0);
            if (last && entry.name == file.tensors().back().name) values.back() = *last;
            writer.add(entry.name, values);
        }
    }
    writer.finish();
}

}  // namespace

TEST_CASE("heal: snapshots of a decoder with other numbers, or of other weights, are refused") {
    const Clinic clinic;
    const auto tensors = detail::fingerprint(Checkpoint(clinic.student()));
    const auto whole = detail::decoder_fingerprint(Checkpoint(clinic.student()));
    (void)clinic.heal(Clinic::options(), "first");
    // texts that weigh something else are those of another distillation, with the same cache
    auto heavier = clinic;
    heavier.texts.weights[3] = 2;
    check_throws<ArgumentError>([&] { heavier.heal(Clinic::options(), "x"); },
                                {"distillation.snapshot", "another configuration", "windows"});
    // what the block stage runs by the student's numbers
    change_config(clinic.student(), "rms_norm_eps", 1e-3);
    CHECK(detail::fingerprint(Checkpoint(clinic.student())) == tensors);
    CHECK(detail::decoder_fingerprint(Checkpoint(clinic.student())) != whole);
    check_throws<ArgumentError>([&] { clinic.heal(Clinic::options(), "x"); },
                                {"the student's rms_norm_eps is 0.001, the teacher's 1e-05"});
    change_config(clinic.teacher(), "rms_norm_eps", 1e-3);
    check_throws<ArgumentError>([&] { clinic.heal(Clinic::options(), "x"); },
                                {"another configuration", "student"});
    change_config(clinic.teacher(), "rope_theta", 77);
    check_throws<ArgumentError>([&] { clinic.heal(Clinic::options(), "x"); },
                                {"the student's rotary frequency 1 is"});
}

TEST_CASE("heal: broken off behind the block stage, a run asks nothing of its layers again") {
    const Clinic clinic;
    auto options = Clinic::options();
    const auto unbroken = clinic.heal(options, "unbroken", "work_unbroken");
    Index seen = 0;
    options.progress = [&](const HealProgress& now) {
        seen += now.stage == HealStage::blocks ? 1 : 0;
        return now.stage == HealStage::teacher ? ProgressReply::cancel : ProgressReply::go_on;
    };
    check_throws<Cancelled>([&] { clinic.heal(options); }, {"cancelled after"});
    CHECK(std::exchange(seen, 0) > 0);
    const auto work = clinic.folder / "work";
    for (const Index k : {0, 1})
        REQUIRE(
            std::filesystem::remove(work / "blocks" / detail::concat("layer_", k, ".snapshot")));
    options.progress = counts_looks(seen);
    const auto resumed = clinic.heal(options);
    CHECK(seen == static_cast<Index>(unbroken.distillation->curve.size()));
    CHECK(contents(clinic.folder / "healed") == contents(clinic.folder / "unbroken"));
    REQUIRE(resumed.blocks.size() == unbroken.blocks.size());
    const auto told = [](std::vector<BlockHealing> blocks) {  // all but the time it took
        for (auto& block : blocks) block.seconds_per_step = 0;
        return detail::to_json(blocks);
    };
    CHECK(told(resumed.blocks) == told(unbroken.blocks));
    // what cannot be is refused
    const auto refuse = [&](const std::string& piece, const auto& change) {
        const auto path = work / "blocks" / "model.written";
        const auto before = read_file(path);
        change_snapshot(path, change);
        check_throws<FormatError>([&] { clinic.heal(options, "x"); }, {"model.written", piece});
        write_file(path, before);
    };
    refuse("has 1 layers, the model has 2", [](auto& header) { header["layers"].erase(1); });
    refuse("is of layer 1, not of 0", [](auto& header) { header["layers"][0]["layer"] = 1; });
    refuse("'best_step' is 5", [](auto& header) { header["layers"][1]["best_step"] = 5; });
    refuse("'layers'", [](auto& header) { header.erase("layers"); });
    for (const char* name : {"mpo_config.json", "model.safetensors", "config.json"}) {
        const auto path = work / "blocks_model" / name;
        const auto before = read_file(path);
        auto other = before;
        other[other.size() / 2] ^= 1;
        write_file(path, other);
        check_throws<FormatError>(
            [&] { clinic.heal(options, "x"); },
            {"blocks_model: is not what the block stage wrote", "made again"});
        write_file(path, before);
    }
    write_file(work / "blocks_model" / "tokenizer.json", "{}");
    check_throws<FormatError>([&] { clinic.heal(options, "x"); }, {"blocks_model: is not what"});
    std::filesystem::remove(work / "blocks_model" / "tokenizer.json");
    // without its model the stage is not behind us
    std::filesystem::remove_all(work / "blocks_model");
    std::filesystem::remove_all(work / "distillation");
    seen = 0;
    (void)clinic.heal(options, "anew");
    CHECK(seen > static_cast<Index>(unbroken.distillation->curve.size()));
    CHECK(contents(clinic.folder / "anew") == contents(clinic.folder / "unbroken"));
}

TEST_CASE("heal: a model of other snapshots is not taken for that of these") {
    const Clinic clinic;
    const auto work = clinic.folder / "work";
    auto options = Clinic::options();
    (void)clinic.heal(options, "first");
    options.blocks->seed = options.distillation->seed = 2;
    check_throws<ArgumentError>([&] { clinic.heal(options, "x"); }, {"another configuration"});
    std::filesystem::remove_all(work / "blocks");
    std::filesystem::remove_all(work / "distillation");
    (void)clinic.heal(options, "second");
    (void)clinic.heal(options, "expected", "work_2");
    CHECK(contents(clinic.folder / "second") == contents(clinic.folder / "expected"));
    CHECK(contents(clinic.folder / "second") != contents(clinic.folder / "first"));
    // and what is there of this run is not written again
    const auto written = std::filesystem::last_write_time(work / "blocks_model");
    (void)clinic.heal(options, "third");
    CHECK(std::filesystem::last_write_time(work / "blocks_model") == written);
    for (const auto& entry : std::filesystem::directory_iterator(work / "blocks"))
        if (entry.path().extension() == ".snapshot") std::filesystem::remove(entry.path());
    options.blocks->seed = 3;
    check_throws<ArgumentError>([&] { clinic.heal(options, "x"); },
                                {"model.written", "seed was 2, asked for is 3"});
}

TEST_CASE("heal: snapshots whose numbers no run can have left are refused") {
    const Clinic clinic;
    auto options = Clinic::options();
    options.progress = [](const HealProgress& now) {
        return now.layer == 1 && now.step == 8 ? ProgressReply::cancel : ProgressReply::go_on;
    };
    check_throws<Cancelled>([&] { clinic.heal(options); }, {"layer 1"});
    options.progress = {};
    const auto blocks = clinic.folder / "work" / "blocks";
    const auto refuse = [&](const std::filesystem::path& path,
                            const std::vector<std::string>& pieces,
                            const std::function<void(nlohmann::ordered_json&)>& change,
                            const std::string& longer = "") {
        const auto before = read_file(path);
        change_snapshot(path, change, longer);
        check_throws<FormatError>([&] { clinic.heal(options); }, pieces);
        write_file(path, before);
    };
    const auto nothing = [](auto&) {};
    const auto unfinished = blocks / "layer_1.unfinished", finished = blocks / "layer_0.snapshot";
    refuse(unfinished, {"'best'", "numbers, not"}, nothing, "best");
    refuse(unfinished, {"'step' must be a whole number"},
           [](auto& header) { header["step"] = -3; });
    refuse(unfinished, {"'step' must be a whole number"},
           [](auto& header) { header["step"] = 1e300; });
    refuse(unfinished, {"'step' is 13", "0 to 12"}, [](auto& header) { header["step"] = 13; });
    refuse(unfinished, {"'fell_back' has 99"}, [](auto& header) { header["fell_back"] = {99}; });
    for (const auto& path : {unfinished, finished}) {
        refuse(path, {"the curve is empty"},
               [](auto& header) { header["curve"] = nlohmann::ordered_json::array(); });
        refuse(path, {"point 1 of the curve has the step 0"},
               [](auto& header) { header["curve"][1]["step"] = 0; });
        refuse(path, {"'best_step' is 5"}, [](auto& header) { header["best_step"] = 5; });
        refuse(path, {"is of layer 7"}, [](auto& header) { header["layer"] = 7; });
        refuse(path, {path.string(), "'layer' must be a whole number"},
               [](auto& header) { header["layer"] = 1e300; });
        refuse(path, {"'sinks' must be a whole number"},
               [](auto& header) { header["sinks"] = 1e300; });
        refuse(path, {"'fell_back' has 0", "ascends"},
               [](auto& header) { header["fell_back"] = {0}; });
        refuse(path, {"'fell_back' has 4", "ascends"}, [](auto& header) {
            header["fell_back"] = {4, 4};
        });
        refuse(path, {"'fell_back' has 5", "steps of the curve"},
               [](auto& header) { header["fell_back"] = {5}; });
    }
    (void)clinic.heal(options);
    const auto last = clinic.folder / "work" / "distillation" / "distillation.snapshot";
    change_snapshot(last, [](auto& header) { header["best_step"] = 1; });
    check_throws<FormatError>([&] { clinic.heal(options, "x"); },
                              {"distillation.snapshot", "'best_step' is 1"});
    change_snapshot(last, [](auto& header) { header["best_step"] = 1e300; });
    check_throws<FormatError>([&] { clinic.heal(options, "x"); },
                              {"distillation.snapshot", "'best_step' must be a whole number"});
}

TEST_CASE("heal: patience counts looks, and ends a layer at one of them") {
    const Clinic clinic;
    auto options = Clinic::options();
    options.distillation.reset();
    options.blocks->learning_rate = {2, 0, LearningRateDecay::constant, 0};
    options.blocks->steps = 40;
    options.blocks->evaluate_every = 3;
    options.blocks->patience = 2;
    for (const auto& block : clinic.heal(options).blocks) {
        Index since = 0;
        for (const auto& point : block.curve) since += point.step > block.best_step ? 1 : 0;
        CHECK(block.curve.back().step < 40);
        CHECK(since == 2);
    }
}

TEST_CASE("heal: a work folder is a run's own, and one run's at a time") {
    const Clinic clinic;
    const auto refuse = [&](const std::string& work, const std::vector<std::string>& pieces) {
        check_throws<ArgumentError>([&] { clinic.heal(Clinic::options(), "x", work); }, pieces);
    };
    std::filesystem::create_directories(clinic.folder / "mine");
    write_file(clinic.folder / "mine" / "precious", "all of it");
    const auto before = contents(clinic.folder / "mine");
    refuse("mine", {"mine is not the work folder of a run", heal_work_file, "nothing was done"});
    refuse("teacher", {"is not the work folder of a run"});
    CHECK(contents(clinic.folder / "mine") == before);

    const auto work = clinic.folder / "work";
    std::filesystem::create_directories(work);  // killed as it wrote its first file
    write_file(work / ".heal_work.json.77.tmp", "{");
    {
        const WorkFolderLock lock(work);
        refuse("work", {"another process is at work", "work"});
    }
    (void)clinic.heal(Clinic::options());
    for (const std::string version : {"1", "5"}) {
        write_file(work / heal_work_file, R"({"format_version": )" + version + "}");
        check_throws<FormatError>([&] { clinic.heal(Clinic::options(), "x"); },
                                  {heal_work_file, "'format_version' is " + version});
    }
    check_throws<FileError>([&] { const WorkFolderLock lock("/proc/none"); }, {"/proc/none"});
}

TEST_CASE("heal: student, teacher, texts and options that do not fit") {
    const Clinic clinic, other("group_8");
    const auto refuse = [&](const std::vector<std::string>& pieces, auto change) {
        auto options = Clinic::options();
        change(options);
        check_throws<ArgumentError>([&] { clinic.heal(options, "x", "work_x"); }, pieces);
        CHECK(!std::filesystem::exists(clinic.folder / "x"));
    };
    refuse({"learning rate", "got 0"}, [](auto& o) { o.blocks->learning_rate.peak = 0; });
    refuse({"learning rate", "got -1"}, [](auto& o) { o.blocks->learning_rate.peak = -1; });
    refuse({"learning rate", "got nan"},
           [](auto& o) { o.blocks->learning_rate.peak = std::nan(""); });
    refuse({"steps", "got 0"}, [](auto& o) { o.blocks->steps = 0; });
    refuse({"sink_weight", "got -1"}, [](auto& o) { o.blocks->sink_weight = -1; });
    refuse({"held_out_every >= 2", "got 1"}, [](auto& o) { o.held_out_every = 1; });
    // of the second stage before the first has run
    refuse({"learning rate", "got 0"}, [](auto& o) { o.distillation->learning_rate.peak = 0; });
    refuse({"top must be 1 to 32", "got 33"}, [](auto& o) { o.distillation->top = 33; });
    refuse({"clip_norm", "got -1"}, [](auto& o) { o.distillation->clip_norm = -1; });
    refuse({"weight_decay", "below 1"}, [](auto& o) { o.distillation->weight_decay = 1e3; });
    refuse({"learning rate over 1 - beta1"},
           [](auto& o) { o.distillation->learning_rate.peak = 1e38; });
    refuse({"distill: none of the parts"},
           [](auto& o) { o.distillation->parts = {false, false, false, false, false, false}; });
    refuse({"heal: none of the parts"},
           [](auto& o) { o.blocks->parts = {false, false, false, false, false, false}; });
    refuse({"distill: max_workspace_bytes", "got 0"},
           [](auto& o) { o.distillation->max_workspace_bytes = 0; });
    refuse({"max_tape_bytes", "got -1"}, [](auto& o) { o.distillation->max_tape_bytes = -1; });
    refuse({"heal: a step of 1152921504606846976 windows of 8", "more than 2147483648 tokens"},
           [](auto& o) { o.blocks->batch_windows = Index{1} << 60; });
    refuse({"distill: a step of 1152921504606846976 windows of 8", "more than 2147483648 tokens"},
           [](auto& o) { o.distillation->batch_windows = Index{1} << 60; });
    refuse({"left_out is 8", "a window has 8 tokens"}, [](auto& o) { o.blocks->left_out = 8; });
    refuse({"student has none of the parts"},
           [](auto& o) { o.distillation->parts = {false, false, false, true, false, false}; });
    CHECK(!std::filesystem::exists(clinic.folder / "work_x"));
    const auto heal = [&](const std::filesystem::path& student,
                          const std::filesystem::path& teacher, const TrainingWindows& texts) {
        (void)mpo::heal(student, teacher, texts, clinic.folder / "x", clinic.folder / "work_y",
                        Clinic::options(), cpu);
    };
    check_throws<ShapeError>([&] { heal(clinic.student(), other.teacher(), clinic.texts); },
                             {"the student's vocabulary is 32, the teacher's 31"});
    check_throws<ArgumentError>([&] { heal(clinic.teacher(), clinic.teacher(), clinic.texts); },
                                {"is no compressed checkpoint"});
    TrainingWindows one;
    one.length = 8;
    append_training_windows(std::vector<Index>(9, 1), 1, 0, "text", one);
    check_throws<ArgumentError>([&] { heal(clinic.student(), clinic.teacher(), one); },
                                {"have 1 windows"});
    auto beyond = clinic.texts;
    beyond.tokens[3] = 32;
    check_throws<ArgumentError>([&] { heal(clinic.student(), clinic.teacher(), beyond); },
                                {"token 32 is outside the vocabulary of 32"});
    const auto refuse_windows = [&](const std::vector<std::string>& pieces, auto change) {
        auto windows = clinic.texts;
        change(windows);
        check_throws<ArgumentError>([&] { heal(clinic.student(), clinic.teacher(), windows); },
                                    pieces);
    };
    refuse_windows({"191 tokens are no whole windows of 8"}, [](auto& w) { w.tokens.pop_back(); });
    refuse_windows({"192 tokens", "followed by 0 and have 192 weights"},
                   [](auto& w) { w.next.clear(); });
    refuse_windows({"followed by 192 and have 191 weights"}, [](auto& w) { w.weights.pop_back(); });
    refuse_windows({"token 32 is outside", "at position 1 of window 1"},
                   [](auto& w) { w.next[9] = 32; });
    refuse_windows({"token -2", "neither one nor -1"}, [](auto& w) { w.next[9] = -2; });
    refuse_windows({"weight -1", "no number >= 0"}, [](auto& w) { w.weights[9] = -1; });
    refuse_windows({"weight nan"}, [](auto& w) { w.weights[9] = std::nanf(""); });
    refuse_windows({"weight 1 stands where no token follows", "at position 1 of window 1"},
                   [](auto& w) { w.next[9] = -1; });
    refuse_windows({"the weights of window 1 are all 0"},
                   [](auto& w) { std::fill_n(w.weights.begin() + 8, 8, 0.0f); });
    write_file(clinic.folder / "there", "");
    check_throws<ArgumentError>([&] { clinic.heal(Clinic::options(), "there"); },
                                {"exists already"});
}

TEST_CASE(
    "heal: a layer of which nothing was taken keeps its bits, and is looked at all the same") {
    const Clinic clinic("group_3", CompressForm::automatic, "layers\\.1");
    auto options = Clinic::options();
    options.distillation.reset();
    const auto report = clinic.heal(options);
    REQUIRE(report.blocks.size() == 2);
    CHECK(report.blocks[0].curve.size() == 1);
    CHECK(report.blocks[0].before().held_out < 1e-4);  // it is stored as bf16
    CHECK(report.blocks[1].after().held_out < 0.95 * report.blocks[1].before().held_out);
    const detail::WeightReader student(clinic.student(), {}, cpu);
    CHECK(detail::layers_left(student, nullptr, 2, {}) == std::vector<Index>{1, 1});
    TrainedParts weights;
    weights.weights = true;
    CHECK(detail::layers_left(student, nullptr, 2, weights) == std::vector<Index>{2, 1});
    const Clinic other("group_3", CompressForm::automatic, "layers\\.0");
    const detail::WeightReader rival(other.student(), {}, cpu);
    CHECK(detail::layers_left(rival, nullptr, 2, {}) == std::vector<Index>{1, 0});
    CHECK(detail::layers_left(student, &rival, 2, {}) == std::vector<Index>{2, 1});
    const Checkpoint before(clinic.student()), after(clinic.folder / "healed");
    for (const auto& tensor : before.tensors())
        if (tensor.name.find("layers.0.") != std::string::npos)
            CHECK(same_bytes(before, after, tensor.name));
}

TEST_CASE("heal: chains stay balanced, and the optimizer's memory with them") {
    const Clinic clinic;
    const EigenBackend& backend = cpu;
    const TransformerOptions read;
    detail::WeightReader reader(clinic.student(), read, backend);
    const auto config = transformer_config(reader.checkpoint());
    TrainingOptions training;
    training.rows = 8;
    TrainableBlock<float> layer("model.layers.0.", detail::read_layer_weights(reader, config, 0),
                                config, training, backend);
    Parameters<float> parameters;
    layer.list(parameters);
    AdamW<float> optimizer(parameters, {});
    Random random(3);
    for (const auto& parameter : parameters.all())
        for (float& g : parameter.gradient) g = static_cast<float>(random.normal());
    optimizer.step();
    auto& q = layer.linears().front();
    REQUIRE(q.form() == WeightForm::mpo);
    for (auto& core : q.arrays())
        for (Index k = 0; k < core.size(); ++k)
            core.data()[k] *= &core == &q.arrays()[0] ? 8.0f : 1.0f;
    const auto norm = [](const auto& values) {
        double sum = 0;
        for (const float x : values) sum += static_cast<double>(x) * x;
        return std::sqrt(sum);
    };
    const auto moment = [&] {
        for (const auto& moments : optimizer.state().moments)
            if (moments.name == q.name() + ".cores.0") return norm(moments.first);
        return 0.0;
    };
    const double before = norm(detail::numbers(q.arrays()[0])), memory = moment();
    detail::balance(layer, &optimizer);
    const double after = norm(detail::numbers(q.arrays()[0]));
    CHECK(after < 0.6 * before);
    CHECK(after == Approx(norm(detail::numbers(q.arrays()[1]))));
    CHECK(moment() == Approx(memory * before / after));
}

TEST_CASE("heal: from the dense states, a layer does not depend on those before it") {
    const Clinic clinic;
    auto options = Clinic::options();
    options.distillation.reset();
    const auto in_order = clinic.heal(options, "in_order", "work_in_order");
    options.blocks->inputs = HealInputs::dense;
    const auto apart = clinic.heal(options, "apart", "work_apart");
    REQUIRE(apart.blocks.size() == 2);
    for (const auto& block : apart.blocks)
        CHECK(block.after().held_out < 0.95 * block.before().held_out);
    // nothing was lost before the first layer; before the second the healed states are others
    CHECK(apart.blocks[0].after().held_out == in_order.blocks[0].after().held_out);
    CHECK(apart.blocks[1].before().held_out < in_order.blocks[1].before().held_out);

    // the second layer's bits do not care what became of the first
    const auto second_behind_another_first = [&](const std::string& work) {
        const auto copy = clinic.folder / (work + "_copy");
        { const WorkFolderLock made(copy); }
        std::filesystem::create_directories(copy / "blocks");
        const auto first = read_file(clinic.folder / work / "blocks" / "layer_0.snapshot");
        write_file(copy / "blocks" / "layer_0.snapshot", first);
        change_snapshot(
            copy / "blocks" / "layer_0.snapshot", [](auto&) {}, "", 0.5f);
        (void)clinic.heal(options, work + "_healed_copy", work + "_copy");
        return snapshot_arrays(copy / "blocks" / "layer_1.snapshot") ==
               snapshot_arrays(clinic.folder / work / "blocks" / "layer_1.snapshot");
    };
    CHECK(second_behind_another_first("work_apart"));
    options.blocks->inputs = HealInputs::healed;
    CHECK(!second_behind_another_first("work_in_order"));
    check_throws<ArgumentError>([&] { clinic.heal(options, "x", "work_apart"); },
                                {"another configuration", "inputs", "dense"});
}

TEST_CASE("heal: layers apart, broken off after any look, end with the same bits") {
    const Clinic clinic;
    auto options = Clinic::options();
    options.blocks->inputs = HealInputs::dense;
    options.distillation.reset();
    Index all = 0;
    options.progress = counts_looks(all);
    (void)clinic.heal(options, "unbroken", "work_unbroken");
    const auto expected = contents(clinic.folder / "unbroken");
    for (const Index looks : {1, 2, 4, 5, 7}) {
        INFO(looks);
        auto broken = options;
        Index seen = 0;
        broken.progress = cancels_at(looks, seen);
        const std::string work = "work_" + std::to_string(looks),
                          to = "to_" + std::to_string(looks);
        check_throws<Cancelled>([&] { clinic.heal(broken, to, work); }, {"the work folder has"});
        CHECK(seen == looks);
        broken.progress = counts_looks(seen);
        (void)clinic.heal(broken, to, work);
        CHECK(seen == all);
        CHECK(contents(clinic.folder / to) == expected);
    }
}

TEST_CASE("heal: a position that only the healed model makes long counts by its own length") {
    const Clinic clinic;
    const TransformerOptions read;
    detail::WeightReader reader(clinic.teacher(), read, cpu);
    const auto config = transformer_config(reader.checkpoint());
    const auto E =
        reader.read("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
    const WindowShape shape{1, 24};
    std::vector<Index> tokens(24, 1);
    for (std::size_t t = 0; t < tokens.size(); ++t) tokens[t] = static_cast<Index>(t);
    const auto layer = detail::read_layer(reader, config, 0);
    const std::vector<Index> windows{0};
    const auto flow_with = [&](float factor) {  // the healed model has a longer state at position 5
        auto longer = E;
        for (Index i = 0; i < config.hidden_size; ++i) longer(5, i) *= factor;
        detail::HealFlow flow(tokens, shape, longer, config, cpu);
        const detail::HealFlow dense(tokens, shape, E, config, cpu);
        flow.replace_dense(dense);
        flow.advance_dense(layer, 20);
        return std::pair(flow.num_strays(), flow.weights(windows, 0));
    };
    const auto [none, plain] = flow_with(1);
    CHECK(none == 0);
    CHECK(plain.sinks[5] == 0);
    const auto [one, guarded] = flow_with(1000);
    CHECK(one == 1);
    CHECK(guarded.ordinary[5] == 0);
    double square = 0;
    for (Index i = 0; i < config.hidden_size; ++i) square += 1e6 * E(5, i) * E(5, i);
    CHECK(guarded.sinks[5] == Approx(1 / square));
    CHECK(guarded.ordinary[6] > plain.ordinary[6]);  // its energy is none of theirs
    CHECK(guarded.bends == plain.bends);             // of the dense states
    CHECK(plain.bends[5] > 0);
}

TEST_CASE("heal: behind the last layer sinks and strays weigh nothing") {
    const Clinic clinic;
    detail::WeightReader reader(clinic.teacher(), {}, cpu);
    auto config = transformer_config(reader.checkpoint());
    const auto E =
        reader.read("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
    std::vector<Index> tokens(24);
    for (std::size_t t = 0; t < tokens.size(); ++t) tokens[t] = static_cast<Index>(t);
    const std::vector<Index> windows{0};
    const auto weights_behind =
        [&](Index num_layers) {  // two of them, with a factor so low that there are some
            config.num_layers = num_layers;
            detail::HealFlow flow(tokens, {1, 24}, E, config, cpu);
            for (Index k = 0; k < 2; ++k)
                flow.advance_dense(detail::read_layer(reader, config, k), 1.3);
            return std::pair(flow.num_sinks() + flow.num_strays(), flow.weights(windows, 0));
        };
    const auto [guarded, behind_last] = weights_behind(2);
    const auto [as_many, before_last] = weights_behind(3);
    CHECK(guarded > 0);
    CHECK(guarded < 24);
    CHECK(guarded == as_many);
    const auto weigh_nothing = [](const std::vector<float>& all) {
        return std::count(all.begin(), all.end(), 0.0f);
    };
    CHECK(weigh_nothing(before_last.sinks) == 24 - guarded);
    CHECK(weigh_nothing(behind_last.sinks) == 24);
    CHECK(weigh_nothing(behind_last.ordinary) == guarded);
    CHECK(behind_last.ordinary == before_last.ordinary);
}

TEST_CASE("heal: windows that are kept go on as they would among all") {
    const Clinic clinic;
    detail::WeightReader reader(clinic.teacher(), {}, cpu), student(clinic.student(), {}, cpu);
    auto config = transformer_config(reader.checkpoint());
    const auto E =
        reader.read("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
    ++config.num_layers;  // behind the last one sinks would weigh nothing
    std::vector<Index> tokens(40);
    for (std::size_t t = 0; t < tokens.size(); ++t)
        tokens[t] = static_cast<Index>(t * t + t) % config.vocab_size;
    detail::HealFlow all(tokens, {5, 8}, E, config, cpu), some(tokens, {5, 8}, E, config, cpu);
    const double sink_factor = 1.3;  // so that there are some, and strays
    TrainingOptions training;
    training.rows = 8;
    const std::vector<Index> chosen{3, 1};
    for (Index k = 0; k < 2; ++k) {
        const auto layer = detail::read_layer(reader, config, k);
        all.advance_dense(layer, sink_factor);
        some.advance_dense(layer, sink_factor);
        if (k == 0) some.keep(chosen);
        const TrainableBlock<float> healed(detail::concat("model.layers.", k, "."),
                                           detail::read_layer_weights(student, config, k), config,
                                           training, cpu);
        all.advance_healed(healed, 1);
        some.advance_healed(healed, 1);
    }
    REQUIRE(some.shape().windows == 2);
    CHECK(some.num_sinks() > 0);
    CHECK(some.num_sinks() < all.num_sinks());
    Tensor<float> x({16, config.hidden_size}), z(x.shape()), y(x.shape()), t(x.shape());
    all.gather(chosen, x, z);
    some.gather(std::vector<Index>{0, 1}, y, t);
    CHECK(std::equal(x.data(), x.data() + x.size(), y.data()));
    CHECK(std::equal(z.data(), z.data() + z.size(), t.data()));
    const auto expected = all.weights(chosen, 1), got = some.weights(std::vector<Index>{0, 1}, 1);
    CHECK(got.ordinary == expected.ordinary);
    CHECK(got.sinks == expected.sinks);
    CHECK(got.bends == expected.bends);
}

TEST_CASE("heal: behind the last chain only the held-out windows go on") {
    const Clinic clinic("group_3", CompressForm::automatic, "layers\\.0");
    auto options = Clinic::options();
    options.distillation.reset();
    options.blocks->sink_factor = 1.3;
    const auto report = clinic.heal(options);
    REQUIRE(report.blocks.size() == 2);
    CHECK(report.blocks[0].curve.size() > 1);
    CHECK(report.blocks[1].curve.size() == 1);
    CHECK(report.blocks[1].before().held_out > 0);
    CHECK(report.blocks[0].sinks > 4 * report.blocks[1].sinks);  // 20 windows and 4, to 4 alone
    CHECK(report.blocks[1].sinks > 0);
}

TEST_CASE("heal: the loss of a layer, and its gradient by differences") {
    const Index rows = 5, n = 7;
    Random random(8);
    Tensor<float> y({rows, n}), z({rows, n}), gradient({rows, n});
    for (Index r = 0; r < rows; ++r)
        for (Index i = 0; i < n; ++i) {
            z(r, i) = static_cast<float>(random.normal());
            y(r, i) = z(r, i) + (r < 2 ? 0.1f : 3.0f) * static_cast<float>(random.normal());
        }
    // row 4 is a sink; rows 2 and 3 lie beyond the bend
    const detail::RowWeights weights{
        {0.1f, 0.2f, 0.1f, 0.3f, 0}, {0, 0, 0, 0, 0.5f}, {1, 1, 1, 1.5f, 1}};
    const double sink_weight = 5;
    const auto loss = detail::block_loss(y, z, weights, sink_weight, &gradient);
    double ordinary = 0, sinks = 0;
    for (Index r = 0; r < rows; ++r) {
        double square = 0;
        for (Index i = 0; i < n; ++i) square += std::pow(y(r, i) - z(r, i), 2);
        const auto at = static_cast<std::size_t>(r);
        const double e = std::sqrt(square), m = weights.bends[at];
        CHECK((e > m) == (r >= 2));
        ordinary += weights.ordinary[at] * (e > m ? 2 * m * e - m * m : square);
        sinks += weights.sinks[at] * square;
    }
    CHECK(loss.ordinary == Approx(ordinary));
    CHECK(loss.sinks == Approx(sinks));
    for (Index r = 0; r < rows; ++r)
        for (Index i = 0; i < n; ++i) {
            const float middle = y(r, i), step = 0.01f;
            const auto total = [&](float value) {
                y(r, i) = value;
                return detail::block_loss(y, z, weights, sink_weight, nullptr).total(sink_weight);
            };
            const double slope = (total(middle + step) - total(middle - step)) / (2 * step);
            y(r, i) = middle;
            CHECK(std::abs(slope - gradient(r, i)) < 2e-3);
        }
}

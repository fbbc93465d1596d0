#include "mpo/model/heal.hpp"

#include <cmath>
#include <cstring>

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
        const auto a = before.checkpoint().raw(tensor.name),
                   b = after.checkpoint().raw(tensor.name);
        const bool same = std::equal(a.data(), a.data() + a.size(), b.data());
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
    const auto unbroken = clinic.heal(settings, "unbroken", "work_unbroken");
    CHECK(unbroken.blocks[0].fell_back.empty() == (rate < 1));
    const auto expected = contents(clinic.folder / "unbroken");
    for (const Index looks : {1, 2, 3, 4, 6, 9, 11}) {
        INFO(looks << " looks at " << rate);
        auto options = settings;
        Index seen = 0;
        options.progress = [&](const HealProgress& now) {
            if (now.stage == HealStage::teacher) return ProgressReply::go_on;
            return ++seen == looks ? ProgressReply::cancel : ProgressReply::go_on;
        };
        const std::string work = "work_" + std::to_string(looks),
                          to = "to_" + std::to_string(looks);
        check_throws<Cancelled>([&] { clinic.heal(options, to, work); }, {"the work folder has"});
        CHECK(!std::filesystem::exists(clinic.folder / to));
        (void)clinic.heal(settings, to, work);
        CHECK(seen == looks);
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
    CHECK(later.options().relative_rate);
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
    check_throws<NumericalError>([&] { clinic.heal(options); }, {"layer 0", "step"});
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
            mpo::heal(other.student(), other.teacher(), other.texts, clinic.folder / "third",
                      clinic.folder / "work", options, cpu);
        },
        {"another configuration", "asked for is"});
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
    CHECK(!std::filesystem::exists(clinic.folder / "work_x"));
    const auto heal = [&](const std::filesystem::path& student,
                          const std::filesystem::path& teacher, const TrainingWindows& texts) {
        mpo::heal(student, teacher, texts, clinic.folder / "x", clinic.folder / "work_y",
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
        if (tensor.name.find("layers.0.") != std::string::npos) {
            const auto a = before.raw(tensor.name), b = after.raw(tensor.name);
            CHECK(std::equal(a.data(), a.data() + a.size(), b.data()));
        }
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
        std::filesystem::create_directories(copy / "blocks");
        auto first = read_file(clinic.folder / work / "blocks" / "layer_0.snapshot");
        const float other = 0.5f;  // in the place of the last number
        std::memcpy(first.data() + first.size() - sizeof other, &other, sizeof other);
        write_file(copy / "blocks" / "layer_0.snapshot", first);
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
    (void)clinic.heal(options, "unbroken", "work_unbroken");
    const auto expected = contents(clinic.folder / "unbroken");
    for (const Index looks : {1, 2, 4, 5, 7}) {
        INFO(looks);
        auto broken = options;
        Index seen = 0;
        broken.progress = [&](const HealProgress&) {
            return ++seen == looks ? ProgressReply::cancel : ProgressReply::go_on;
        };
        const std::string work = "work_" + std::to_string(looks),
                          to = "to_" + std::to_string(looks);
        check_throws<Cancelled>([&] { clinic.heal(broken, to, work); }, {"the work folder has"});
        (void)clinic.heal(options, to, work);
        CHECK(seen == looks);
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

TEST_CASE("heal: windows that are kept go on as they would among all") {
    const Clinic clinic;
    detail::WeightReader reader(clinic.teacher(), {}, cpu), student(clinic.student(), {}, cpu);
    const auto config = transformer_config(reader.checkpoint());
    const auto E =
        reader.read("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
    std::vector<Index> tokens(5 * 8);
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
        all.advance_healed(healed);
        some.advance_healed(healed);
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

// The choice of form by healing: two compressed checkpoints of one teacher, layer by layer.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mpo/model/heal.hpp"
#include "mpo/model/transformer.hpp"
#include "support/catch.hpp"
#include "support/clinic.hpp"
#include "support/files.hpp"
#include "support/log_softmax.hpp"
#include "support/models.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A clinic whose student is made of chains, and "rival", of low rank.
struct Rivalry {
    Rivalry() : clinic("group_3", CompressForm::mpo) { add("rival", CompressForm::low_rank, 0.5); }
    void add(const std::string& name, CompressForm form, double budget,
             const std::string& only = "", DType dtype = DType::bf16) const {
        CompressOptions options;
        options.budget = budget;
        options.form = form;
        options.only = only;
        options.dtype = dtype;
        (void)compress(Checkpoint(clinic.teacher()), at(name), options, cpu);
    }
    [[nodiscard]] std::filesystem::path at(const std::string& name) const {
        return clinic.folder / name;
    }
    /// `first` healed with `second` as its rival, empty: without one.
    HealReport heal(const std::string& first, const std::string& second, HealOptions options,
                    const std::string& to) const {
        if (!second.empty()) options.rival = at(second);
        return mpo::heal(at(first), clinic.teacher(), clinic.texts, at(to), at("work_" + to),
                         options, cpu);
    }
    Clinic clinic;
};

[[nodiscard]] HealOptions blocks_of(Index trial_steps = 0, HealChoice by = HealChoice::loss) {
    auto options = Clinic::options();
    options.distillation.reset();
    options.blocks->trial_steps = trial_steps;
    options.blocks->choose_by = by;
    return options;
}

/// Mean divergence of one model from another in every window, by its definition.
[[nodiscard]] std::vector<double> divergences_between(const std::filesystem::path& dense,
                                                      const std::filesystem::path& other,
                                                      const TrainingWindows& windows) {
    const Transformer p_model(dense, {}, cpu), q_model(other, {}, cpu);
    std::vector<double> means;
    for (Index w = 0; w < windows.count(); ++w) {
        const auto p = log_softmax_of(p_model, windows.tokens_of(w)),
                   q = log_softmax_of(q_model, windows.tokens_of(w));
        double sum = 0;
        for (Index k = 0; k < p.size(); ++k)
            sum += std::exp(p.data()[k]) * (p.data()[k] - q.data()[k]);
        means.push_back(sum / static_cast<double>(windows.length));
    }
    return means;
}

/// Mean of a - b, and its standard error: the root of the unbiased variance over the number of windows.
[[nodiscard]] std::pair<double, double> paired(const std::vector<double>& a,
                                               const std::vector<double>& b) {
    const auto n = static_cast<double>(a.size());
    double mean = 0, variance = 0;
    for (std::size_t k = 0; k < a.size(); ++k) mean += (a[k] - b[k]) / n;
    for (std::size_t k = 0; k < a.size(); ++k)
        variance += std::pow(a[k] - b[k] - mean, 2) / (n - 1);
    return {mean, std::sqrt(variance / n)};
}

/// The least of the looks up to a step.
[[nodiscard]] double loss_of(const HealCourse& course, Index step = 12) {
    double least = course.before().total(HealBlocksOptions{}.sink_weight);
    for (const auto& point : course.curve)
        if (point.step <= step)
            least = (std::min)(least, point.total(HealBlocksOptions{}.sink_weight));
    return least;
}

[[nodiscard]] std::vector<double> held_out_of(const HealCourse& course) {
    std::vector<double> losses;
    for (const auto& point : course.curve) losses.push_back(point.held_out);
    return losses;
}

/// Everything of a layer that is on the disk, by name: types, shapes, bytes, what mpo_config.json says.
[[nodiscard]] std::vector<std::string> layer_on_disk(const std::filesystem::path& folder,
                                                     Index layer) {
    const CompressedCheckpoint model(folder);
    const auto prefix = detail::concat("model.layers.", layer, ".");
    std::vector<std::string> all;
    for (const auto& tensor : model.checkpoint().tensors()) {
        if (!tensor.name.starts_with(prefix)) continue;
        const auto bytes = model.checkpoint().raw(tensor.name);
        all.push_back(detail::concat(tensor.name, ' ', to_string(tensor.type), ' ',
                                     to_string(tensor.shape), ' ',
                                     std::string(reinterpret_cast<const char*>(bytes.data()),
                                                 static_cast<std::size_t>(bytes.size()))));
    }
    std::vector<CompressedLinear> linears;
    for (const auto& linear : model.linears())
        if (linear.name.starts_with(prefix)) linears.push_back(linear);
    all.push_back(to_compressed_config(linears));
    return all;
}

}  // namespace

TEST_CASE("heal: of two forms of a layer the one is kept that heals to the lower loss") {
    const Rivalry rivalry;
    const auto chains = rivalry.heal("student", "", blocks_of(), "chains");
    const auto low_rank = rivalry.heal("rival", "", blocks_of(), "low_rank");
    REQUIRE(loss_of(chains.blocks[0]) != loss_of(low_rank.blocks[0]));
    const bool chains_are_better = loss_of(chains.blocks[0]) < loss_of(low_rank.blocks[0]);
    const auto& better = chains_are_better ? chains : low_rank;
    const auto& worse = chains_are_better ? low_rank : chains;
    const std::string winner = chains_are_better ? "chains" : "low_rank";
    for (const bool swapped : {false, true})
        for (const Index trial : {0, 4}) {
            INFO(swapped << ' ' << trial);
            const auto to = detail::concat("to_", swapped, trial);
            const auto report = rivalry.heal(swapped ? "rival" : "student",
                                             swapped ? "student" : "rival", blocks_of(trial), to);
            const auto& first = report.blocks[0];
            // the lower loss, whoever has it, with the course that either form has alone
            CHECK((first.form == LayerForm::rival) == (swapped == chains_are_better));
            CHECK(held_out_of(first) == held_out_of(better.blocks[0]));
            REQUIRE(first.other);
            auto stopped = held_out_of(worse.blocks[0]);
            if (trial > 0) stopped.resize(2);
            CHECK(held_out_of(*first.other) == stopped);
            CHECK(layer_on_disk(rivalry.at(to), 0) == layer_on_disk(rivalry.at(winner), 0));
            // what was kept gives the next layer its states: the same form behind it has the course that it has alone
            const auto& second = report.blocks[1];
            REQUIRE(second.other);
            const bool same_again = second.form == first.form;
            auto known = held_out_of(better.blocks[1]);
            if (trial > 0 && !same_again) known.resize(2);
            CHECK(held_out_of(same_again ? static_cast<const HealCourse&>(second)
                                         : *second.other) == known);
            CHECK(loss_of(second, trial > 0 ? trial : 12) <= loss_of(*second.other));
        }
}

TEST_CASE("heal: two forms' divergences, and what is known of their difference") {
    const std::vector<double> student{1, 2, 3, 6}, rival{2, 3, 5, 6};
    const auto both = detail::compared(student, rival);
    CHECK(both.student == 3);
    CHECK(both.rival == 4);
    CHECK(std::abs(both.error - std::sqrt(2.0 / 3 / 4)) < tolerance<double>(4, 1));  // 1, 1, 2, 0
    CHECK(both.of(LayerForm::student) == 3);
    CHECK(both.of(LayerForm::rival) == 4);
    CHECK(detail::compared(rival, student).error == both.error);
    CHECK(detail::compared(student, student).error == 0);
    const std::vector<double> alone{1}, more{1.5};
    CHECK(detail::compared(alone, more).error == 0);
    CHECK(detail::compared(alone, more).rival == 1.5);

    // the lower one goes on, the student's where both are equal
    HealCourse low, high;
    low.curve = {{0, 0, 1, 0}};
    high.curve = {{0, 0, 2, 0}};
    SingleProcess group;
    HealBlocksOptions options;
    const auto choose = [&](const HealCourse& of_student, const HealCourse& of_rival,
                            const std::optional<detail::FormDivergences>& divergences) {
        return detail::choice_of(of_student, of_rival, divergences, options, group);
    };
    const auto of_rival = choose(low, high, {{3.1, 3, 0.06}}),
               of_student = choose(high, low, {{3, 3.1, 0.06}});
    CHECK(of_rival.form == LayerForm::rival);
    CHECK(of_rival.divergences.value().error == 0.06);
    CHECK(of_rival.other.value().divergence == 3.1);
    CHECK(of_rival.other->before().held_out == 1);
    CHECK(of_student.form == LayerForm::student);
    CHECK(of_student.other.value().divergence == 3.1);
    CHECK(of_student.other->before().held_out == 1);
    CHECK(choose(high, low, {{3, 3, 0}}).form == LayerForm::student);
    options.choose_by = HealChoice::loss;
    CHECK(choose(low, high, {}).form == LayerForm::student);
    CHECK(choose(low, low, {}).form == LayerForm::student);
    CHECK(choose(high, low, {}).form == LayerForm::rival);
    CHECK(!choose(high, low, {}).divergences);
    CHECK(!choose(high, low, {}).other.value().divergence);
}

TEST_CASE("heal: a judge names the window whose divergence is no number") {
    const Clinic clinic;
    const TransformerOptions read;
    detail::WeightReader teacher(clinic.teacher(), read, cpu);
    const auto config = transformer_config(teacher.checkpoint());
    const auto windows = detail::divided(clinic.texts, Clinic::options()).held_out;
    const detail::HealJudge judge(teacher, config, windows, cpu);
    const Index rows = windows.count() * windows.length, n = config.hidden_size;
    Tensor<float> states({rows, n});
    for (Index k = 0; k < states.size(); ++k) states.data()[k] = static_cast<float>(k % 7 - 3);
    CHECK(judge.divergences(0, states).size() == static_cast<std::size_t>(windows.count()));
    states.data()[windows.length * n] = std::numeric_limits<float>::quiet_NaN();
    check_throws<NumericalError>([&] { (void)judge.divergences(0, states); },
                                 {"behind layer 0", "held-out window 1 is", "nan"});
}

TEST_CASE("heal: of two forms of a layer the one is kept whose words diverge less") {
    for (const std::string only : {"layers\\.0", "layers\\.1"}) {  // what is behind stays dense
        const std::size_t at = only.back() == '0' ? 0 : 1;
        const Rivalry rivalry;
        rivalry.add("chains", CompressForm::mpo, 0.5, only, DType::f32);
        rivalry.add("low_rank", CompressForm::low_rank, 0.3, only, DType::f32);
        const auto options = blocks_of(0, HealChoice::divergence);
        const auto held_out = detail::divided(rivalry.clinic.texts, options).held_out;
        std::map<std::string, std::vector<double>> divergences;
        for (const std::string form : {"chains", "low_rank"}) {
            CHECK(!rivalry.heal(form, "", options, "of_" + form).blocks[at].divergence);
            divergences[form] =
                divergences_between(rivalry.clinic.teacher(), rivalry.at("of_" + form), held_out);
        }
        for (const bool swapped : {false, true}) {
            INFO(only << ' ' << swapped);
            const auto to = detail::concat("to_", swapped);
            const auto block = rivalry
                                   .heal(swapped ? "low_rank" : "chains",
                                         swapped ? "chains" : "low_rank", options, to)
                                   .blocks[at];
            REQUIRE(block.other);
            const auto [lead, error] = paired(divergences[swapped ? "chains" : "low_rank"],
                                              divergences[swapped ? "low_rank" : "chains"]);
            CHECK((block.form == LayerForm::student) == (lead > 0));
            CHECK(std::abs(block.divergence_error.value() / error - 1) < 1e-2);
            const bool is_chains = (block.form == LayerForm::rival) == swapped;
            const auto near = [&](const std::string& form, double measured) {
                const auto& of = divergences[form];
                const double mean =
                    std::accumulate(of.begin(), of.end(), 0.0) / static_cast<double>(of.size());
                CHECK(std::abs(measured / mean - 1) < 1e-3);
            };
            near(is_chains ? "chains" : "low_rank", block.divergence.value());
            near(is_chains ? "low_rank" : "chains", block.other->divergence.value());
            CHECK(contents(rivalry.at(to)) ==
                  contents(rivalry.at(is_chains ? "of_chains" : "of_low_rank")));
        }
    }
}

TEST_CASE("heal: layers of two checkpoints in one, dense ones among them, and distilled") {
    const Rivalry rivalry;
    // layer 0: nothing was taken; layer 1: more than the student lost
    rivalry.add("half", CompressForm::low_rank, 0.2, "layers\\.1");
    for (const bool swapped : {false, true}) {
        INFO(swapped);
        const auto to = detail::concat("to_", swapped), blocks = detail::concat("blocks_", swapped);
        const std::string student = swapped ? "half" : "student",
                          rival = swapped ? "student" : "half";
        const auto report = rivalry.heal(student, rival, blocks_of(), blocks);
        CHECK(report.blocks[0].form == (swapped ? LayerForm::student : LayerForm::rival));
        CHECK(report.blocks[0].curve.size() == 1);
        CHECK(report.blocks[0].other->curve.size() == 4);
        CHECK(report.blocks[1].form == (swapped ? LayerForm::rival : LayerForm::student));
        const CompressedCheckpoint mixed(rivalry.at(blocks));
        for (const auto& linear : mixed.linears()) CHECK(linear.name.starts_with("model.layers.1"));
        CHECK(mixed.linears().size() == 7);
        CHECK(layer_on_disk(rivalry.at(blocks), 0) == layer_on_disk(rivalry.at("half"), 0));
        const CompressedCheckpoint chains(rivalry.at("student"));
        for (const auto& linear : mixed.linears())
            for (const auto& was : chains.linears())
                if (was.name == linear.name) {
                    CHECK(was.layout == linear.layout);
                    CHECK(was.bonds == linear.bonds);
                    CHECK(was.stored_as == linear.stored_as);
                }
        const auto both = rivalry.heal(student, rival, Clinic::options(), to);
        REQUIRE(both.distillation);
        const auto& curve = both.distillation->curve;
        CHECK(curve.back().divergence < curve.front().divergence);
        (void)Transformer(rivalry.at(to), {}, cpu);
        CHECK(CompressedCheckpoint(rivalry.at(to)).num_parameters() == mixed.num_parameters());
    }
}

TEST_CASE("heal: with a rival, broken off after any look, a run ends with the same bits") {
    const Rivalry rivalry;
    for (const Index trial : {0, 4}) {
        auto settings = Clinic::options();
        settings.blocks->trial_steps = trial;
        const auto name = detail::concat("unbroken_", trial);
        const auto unbroken = rivalry.heal("student", "rival", settings, name);
        const auto expected = contents(rivalry.at(name));
        const Index looks_of_layer = trial > 0 ? 6 : 8;
        for (Index looks = 1; looks<2 * looks_of_layer + 4; looks += trial> 0 ? 2 : 5) {
            INFO(looks << " looks, trial " << trial);
            auto options = settings;
            Index seen = 0, rivals = 0;
            options.progress = [&](const HealProgress& now) {
                if (now.stage == HealStage::teacher) return ProgressReply::go_on;
                rivals += now.form == LayerForm::rival ? 1 : 0;
                return ++seen == looks ? ProgressReply::cancel : ProgressReply::go_on;
            };
            const auto to = detail::concat("to_", trial, '_', looks);
            check_throws<Cancelled>([&] { rivalry.heal("student", "rival", options, to); },
                                    {"the work folder has"});
            CHECK(seen == looks);
            const auto resumed = rivalry.heal("student", "rival", options, to);
            CHECK(seen == 2 * looks_of_layer + 4);  // no look twice
            CHECK(rivals >= (trial > 0 ? 4 : 8));
            CHECK(contents(rivalry.at(to)) == expected);
            for (std::size_t k = 0; k < 2; ++k) {
                CHECK(resumed.blocks[k].form == unbroken.blocks[k].form);
                CHECK(held_out_of(*resumed.blocks[k].other) ==
                      held_out_of(*unbroken.blocks[k].other));
                REQUIRE(unbroken.blocks[k].divergence);
                CHECK(resumed.blocks[k].divergence == unbroken.blocks[k].divergence);
                CHECK(resumed.blocks[k].divergence_error == unbroken.blocks[k].divergence_error);
                CHECK(resumed.blocks[k].other->divergence == unbroken.blocks[k].other->divergence);
            }
        }
    }
}

TEST_CASE("heal: a rival that is the student's copy changes nothing, and costs nothing") {
    const Rivalry rivalry;
    std::filesystem::copy(rivalry.at("student"), rivalry.at("copy"));
    (void)rivalry.heal("student", "", blocks_of(), "alone");
    Index looks = 0;
    auto options = blocks_of();
    options.progress = [&](const HealProgress&) {
        ++looks;
        return ProgressReply::go_on;
    };
    const auto report = rivalry.heal("student", "copy", options, "with_copy");
    CHECK(looks == 8);
    for (const auto& block : report.blocks) {
        CHECK(block.form == LayerForm::student);
        CHECK(!block.other);
    }
    CHECK(contents(rivalry.at("with_copy")) == contents(rivalry.at("alone")));

    // the same layouts with other numbers are another form
    for (const auto& block : rivalry.heal("student", "alone", blocks_of(), "with_healed").blocks)
        CHECK(block.other);
}

TEST_CASE("heal: layers apart have a choice of form, too") {
    const Rivalry rivalry;
    auto options = blocks_of(4);
    options.blocks->inputs = HealInputs::dense;
    const auto report = rivalry.heal("student", "rival", options, "to");
    auto alone = blocks_of();
    alone.blocks->inputs = HealInputs::dense;
    const auto chains = rivalry.heal("student", "", alone, "chains"),
               low_rank = rivalry.heal("rival", "", alone, "low_rank");
    for (std::size_t k = 0; k < 2; ++k) {
        const bool rival = loss_of(low_rank.blocks[k], 4) < loss_of(chains.blocks[k], 4);
        CHECK((report.blocks[k].form == LayerForm::rival) == rival);
        CHECK(layer_on_disk(rivalry.at("to"), static_cast<Index>(k)) ==
              layer_on_disk(rivalry.at(rival ? "low_rank" : "chains"), static_cast<Index>(k)));
    }
}

TEST_CASE("heal: a rival that does not fit, or is another run's") {
    const Rivalry rivalry;
    rivalry.add("other", CompressForm::low_rank, 0.4);
    const auto options = blocks_of();
    (void)rivalry.heal("student", "rival", options, "to");
    const auto again = [&](const std::string& rival, const std::vector<std::string>& pieces) {
        std::filesystem::remove_all(rivalry.at("to"));
        check_throws<ArgumentError>([&] { rivalry.heal("student", rival, options, "to"); }, pieces);
        CHECK(!std::filesystem::exists(rivalry.at("to")));
    };
    again("other", {"layer_0.snapshot", "another configuration", "rival was", "asked for is"});
    again("", {"layer_0.snapshot", "another configuration", "rival was", "asked for is (nothing)"});
    again("teacher", {"teacher is no compressed checkpoint"});
    check_throws<ArgumentError>(
        [&] { rivalry.heal("student", "rival", blocks_of(0, HealChoice::divergence), "to"); },
        {"layer_0", "another configuration", "rival_chosen_by was \"loss\"", "\"divergence\""});

    const Clinic larger("group_8");
    const auto refuse = [&](const std::filesystem::path& rival, auto change, auto kind,
                            const std::vector<std::string>& pieces) {
        auto changed = Clinic::options();
        changed.rival = rival;
        change(changed);
        check_throws<decltype(kind)>([&] { rivalry.heal("student", "", changed, "x"); }, pieces);
        CHECK(!std::filesystem::exists(rivalry.at("work_x")));
    };
    const ArgumentError argument("");
    refuse(larger.student(), [](auto&) {}, ShapeError(""),
           {"the rival's vocabulary is 31, the teacher's 32"});
    refuse(rivalry.at("rival"), [](auto& o) { o.blocks.reset(); }, argument,
           {"rival", "the block stage chooses, which is not asked for"});
    refuse("", [](auto& o) { o.blocks->trial_steps = 4; }, argument,
           {"trial_steps is 4", "no rival"});
    for (const Index steps : {-4, 5, 16})
        refuse(rivalry.at("rival"), [&](auto& o) { o.blocks->trial_steps = steps; }, argument,
               {"trial_steps up to steps, 12", "a multiple of evaluate_every, 4",
                detail::concat("got ", steps)});
}

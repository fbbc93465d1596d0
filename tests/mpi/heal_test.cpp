// Healing by the ranks of a job: ctest runs this under mpirun. What one rank alone does is tests/model's matter.

#include "mpo/model/heal.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "mpo/model/agree.hpp"
#include "mpo/mpi.hpp"
#include "support/catch.hpp"
#include "support/clinic.hpp"
#include "support/files.hpp"
#include "support/limits.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A clinic that all ranks see; rank 0 made it, and takes it away when all are through.
class Ward {
  public:
    explicit Ward(const std::string& only = "") {
        if (first()) clinic_.emplace("group_3", CompressForm::automatic, only);
        const auto folder =
            detail::broadcast_text(all_, first() ? clinic_->folder.string() : "", 0);
        if (!first()) clinic_.emplace(Clinic::in(folder));
    }
    ~Ward() { all_.barrier(); }
    Ward(const Ward&) = delete;
    Ward& operator=(const Ward&) = delete;

    [[nodiscard]] MpiCommunicator& all() { return all_; }
    [[nodiscard]] bool first() const { return all_.rank() == 0; }
    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const {
        return clinic_->folder / name;
    }
    [[nodiscard]] const Clinic& clinic() const { return *clinic_; }

    /// By all ranks.
    HealReport heal(const HealOptions& options, const std::string& to, const std::string& work) {
        return clinic_->heal_by(all_, options, to, work);
    }
    /// By rank 0 alone, while the others wait; its report is rank 0's alone.
    HealReport heal_alone(const HealOptions& options, const std::string& to,
                          const std::string& work) {
        HealReport report;
        if (first()) report = clinic_->heal(options, to, work);
        all_.barrier();
        return report;
    }
    /// Whether all ranks hold these numbers, to the bit.
    template <class T>
    [[nodiscard]] bool same_everywhere(const std::vector<T>& numbers) {
        const auto gathered = all_.gather(std::as_bytes(std::span(numbers)), 0);
        return std::all_of(gathered.begin(), gathered.end(),
                           [&](const auto& one) { return one == gathered.front(); });
    }

  private:
    MpiCommunicator all_;
    std::optional<Clinic> clinic_;
};

[[nodiscard]] HealOptions blocks_alone(HealInputs inputs = HealInputs::healed) {
    auto options = heal_settings();
    options.blocks->inputs = inputs;
    options.distillation.reset();
    return options;
}

/// Every number of the looks.
[[nodiscard]] std::vector<double> numbers_of(const HealReport& report) {
    std::vector<double> numbers;
    for (const auto& block : report.blocks)
        for (const auto& point : block.curve)
            numbers.insert(numbers.end(), {point.training, point.held_out, point.sinks});
    if (report.distillation)
        for (const auto& point : report.distillation->curve)
            numbers.insert(numbers.end(), {point.training, point.divergence, point.cross_entropy});
    return numbers;
}

[[nodiscard]] double relative_distance(const std::vector<double>& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    double largest = 0;
    for (std::size_t k = 0; k < a.size(); ++k)
        largest = (std::max)(largest, std::abs(a[k] - b[k]) / (std::abs(b[k]) + 1e-12));
    return largest;
}

}  // namespace

TEST_CASE("agree: what some ranks throw all throw, in the same kind") {
    MpiCommunicator all;
    const int last = all.size() - 1;
    const auto try_it = [&](auto kind, const std::string& name) {
        using E = decltype(kind);
        INFO(name);
        check_throws<E>(
            [&] {
                detail::all_or_none(all, [&] {
                    if (all.rank() == last) throw E("it is " + name);
                });
            },
            {all.rank() == last ? "it is " + name
                                : "rank " + std::to_string(last) + ": it is " + name});
    };
    try_it(Cancelled(""), "cancelled");
    try_it(ShapeError(""), "shape");
    try_it(ArgumentError(""), "argument");
    try_it(FormatError(""), "format");
    try_it(FileError(""), "file");
    try_it(NumericalError(""), "number");
    try_it(BackendError(""), "backend");
    try_it(Error(""), "");
    CHECK_THROWS(detail::all_or_none(all, [&] {
        if (all.rank() == last) throw 7;
    }));
    detail::all_or_none(all, [] {});  // and the ranks are still in step
    CHECK(detail::all_or_none_of(all, [&] { return all.rank() + 3; }) == all.rank() + 3);
    check_throws<FileError>(
        [&] {
            (void)detail::all_or_none_of(all, [&] {
                if (all.rank() == last) throw FileError("no file");
                return 1;
            });
        },
        {"no file"});
    check_throws<ArgumentError>(
        [&] {
            detail::all_or_none(all, [&] {
                detail::raise<ArgumentError>({"of rank ", all.rank()});
            });
        },
        {"of rank " + std::to_string(all.rank())});
    CHECK(detail::answer_of_root(all, all.rank() == 0));
    CHECK(!detail::answer_of_root(all, all.rank() != 0));
    detail::require_same_everywhere(all, 0.25, "test");
    if (all.size() > 1)
        check_throws<NumericalError>(
            [&] { detail::require_same_everywhere(all, all.rank() == last ? 1 : 0.25, "test"); },
            {"test: this process has a loss of 1, rank 0 has 0.25"});
}

TEST_CASE("heal: a step's windows shared by ranks make the step of one, to rounding") {
    Ward ward;
    const auto compare = [&](const HealOptions& options, const std::string& snapshot,
                             const std::string& name) {
        const auto together = ward.heal(options, "all_" + name, "work_all_" + name);
        const auto alone = ward.heal_alone(options, "one_" + name, "work_one_" + name);
        CHECK(ward.same_everywhere(numbers_of(together)));
        if (!ward.first()) return;
        INFO(name);
        CHECK(relative_distance(numbers_of(together), numbers_of(alone)) < 1e-3);
        CHECK(snapshot_distance(ward / ("work_all_" + name + snapshot),
                                ward / ("work_one_" + name + snapshot)) < 1e-3);
    };
    compare(blocks_alone(), "/blocks/layer_0.snapshot", "blocks");
    if (ward.first())
        CHECK(snapshot_distance(ward / "work_all_blocks/blocks/layer_1.snapshot",
                                ward / "work_one_blocks/blocks/layer_1.snapshot") < 1e-3);
    auto distillation = heal_settings();
    distillation.blocks.reset();
    compare(distillation, "/distillation/distillation.snapshot", "distillation");
    distillation.distillation->batch_windows = 4;
    distillation.distillation->accumulate = 2;
    compare(distillation, "/distillation/distillation.snapshot", "accumulated");
}

TEST_CASE("heal: ranks choose the same of two forms of a layer, in order and apart") {
    Ward ward;
    if (ward.first()) {
        CompressOptions options;
        options.budget = 0.5;
        options.form = CompressForm::low_rank;
        (void)compress(Checkpoint(ward.clinic().teacher()), ward / "rival", options, cpu);
    }
    ward.all().barrier();
    for (const auto inputs : {HealInputs::healed, HealInputs::dense}) {
        auto options = blocks_alone(inputs);
        options.rival = ward / "rival";
        options.blocks->trial_steps = 4;
        const std::string name = inputs == HealInputs::dense ? "_apart" : "_in_order";
        const auto unbroken = ward.heal(options, "unbroken" + name, "work_unbroken" + name);
        CHECK(ward.same_everywhere(numbers_of(unbroken)));
        std::vector<Index> forms;
        std::vector<double> divergences;
        for (const auto& block : unbroken.blocks) {
            REQUIRE(block.other);
            divergences.insert(divergences.end(),
                               {block.divergence.value(), block.divergence_error.value(),
                                block.other->divergence.value()});
            CHECK(block.other->curve.size() == 2);
            forms.push_back(static_cast<Index>(block.form));
        }
        CHECK(ward.same_everywhere(forms));
        CHECK(ward.same_everywhere(divergences));
        auto broken = options;
        Index seen = 0;
        broken.progress = cancels_at(3, seen);
        const auto to = "to" + name, work = "work" + name;
        CHECK_THROWS_AS((void)ward.heal(broken, to, work), Cancelled);
        ward.all().barrier();
        (void)ward.heal(options, to, work);
        CHECK(contents(ward / to) == contents(ward / ("unbroken" + name)));
    }
}

TEST_CASE("heal: all ranks hold the same bits of a distilled model") {
    Ward ward;
    auto options = heal_settings();
    options.blocks.reset();
    (void)ward.heal(options, "to", "work");  // makes the teacher's caches
    const auto windows = detail::divided(ward.clinic().texts, options);
    CacheTeacherOptions caching;
    caching.top = options.distillation->top;
    const auto cache = [&](const char* name, const TrainingWindows& part) {
        return TeacherCache(ward / "work" / name,
                            teacher_cache_run(ward.clinic().teacher(), part, caching));
    };
    const auto taught = cache("teacher", windows.training);
    const auto looked_at = cache("teacher_held_out", windows.held_out);
    if (ward.first()) std::filesystem::create_directory(ward / "distilling");
    ward.all().barrier();
    const DistillSources sources{ward.clinic().student(), ward / "distilling",
                                 &windows.training,       &taught,
                                 &windows.held_out,       &looked_at};
    const auto distilled = distill(sources, *options.distillation, cpu, ward.all());
    std::vector<float> numbers;
    for (const auto& layer : distilled.weights.layers) {
        const auto put = [&](const Tensor<float>& array) {
            numbers.insert(numbers.end(), array.data(), array.data() + array.size());
        };
        put(layer.input_norm);
        put(layer.post_attention_norm);
        for (const auto& linear : layer.linears)
            if (const auto* chain = std::get_if<Mpo<float>>(&linear.weight))
                for (Index k = 0; k < chain->num_sites(); ++k) put(chain->core(k));
    }
    CHECK(numbers.size() > 1000);
    CHECK(ward.same_everywhere(numbers));
}

TEST_CASE("heal: rank 0 cancels at any look, and all end; going on, with the same bits") {
    Ward ward;
    (void)ward.heal(heal_settings(), "unbroken", "work_unbroken");
    const auto expected = contents(ward / "unbroken");
    for (const Index looks : {1, 6, 8, 11}) {
        INFO(looks);
        auto options = heal_settings();
        Index seen = 0;
        options.progress = cancels_at(looks, seen);
        const std::string work = "work_" + std::to_string(looks),
                          to = "to_" + std::to_string(looks);
        check_throws<Cancelled>([&] { (void)ward.heal(options, to, work); },
                                {"the work folder has"});
        CHECK(seen == (ward.first() ? looks : 0));  // the others are not asked
        CHECK(!std::filesystem::exists(ward / to));
        ward.all().barrier();
        options.progress = counts_looks(seen);
        (void)ward.heal(options, to, work);
        CHECK(seen ==
              (ward.first() ? 12 : 0));  // no look twice: it goes on, and does not begin anew
        CHECK(contents(ward / to) == expected);
    }
}

TEST_CASE("heal: the teacher's pass is cancelled on all ranks") {
    Ward ward;
    auto options = heal_settings();
    options.progress = [](const HealProgress& now) {
        return now.stage == HealStage::teacher ? ProgressReply::cancel : ProgressReply::go_on;
    };
    CHECK_THROWS_AS((void)ward.heal(options, "to", "work"), Cancelled);
    CHECK(ward.same_everywhere(numbers_of(ward.heal(heal_settings(), "to", "work"))));
}

TEST_CASE("heal: rank 0's disk is full, and all end; going on, with the same bits") {
    Ward ward;
    (void)ward.heal(heal_settings(), "unbroken", "work_unbroken");
    const auto expected = contents(ward / "unbroken");
    for (const Index looks : {1, 4, 8, 10, 12}) {
        INFO(looks);
        auto options = heal_settings();
        Index seen = 0;
        std::optional<FileSizeLimit> full;
        options.progress = [&](const HealProgress& now) {
            if (now.stage != HealStage::teacher && ++seen == looks) full.emplace(512);
            return ProgressReply::go_on;
        };
        const std::string work = "work_" + std::to_string(looks),
                          to = "to_" + std::to_string(looks);
        check_throws<FileError>([&] { (void)ward.heal(options, to, work); },
                                {ward.first() ? "" : "rank 0: "});
        full.reset();
        ward.all().barrier();
        (void)ward.heal(heal_settings(), to, work);
        CHECK(contents(ward / to) == expected);
    }
}

TEST_CASE("heal: a loss that is no number ends all ranks and leaves the last snapshot") {
    Ward ward;
    auto options = heal_settings();
    options.blocks->learning_rate = {1e30, 0, LearningRateDecay::constant, 0};
    check_throws<NumericalError>([&] { (void)ward.heal(options, "to", "work"); },
                                 {"layer 0", "step"});
    CHECK(std::filesystem::exists(ward / "work/blocks/layer_0.unfinished"));
    options = heal_settings();
    options.distillation->learning_rate = {1e30, 0, LearningRateDecay::constant, 0};
    check_throws<NumericalError>([&] { (void)ward.heal(options, "to", "work_2"); }, {"step"});
    CHECK(std::filesystem::exists(ward / "work_2/distillation/distillation.snapshot"));
    CHECK(!std::filesystem::exists(ward / "to"));
}

TEST_CASE("heal: layers apart have the bits that one process gives them") {
    Ward ward;
    const auto options = blocks_alone(HealInputs::dense);
    const auto together = ward.heal(options, "all", "work_all");
    const auto alone = ward.heal_alone(options, "one", "work_one");
    CHECK(ward.same_everywhere(numbers_of(together)));
    REQUIRE(together.blocks.size() == 2);
    CHECK(together.blocks[0].layer == 0);
    CHECK(together.blocks[1].layer == 1);
    if (!ward.first()) return;
    CHECK(numbers_of(together) == numbers_of(alone));
    CHECK(contents(ward / "all") == contents(ward / "one"));
    for (const std::string layer : {"/blocks/layer_0.snapshot", "/blocks/layer_1.snapshot"})
        CHECK(snapshot_arrays(ward / ("work_all" + layer)) ==
              snapshot_arrays(ward / ("work_one" + layer)));
}

TEST_CASE("heal: layers apart share the work: no rank heals another's") {
    Ward ward;
    auto options = blocks_alone(HealInputs::dense);
    std::set<Index> heard;
    options.progress = [&](const HealProgress& now) {
        heard.insert(now.layer);
        return ProgressReply::go_on;
    };
    (void)ward.heal(options, "to", "work");
    std::set<Index> own;
    for (Index k = 0; ward.first() && k < 2; k += ward.all().size()) own.insert(k);
    CHECK(heard == own);
}

TEST_CASE("heal: layers apart, cancelled by rank 0: all end, any number of ranks goes on") {
    Ward ward;
    const auto options = blocks_alone(HealInputs::dense);
    (void)ward.heal_alone(options, "unbroken", "work_unbroken");
    for (const bool by_one : {false, true}) {
        auto broken = options;
        Index seen = 0;
        broken.progress = cancels_at(2, seen);
        const std::string work = by_one ? "work_1" : "work_n", to = by_one ? "to_1" : "to_n";
        check_throws<Cancelled>([&] { (void)ward.heal(broken, to, work); },
                                {"cancelled in layer 0 after step 4"});
        CHECK(std::filesystem::exists(ward / work / "blocks" / "layer_0.unfinished"));
        // the other rank was through with its own
        CHECK(std::filesystem::exists(ward / work / "blocks" / "layer_1.snapshot") ==
              (ward.all().size() > 1));
        ward.all().barrier();
        if (by_one)
            (void)ward.heal_alone(options, to, work);
        else
            (void)ward.heal(options, to, work);
        CHECK(contents(ward / to) == contents(ward / "unbroken"));
    }
}

TEST_CASE("heal: one rank alone fails at its layer, and all end, saying which") {
    Ward ward("layers\\.1");  // nothing was taken from layer 0
    auto options = blocks_alone(HealInputs::dense);
    options.blocks->learning_rate = {1e30, 0, LearningRateDecay::constant, 0};
    const bool mine = ward.all().rank() == 1 || ward.all().size() == 1;
    check_throws<NumericalError>([&] { (void)ward.heal(options, "to", "work"); },
                                 {mine ? "heal: layer 1, step " : "rank 1: heal: layer 1, step "});
    CHECK(!std::filesystem::exists(ward / "to"));
    CHECK(std::filesystem::exists(ward / "work/blocks/layer_1.unfinished"));
}

TEST_CASE("heal: ranks that cannot share a step's windows evenly are told so") {
    Ward ward;
    auto options = heal_settings();
    options.blocks->batch_windows = options.distillation->batch_windows = 3;
    if (ward.all().size() == 1) return;
    options.distillation.reset();
    check_throws<ArgumentError>([&] { (void)ward.heal(options, "to", "work"); },
                                {"2 processes cannot share 3 windows"});
    options.blocks->inputs = HealInputs::dense;  // nothing is shared
    (void)ward.heal(options, "to", "work_apart");
    CHECK(std::filesystem::exists(ward / "to"));
}

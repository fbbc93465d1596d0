// What healing trains, and what it leaves alone; steps in parts, the norms of cores, and models that do not fit.

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "mpo/model/heal.hpp"
#include "mpo/model/training_snapshot.hpp"
#include "support/catch.hpp"
#include "support/clinic.hpp"
#include "support/files.hpp"
#include "support/naive.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// Which member of TrainedParts a tensor of a compressed checkpoint belongs to.
[[nodiscard]] std::string part_of_tensor(const CompressedCheckpoint& model,
                                         const std::string& name) {
    if (model.core_of(name).linear != nullptr) return "cores";
    if (name == "model.norm.weight") return "last norm";
    if (name.find("norm.") != std::string::npos) return "norms";
    if (name.ends_with(".bias")) return "biases";
    if (name.find("embed_tokens") != std::string::npos) return "embedding";
    return name.find("lm_head") != std::string::npos ? "head" : "weights";
}

/// Which parts have a tensor with other bytes; of the others all have the same.
[[nodiscard]] std::set<std::string> changed_parts(const std::filesystem::path& before,
                                                  const std::filesystem::path& after) {
    const CompressedCheckpoint was(before), is(after);
    REQUIRE(was.checkpoint().tensors().size() == is.checkpoint().tensors().size());
    std::set<std::string> changed;
    for (const auto& tensor : was.checkpoint().tensors())
        if (!same_bytes(was.checkpoint(), is.checkpoint(), tensor.name))
            changed.insert(part_of_tensor(was, tensor.name));
    return changed;
}

/// Largest over smallest norm of a chain's cores in what a snapshot would go on with, the worst of all chains.
[[nodiscard]] double worst_imbalance(const std::filesystem::path& snapshot) {
    const SafetensorsFile file(snapshot);
    const std::string values = detail::training_array("values", ""), cores = ".cores.";
    std::map<std::string, std::vector<double>> norms;
    for (const auto& tensor : file.tensors())
        if (const auto at = tensor.name.find(cores);
            at != std::string::npos && tensor.name.starts_with(values))
            norms[tensor.name.substr(0, at)].push_back(naive::norm(file.read<float>(tensor.name)));
    REQUIRE(!norms.empty());
    double worst = 1;
    for (const auto& [linear, of] : norms) {
        REQUIRE(of.size() >= 2);
        const auto [least, most] = std::minmax_element(of.begin(), of.end());
        worst = (std::max)(worst, *most / *least);
    }
    return worst;
}

/// Options with one stage and looks after 0, 10 and 20 steps.
[[nodiscard]] HealOptions every_ten_steps(bool blocks) {
    auto options = Clinic::options();
    options.blocks->steps = options.distillation->steps = 20;
    options.blocks->evaluate_every = options.distillation->evaluate_every = 10;
    blocks ? options.distillation.reset() : options.blocks.reset();
    return options;
}

}  // namespace

TEST_CASE("heal: what is trained changes, and nothing else, whatever that is") {
    TrainedParts cores, norms, biases, dense, outside;
    cores = norms = biases = dense = outside = {false, false, false, false, false, false};
    cores.cores = norms.norms = biases.biases = dense.weights = true;
    outside.embedding = outside.head = true;
    const std::pair<TrainedParts, std::set<std::string>> cases[] = {
        {cores, {"cores"}},
        {norms, {"norms"}},
        {biases, {"biases"}},
        {dense, {"weights"}},
        {outside, {"embedding", "head"}},
        {TrainedParts::all(), {"biases", "cores", "embedding", "head", "norms", "weights"}}};
    Clinic clinic("qwen2", CompressForm::automatic, "layers\\.1\\.mlp");  // all else stays dense
    // every window is the first one: what lowers the loss of those trained on lowers that of those held out
    for (auto* values : {&clinic.texts.tokens, &clinic.texts.next})
        for (std::size_t k = 8; k < values->size(); ++k) (*values)[k] = (*values)[k - 8];
    for (const auto& [parts, expected] : cases) {
        const std::string name = *expected.begin() + std::to_string(expected.size());
        INFO(name);
        auto options = Clinic::options();
        options.blocks->parts = options.distillation->parts = parts;
        auto alone = options;
        alone.blocks.reset();
        (void)clinic.heal(alone, name + "_distilled", "work_distilled_" + name);
        auto of_all_layers = expected;
        if (parts.norms) of_all_layers.insert("last norm");
        CHECK(changed_parts(clinic.student(), clinic.folder / (name + "_distilled")) ==
              of_all_layers);
        if (expected.contains("embedding")) continue;  // no layer's
        options.distillation.reset();
        (void)clinic.heal(options, name + "_blocks", "work_blocks_" + name);
        CHECK(changed_parts(clinic.student(), clinic.folder / (name + "_blocks")) == expected);
    }
}

TEST_CASE("distill: a step that is taken in parts is the step of the whole, to rounding") {
    const Clinic clinic;
    auto options = Clinic::options();
    options.blocks.reset();
    options.distillation->batch_windows = 4;
    const auto snapshot = [&](Index parts) {
        options.distillation->accumulate = parts;
        const auto name = std::to_string(parts);
        (void)clinic.heal(options, "healed_" + name, "work_" + name);
        return clinic.folder / ("work_" + name) / "distillation" / "distillation.snapshot";
    };
    const auto whole = snapshot(1);
    for (const Index parts : {2, 4}) {
        INFO(parts);
        CHECK(snapshot_distance(snapshot(parts), whole) < 1e-3);
    }
}

TEST_CASE("heal: cores of a chain have one norm before the first step, and again after ten") {
    const Clinic clinic;
    for (const bool blocks : {true, false})
        for (const Index looks : {1, 2}) {
            INFO(blocks << ", " << looks << " looks");
            auto options = every_ten_steps(blocks);
            Index seen = 0;
            options.progress = [&](const HealProgress& now) {
                if (now.stage == HealStage::teacher) return ProgressReply::go_on;
                CHECK(now.step == 10 * seen);
                return ++seen == looks ? ProgressReply::cancel : ProgressReply::go_on;
            };
            const auto work = (blocks ? "blocks_" : "distilled_") + std::to_string(looks);
            check_throws<Cancelled>([&] { clinic.heal(options, "x", work); }, {"cancelled"});
            CHECK(worst_imbalance(clinic.folder / work /
                                  (blocks ? "blocks/layer_0.unfinished"
                                          : "distillation/distillation.snapshot")) < 1 + 1e-4);
        }
}

TEST_CASE("heal: a student or rival of another shape than the teacher's is refused") {
    const Clinic clinic;  // 36 wide, 50 inside, 2 layers, 9 heads on 3
    const auto good = read_file(clinic.student() / "config.json");
    const auto refuse = [&](const char* key, const nlohmann::json& value,
                            const std::string& piece) {
        INFO(key);
        change_config(clinic.student(), key, value);
        check_throws<ShapeError>([&] { clinic.heal(Clinic::options(), "x"); },
                                 {"the student's " + piece});
        CHECK(!std::filesystem::exists(clinic.folder / "x"));
        CHECK(!std::filesystem::exists(clinic.folder / "work"));
        write_file(clinic.student() / "config.json", good);
    };
    refuse("vocab_size", 31, "vocabulary is 31, the teacher's 32");
    refuse("hidden_size", 54, "hidden size is 54, the teacher's 36");
    refuse("num_hidden_layers", 1, "number of layers is 1, the teacher's 2");
    refuse("intermediate_size", 49, "intermediate size is 49, the teacher's 50");
    refuse("num_attention_heads", 6, "number of heads is 6, the teacher's 9");
    refuse("num_key_value_heads", 9, "number of key-value heads is 9, the teacher's 3");
    refuse("head_dim", 8, "size of a head is 8, the teacher's 4");
    refuse("tie_word_embeddings", true, "tied head is 1, the teacher's 0");
    std::filesystem::copy(clinic.student(), clinic.folder / "rival");
    change_config(clinic.folder / "rival", "num_hidden_layers", 1);
    auto options = Clinic::options();
    options.rival = clinic.folder / "rival";
    check_throws<ShapeError>([&] { clinic.heal(options, "x"); },
                             {"the rival's number of layers is 1, the teacher's 2"});
    (void)clinic.heal(Clinic::options());  // what was put back fits
}

TEST_CASE("distill: windows, what the teacher says of them, and the model belong together") {
    const Clinic clinic, other("group_8");
    CacheTeacherOptions caching;
    caching.top = 8;
    auto longer = clinic.texts, changed = clinic.texts;
    changed.tokens[5] = (changed.tokens[5] + 1) % 31;
    append_training_windows(std::vector<Index>(9, 1), 1, 0, "text", longer);
    const auto cache =
        cache_teacher(clinic.folder / "cache", clinic.teacher(), clinic.texts, caching, cpu);
    SingleProcess alone;
    const auto refuse = [&](const std::filesystem::path& student, const TrainingWindows& windows,
                            const TrainingWindows& held_out,
                            const std::vector<std::string>& pieces) {
        const auto work = clinic.folder / "distillation";
        std::filesystem::create_directories(work);
        const DistillSources sources{student, work, &windows, &cache, &held_out, &cache};
        check_throws<ArgumentError>(
            [&] { (void)distill(sources, *Clinic::options().distillation, cpu, alone); }, pieces);
        CHECK(std::filesystem::is_empty(work));
    };
    const auto& good = clinic.texts;
    refuse(clinic.student(), longer, good, {"cache is of 24 windows of 8 tokens", "of 25 of 8"});
    refuse(clinic.student(), changed, good, {"cache is of 24 windows of 8", "fingerprint"});
    refuse(clinic.student(), good, changed, {"cache is of 24 windows of 8", "fingerprint"});
    refuse(clinic.student(), TrainingWindows{}, good, {"windows"});
    auto small = good;
    for (auto* ids : {&small.tokens, &small.next})
        for (auto& id : *ids) id %= 31;
    refuse(other.student(), small, small, {"vocabulary has 32 tokens, the student's 31"});
}

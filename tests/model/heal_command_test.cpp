// mpo heal as a script sees it: what it prints and writes, what a run that was killed leaves, and what is refused.

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mpo/model/heal_results.hpp"
#include "mpo/model/trainable_transformer.hpp"
#include "mpo/model/transformer.hpp"
#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/desk.hpp"
#include "support/files.hpp"
#include "support/hashed_weights.hpp"
#include "support/models.hpp"

#ifdef MPO_COMMAND

namespace {

using namespace mpo;
using namespace mpo::test;

/// "decoder", "small" of half its parameters, "train" and "other": texts of the same few words.
struct Ward : Desk {
    Ward() {
        add_decoder(*this);
        const char* words[] = {"the ", "ab ", "then ", "and ", "other ", "if ", "again "};
        std::mt19937 random(7);
        std::string train, other;
        for (int k = 0; k < 90; ++k) train += words[random() % 7];
        for (int k = 0; k < 20; ++k) other += words[random() % 7];
        write_file(folder / "train", train);
        write_file(folder / "other", other);
        REQUIRE(run("compress decoder -o small --budget 0.5").status == 0);
    }
    /// A run that takes a moment; `more` are options, which go before the usual ones, and flags.
    [[nodiscard]] static std::vector<std::string> heal(const std::string& output,
                                                       const std::vector<std::string>& more = {}) {
        const std::pair<const char*, const char*> usual[] = {
            {"--teacher", "decoder"}, {"--text", "train"},
            {"--window", "8"},        {"--top", "8"},
            {"--blocks-steps", "6"},  {"--distill-steps", "6"},
            {"--batch-windows", "2"}, {"--look-every", "2"},
            {"--threads", "2"},       {"--learning-rate", "0.02"}};
        std::vector<std::string> all{"heal", "small", "-o", output};
        all.insert(all.end(), more.begin(), more.end());
        for (const auto& [option, value] : usual)
            if (std::find(more.begin(), more.end(), option) == more.end())
                all.insert(all.end(), {option, value});
        return all;
    }
    [[nodiscard]] static std::string line(const std::vector<std::string>& arguments) {
        std::string text;
        for (const auto& argument : arguments) text += argument + " ";
        return text;
    }
    /// Starts the run and kills it, when `until` says so or it has ended. True where it was killed.
    template <class Until>
    [[nodiscard]] bool killed(const std::vector<std::string>& arguments, const Until& until) const {
        const Channel out, err;
        const auto child =
            start_program(MPO_COMMAND, arguments, folder.path(), out.number(), err.number(), [] {});
        for (int k = 0; k < 20'000 && !until(); ++k) {
            ::siginfo_t info{};
            if (::waitid(P_PID, static_cast<::id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) ==
                    0 &&
                info.si_pid == child)
                break;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        ::kill(child, SIGKILL);
        return wait_for(child).signal == SIGKILL;
    }
};

}  // namespace

TEST_CASE("mpo heal: both stages, what they cost, and what became of another text") {
    const Ward ward;
    const auto healed = ward.run(ward.line(
        ward.heal("healed", {"--evaluate", "other", "--json", "h.json", "--report", "h.html"})));
    INFO(healed.err << healed.out);
    REQUIRE(healed.status == 0);
    for (const char* piece : {"layers", "tokens/step", "peak memory", "held-out loss of the layers",
                              "before healing", "after the block stage", "after distillation"})
        CHECK(contains(healed.out, piece));
    for (const char* piece :
         {"heal layer 0 (1/2) step 0/6: held out ", "heal layer 1 (2/2) step 6/6: loss ",
          "heal teacher 1/", "heal distillation step 6/6: loss ", " tokens/s, ", " s left",
          "evaluate "})
        CHECK(contains(healed.err, piece));
    const auto names = ward.folder.names();
    CHECK(std::find(names.begin(), names.end(), "healed.work") == names.end());

    const auto json = nlohmann::json::parse(read_file(ward.folder / "h.json"));
    CHECK(json["layers"].size() == 2);
    for (const auto& layer : json["layers"]) {
        CHECK(layer["curve"].size() == 4);
        CHECK(layer["curve"][3]["held_out"] < layer["curve"][0]["held_out"]);
    }
    CHECK(json["curve"].size() == 4);
    CHECK(json["blocks"]["steps"] == 12);  // of both layers
    CHECK(json["blocks"]["tokens_seen"] == 12 * 16);
    CHECK(json["distillation"]["tokens_seen"] == 6 * 16);
    for (const char* stage : {"blocks", "distillation"}) {
        CHECK(json[stage]["seconds_per_step"] > 0);
        CHECK(json[stage]["peak_bytes"] > 1'000'000);
    }
    const auto& text = json["evaluation"][0];
    CHECK(text["blocks"]["kld_mean"] < text["before"]["kld_mean"]);
    CHECK(text["distillation"]["kld_mean"] < text["blocks"]["kld_mean"]);
    for (const char* form : {"before", "distillation"}) {  // what mpo evaluate says
        const auto said = nlohmann::json::parse(
            ward.run(std::string("evaluate ") +
                     (std::string(form) == "before" ? "small" : "healed") +
                     " --reference decoder --text other --window 8 --stride 8 --json -")
                .out);
        CHECK(said["texts"][0]["kld_mean"] == text[form]["kld_mean"]);
    }
    CHECK(contains(read_file(ward.folder / "h.html"), "Held-out loss over the layers"));

    const auto alone = ward.run(ward.line(ward.heal("b", {"--distill-steps", "0", "--json", "-"})));
    REQUIRE(alone.status == 0);
    const auto blocks = nlohmann::json::parse(alone.out);  // and nothing else is on stdout
    CHECK(blocks["distillation"].is_null());
    CHECK(blocks["layers"].size() == 2);
}

TEST_CASE("mpo heal --rival: says whose form every layer has, also when it was killed meanwhile") {
    const Ward ward;
    REQUIRE(ward.run("compress decoder -o low --budget 0.5 --form low-rank").status == 0);
    const auto arguments = [&](const std::string& output) {
        return ward.heal(output, {"--rival", "low", "--trial-steps", "2", "--evaluate", "other",
                                  "--resume", "--json", "h.json", "--report", "h.html"});
    };
    const auto healed = ward.run(ward.line(arguments("healed")));
    INFO(healed.err << healed.out);
    REQUIRE(healed.status == 0);
    CHECK(contains(healed.out, "form of the layers: "));
    CHECK(contains(healed.out, " of 2 the rival's"));
    CHECK(contains(healed.err, "heal layer 0 (1/2) step 2/6: loss "));
    CHECK(contains(healed.err, "heal layer 0 (1/2) rival step 2/6: loss "));
    const auto json = nlohmann::json::parse(read_file(ward.folder / "h.json"));
    CHECK(json["rival"] == "low");
    CHECK(json["choose_by"] == "divergence");
    CHECK(json["blocks"]["settings"]["trial_steps"] == 2);
    CHECK(json["blocks"]["steps"] == 2 * (6 + 2));
    for (const auto& layer : json["layers"]) {
        CHECK((layer["form"] == "student" || layer["form"] == "rival"));
        CHECK(layer["curve"].size() == 4);
        CHECK(layer["other"]["curve"].size() == 2);
        const bool is_rivals = layer["form"] == "rival";
        const double of_student = (is_rivals ? layer["other"] : layer)["divergence"],
                     of_rival = (is_rivals ? layer : layer["other"])["divergence"],
                     error = layer["divergence_error"];
        CHECK(error > 0);
        CHECK(is_rivals == (of_rival < of_student));
    }
    CHECK(json["distillation"]["parameters"] ==
          trained_parameters(CompressedCheckpoint(ward.folder / "healed"), {},
                             HealStage::distillation));
    CHECK(contains(read_file(ward.folder / "h.html"), "Other form"));
    CHECK(contains(read_file(ward.folder / "h.html"), "diverge less from the teacher"));

    REQUIRE(ward.killed(arguments("out"), [&] {
        return std::filesystem::exists(ward.folder / "out.work/blocks/rival/layer_0.unfinished");
    }));
    const auto rest = ward.run(ward.line(arguments("out")));
    INFO(rest.err);
    CHECK(rest.status == 0);
    CHECK(contents(ward.folder / "out") == contents(ward.folder / "healed"));
}

TEST_CASE("mpo heal: the parameters of its table are those that training has") {
    const Ward ward;
    REQUIRE(ward.run("compress decoder -o half --budget 0.5 --only 'layers\\.0'").status == 0);
    for (const char* name : {"small", "half"})
        for (const auto& parts : {TrainedParts{}, TrainedParts::all(), TrainedParts{.norms = false},
                                  TrainedParts{.cores = false, .weights = true, .head = true}}) {
            const CompressedCheckpoint student(ward.folder / name);
            auto [config, weights] = read_model_weights(ward.folder / name, cpu);
            TrainingOptions options;
            options.rows = 8;
            options.parts = parts;
            TrainableTransformer<float> model(std::move(config), std::move(weights), options, cpu);
            CHECK(trained_parameters(student, parts, HealStage::distillation) ==
                  model.parameters().num_values());
            Parameters<float> layers;
            for (auto& layer : model.layers())  // nothing is healed where nothing was taken
                if (parts.weights || layer.linears().front().form() == WeightForm::mpo)
                    layer.list(layers);
            CHECK(trained_parameters(student, parts, HealStage::blocks) == layers.num_values());
        }
}

TEST_CASE("mpo heal --resume: killed at random moments, a run ends with the same bytes") {
    using Clock = std::chrono::steady_clock;
    const Ward ward;
    const auto begin = Clock::now();
    REQUIRE(ward.run(ward.line(ward.heal("unbroken"))).status == 0);
    const auto duration = Clock::now() - begin;
    const auto expected = contents(ward.folder / "unbroken");
    REQUIRE(expected.size() > 2);
    std::mt19937 random(8);
    int kills = 0;
    for (int round = 0; round < 3; ++round) {
        const auto arguments = ward.heal("out", {"--resume"});
        for (int k = 0; k < 4 && !std::filesystem::exists(ward.folder / "out"); ++k) {
            const auto deadline = Clock::now() + duration * (random() % 900) / 1000;
            kills += ward.killed(arguments, [&] { return Clock::now() >= deadline; }) ? 1 : 0;
        }
        if (!std::filesystem::exists(ward.folder / "out")) {
            const auto rest = ward.run(ward.line(arguments));
            INFO(rest.err);
            CHECK(rest.status == 0);
            CHECK(!std::filesystem::exists(ward.folder / "out.work"));
        }
        CHECK(contents(ward.folder / "out") == expected);
        std::filesystem::remove_all(ward.folder / "out");
        std::filesystem::remove_all(ward.folder / "out.work");
    }
    CHECK(kills > 3);
}

TEST_CASE("mpo heal --resume: killed while it judges, a run still says all that it did") {
    const Ward ward;
    REQUIRE(ward.run(ward.line(ward.heal("unbroken", {"--json", "u.json"}))).status == 0);
    const auto arguments =
        ward.heal("out", {"--resume", "--json", "j.json", "--evaluate", "judge"});
    std::string long_text;
    for (int k = 0; k < 40; ++k) long_text += read_file(ward.folder / "other");
    write_file(ward.folder / "judge", long_text);
    REQUIRE(ward.killed(
        arguments, [&] { return std::filesystem::exists(ward.folder / "out.work" / "healed"); }));
    CHECK(!std::filesystem::exists(ward.folder / "out"));
    const auto rest = ward.run(ward.line(arguments));
    INFO(rest.err);
    REQUIRE(rest.status == 0);
    CHECK(contents(ward.folder / "out") == contents(ward.folder / "unbroken"));
    const auto whole = nlohmann::json::parse(read_file(ward.folder / "u.json"));
    const auto json = nlohmann::json::parse(read_file(ward.folder / "j.json"));
    CHECK(json["curve"] == whole["curve"]);
    for (std::size_t k = 0; k < 2; ++k) {
        CHECK(json["layers"][k]["curve"] == whole["layers"][k]["curve"]);
        CHECK(json["layers"][k]["best_step"] == whole["layers"][k]["best_step"]);
    }
    CHECK(json["blocks"]["peak_bytes"].is_null());  // an earlier run's
    CHECK(json["evaluation"][0].contains("distillation"));
}

TEST_CASE("mpo heal: a snapshot that cannot be written leaves the one before it, which goes on") {
    const Ward ward;
    const std::vector<std::string> long_run{"--distill-steps", "100"};
    REQUIRE(ward.run(ward.line(ward.heal("unbroken", long_run))).status == 0);
    const auto arguments =
        ward.heal("out", {"--resume", "--work", "work", long_run[0], long_run[1]});
    const auto snapshot = ward.folder / "work" / "distillation" / "distillation.snapshot";
    while (!std::filesystem::exists(snapshot))
        REQUIRE(ward.killed(arguments, [&] { return std::filesystem::exists(snapshot); }));
    const auto old = read_file(snapshot);
    const auto blocks = (old.size() - 1) / 512;  // what a file may have: less than this one
    REQUIRE(blocks > 0);
    const auto full = ward.run(ward.line(arguments), "ulimit -f " + std::to_string(blocks) + " &&");
    INFO(full.err);
    CHECK(full.status == 1);
    check_one_error_line(full.err);
    CHECK(contains(full.err, "distillation.snapshot"));
    CHECK(read_file(snapshot) == old);
    CHECK(!std::filesystem::exists(ward.folder / "out"));
    CHECK(ward.run(ward.line(arguments)).status == 0);
    CHECK(contents(ward.folder / "out") == contents(ward.folder / "unbroken"));
    CHECK(
        std::filesystem::exists(ward.folder / "work" / "blocks_model"));  // it was named: it stays
}

TEST_CASE("mpo heal: work of another run is refused by what differs") {
    const Ward ward;
    const std::vector<std::string> named{"--work", "work"};
    REQUIRE(ward.run(ward.line(ward.heal("out", named))).status == 0);
    std::filesystem::remove_all(ward.folder / "out");
    ward.refuse(1, ward.line(ward.heal("out", named)),
                {"work folder work exists already", "--resume"});
    const auto refused = [&](std::vector<std::string> more,
                             const std::vector<std::string>& pieces) {
        more.insert(more.end(), {"--work", "work", "--resume"});
        ward.refuse(1, ward.line(ward.heal("out", more)), pieces);
    };
    refused({"--blocks-steps", "8"}, {"another configuration", "steps was 6, asked for is 8"});
    refused({"--seed", "2"}, {"another configuration", "seed was 1, asked for is 2"});
    const auto train = read_file(ward.folder / "train");
    write_file(ward.folder / "train", "ab " + train.substr(3));
    refused({}, {"another configuration", "was", "asked for is"});
    refused({"--blocks-steps", "0"}, {"teacher", "tokens"});  // the cache, asked alone
    write_file(ward.folder / "train", train);
    refused({"--blocks-steps", "0", "--top", "9"}, {"teacher", "top"});
    CHECK(ward.run(ward.line(ward.heal("out", {"--work", "work", "--resume"}))).status == 0);
}

TEST_CASE("mpo heal: what does not fit is one line, before anything was made") {
    const Ward ward;
    const auto refuse = [&](const std::vector<std::string>& more,
                            const std::vector<std::string>& pieces, int status = 1) {
        ward.refuse(status, ward.line(ward.heal("x", more)), pieces);
    };
    refuse({"--window", "500"}, {"train", "fewer than a window of 500"});
    refuse({"--windows", "500"}, {"train", "too few for 500 windows of 8"});
    refuse({"--window", "1"}, {"a window must have 2 to 512"});
    for (const char* rate : {"0", "-1", "nan"}) {
        refuse({"--learning-rate", rate}, {"heal: the learning rate", std::string("got ") + rate});
        refuse({"--distill-learning-rate", rate},
               {"distill: the learning rate", std::string("got ") + rate});
    }
    refuse({"--alpha", "1.5"}, {"alpha", "1.5"});
    refuse({"--top", "0"}, {"top must be 1 to 262", "got 0"});
    refuse({"--blocks-steps", "-1"}, {"steps", "-1"});
    refuse({"--blocks-steps", "0", "--distill-steps", "0"}, {"neither"});
    refuse({"--batch-windows", "0"}, {"batch_windows"});
    refuse({"--look-every", "0"}, {"evaluate_every"});
    refuse({"--rival", "decoder"}, {"decoder is no compressed checkpoint"});
    refuse({"--rival", "small", "--blocks-steps", "0"}, {"the block stage chooses"});
    refuse({"--rival", "small", "--trial-steps", "3"},
           {"a multiple of evaluate_every, 2", "got 3"});
    refuse({"--trial-steps", "2"}, {"--trial-steps", "--rival"}, 2);
    refuse({"--threads", "0"}, {"threads", "got 0"});
    refuse({"--tokenizer", "model"}, {"tokenizer.json"});
    refuse({"--evaluate", "none"}, {"none"});
    refuse({"--evaluate", "./train"}, {"--evaluate", "is trained on"}, 2);
    refuse({"--json", "a", "--report", "a"}, {"--report", "--json"}, 2);
    refuse({"--json", "no/where.json"}, {"no/"});
    ward.refuse(1, ward.line(ward.heal("small")), {"small exists already"});
    refuse({"--work", "x/work"}, {"x/work lies within the output x"});
    refuse({"--work", "x/../x"}, {"lies within the output x"});
    ward.refuse(1, ward.line(ward.heal("w/x")) + " --work w", {"there is no folder w"});
    std::filesystem::create_directories(ward.folder / "w");
    ward.refuse(1, ward.line(ward.heal("w/x")) + " --work w --resume",
                {"the output w/x lies within the work folder w"});
    std::filesystem::remove_all(ward.folder / "w");
    std::filesystem::create_symlink("nowhere", ward.folder / "link");
    ward.refuse(1, ward.line(ward.heal("link")), {"link exists already", "nothing was done"});
    ward.refuse(1, ward.line(ward.heal("/proc/x")), {"/proc/x"});
    // files that are read, or written as something else
    for (const char* file :
         {"./train", "decoder/config.json", "small/more.json", "x", "x.work/json"})
        for (const char* option : {"--json", "--report"}) refuse({option, file}, {option, file}, 2);
    refuse({"--json", "a", "--report", "./a"}, {"--report", "--json"}, 2);
    for (const char* seed : {"-1", "18446744073709551616", "1e3", "one"})
        refuse({"--seed", seed}, {"--seed", "whole number", seed}, 2);
    // a folder of somebody else is neither a work folder nor anything to remove
    refuse({"--work", ".", "--resume"}, {"the output x lies within the work folder ."});
    const auto theirs = ward.folder / "theirs";
    std::filesystem::create_directories(theirs / "healed");
    write_file(theirs / "healed" / "precious", "all of it");
    refuse({"--work", "theirs", "--resume"},
           {"is not the work folder of a run", "nothing was done"});
    CHECK(read_file(theirs / "healed" / "precious") == "all of it");
    std::filesystem::remove_all(theirs);
    std::filesystem::create_directories(ward.folder / "w");
    std::filesystem::copy(ward.folder / "small", ward.folder / "w" / "healed");
    ward.refuse(1, "heal w/healed --teacher decoder --text train -o x --window 8 --work w --resume",
                {"w/healed is what a run leaves in its work folder w", "move it away"});
    refuse({"--work", "w", "--resume", "--rival", "w/healed"}, {"w/healed is what a run leaves"});
    CHECK(contents(ward.folder / "w" / "healed") == contents(ward.folder / "small"));
    std::filesystem::remove_all(ward.folder / "w");
    ward.refuse(1, ward.line(ward.heal("no/where")), {"there is no folder no"});
    ward.refuse(1, "heal decoder --teacher decoder --text train -o x --window 8",
                {"decoder is no compressed checkpoint"});
    ward.refuse(1, "heal small --teacher small --text train -o x --window 8",
                {"the teacher small is a compressed checkpoint", "mpo reconstruct"});
    ward.refuse(2, "heal small --text train -o x", {"--teacher", "required"});
    ward.refuse(2, "heal small --teacher decoder -o x", {"--text", "required"});

    auto larger = tiny_decoder("plain");
    larger.config["vocab_size"] = 263;
    for (auto& [tensor, shape] : larger.shapes)
        if (tensor == "model.embed_tokens.weight" || tensor == "lm_head.weight") shape[0] = 263;
    write_decoder(ward.folder / "larger", larger);
    write_file(ward.folder / "larger/tokenizer.json", tokenizer_json(small_byte_level()));
    for (const char* stage : {"", " --blocks-steps 0"})
        ward.refuse(1,
                    std::string("heal small --teacher larger --text train -o x --window 8") + stage,
                    {"the student's vocabulary is 262, the teacher's 263"});
}

#endif

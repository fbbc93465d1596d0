// A rank that dies or fails while ranks heal ends the job, soon; another run goes on from the last snapshot and ends with
// the bits of an unbroken one. And the program that docs/backends.md shows.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "mpo/model/transformer.hpp"
#include "support/catch.hpp"
#include "support/clinic.hpp"
#include "support/files.hpp"
#include "support/mpi_job.hpp"
#include "support/tokenizer_lies.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

constexpr double soon =
    60;  // seconds, on a machine that builds beside it; without an end it is for ever

/// Two ranks that heal in a clinic.
[[nodiscard]] Job heal_job(const Clinic& clinic, const std::string& to, const std::string& inputs,
                           const std::string& fate, int sum) {
    return run_job(2, MPO_MPI_HEALING_RANK,
                   {clinic.folder.string(), to, inputs, fate, std::to_string(sum)});
}

}  // namespace

TEST_CASE(
    "healing rank: one that is killed ends all; another run has the bits of an unbroken one") {
    const Clinic clinic;
    const std::pair<std::string, std::vector<int>> kinds[] = {{"healed", {2, 100, 300, 600}},
                                                              {"dense", {5, 6}}};
    for (const auto& [inputs, sums] : kinds) {
        const auto unbroken = heal_job(clinic, inputs, inputs, "none", 0);
        INFO(unbroken.err);
        REQUIRE(unbroken.status == 0);
        const auto expected = contents(clinic.folder / inputs);
        for (const int sum : sums) {
            const std::string to = inputs + std::to_string(sum);
            INFO(to);
            const auto job = heal_job(clinic, to, inputs, "kill", sum);
            CHECK(job.signal == 0);
            CHECK(job.status != 0);
            CHECK(job.seconds < soon);
            CHECK(count(job.err, "mpo: error: ") == 0);  // it is the launcher who speaks, once
            CHECK(!std::filesystem::exists(clinic.folder / to));
            const auto layers = clinic.folder / ("work_" + to) / "blocks";
            if (sum == 100) CHECK(std::filesystem::exists(layers / "layer_0.unfinished"));
            if (sum > 100) CHECK(std::filesystem::exists(layers / "layer_0.snapshot"));
            if (sum == 5 && inputs == "dense")  // four agreements in front; its layer was done
                CHECK(std::filesystem::exists(layers / "layer_1.snapshot"));
            const auto again = heal_job(clinic, to, inputs, "none", 0);
            INFO(again.err);
            CHECK(again.status == 0);
            CHECK(contents(clinic.folder / to) == expected);
        }
    }
}

TEST_CASE("healing rank: one that sees another sum than the rest ends all, with one message") {
    const Clinic clinic;
    REQUIRE(heal_job(clinic, "unbroken", "healed", "none", 0).status == 0);
    const auto job = heal_job(clinic, "to", "healed", "nan", 150);
    INFO(job.err);
    CHECK(job.status == 1);
    CHECK(job.seconds < soon);
    CHECK(count(job.err, "mpo: error: ") == 1);
    CHECK(count(job.err, "mpo: error: rank 1 of 2: heal: layer 0, step ") == 1);
    CHECK(count(job.err, ": AdamW: the gradient of ") == 1);
    CHECK(heal_job(clinic, "to", "healed", "none", 0).status == 0);
    CHECK(contents(clinic.folder / "to") == contents(clinic.folder / "unbroken"));
}

TEST_CASE("healing rank: the program of the page heals") {
    const TemporaryFolder folder;
    auto decoder = tiny_decoder("plain");
    decoder.config["vocab_size"] = 262;
    decoder.config["max_position_embeddings"] = 16;
    for (auto& [tensor, shape] : decoder.shapes)
        if (tensor == "model.embed_tokens.weight" || tensor == "lm_head.weight") shape[0] = 262;
    write_decoder(folder / "model", decoder);
    write_file(folder / "model/tokenizer.json", tokenizer_json(small_byte_level()));
    std::string text;
    for (int k = 0; k < 40; ++k) text += k % 3 == 0 ? "the other and the ab, " : "then the ab if ";
    write_file(folder / "text", text);
    CompressOptions options;
    options.budget = 0.5;
    (void)compress(Checkpoint(folder / "model"), folder / "small", options, cpu);
    const auto at = [&](const char* name) { return (folder / name).string(); };
    const auto job = run_job(2, MPO_MPI_HEAL_ON_RANKS,
                             {at("model"), at("small"), at("text"), at("healed"), at("work")});
    INFO(job.err);
    CHECK(job.status == 0);
    CHECK(job.err.empty());
    CHECK(count(job.out, "layer 1, step 100") == 1);
    (void)Transformer(folder / "healed", {}, cpu);

    const auto again = run_job(2, MPO_MPI_HEAL_ON_RANKS, {at("model")});
    CHECK(again.status == 1);
    CHECK(count(again.err, "mpo: error: ") == 1);
    CHECK(count(again.err, "usage: ") == 1);
}

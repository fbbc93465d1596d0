// What healing refuses before it touches a folder: work folders, models and outputs in the wrong place, and checkpoints
// with tensors of something else.
#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "mpo/model/heal.hpp"
#include "support/catch.hpp"
#include "support/clinic.hpp"
#include "support/files.hpp"
#include "support/models.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

}  // namespace

TEST_CASE("heal: who waits for a work folder that is removed gets none") {
    const TemporaryFolder folder;
    const auto work = folder / "work";
    const auto times_open = [&] {
        Index count = 0;
        std::error_code ignored;
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
            count += std::filesystem::read_symlink(entry, ignored) == work ? 1 : 0;
        return count;
    };
    std::optional<WorkFolderLock> first;
    first.emplace(work);
    CHECK(read_file(work / heal_work_file).find("format_version") != std::string::npos);
    REQUIRE(times_open() == 1);
    std::string message;
    std::thread second([&] {
        try {
            const WorkFolderLock lock(work);
        } catch (const ArgumentError& error) {
            message = error.what();
        }
    });
    while (times_open() < 2) std::this_thread::yield();
    std::filesystem::remove_all(work);
    first.reset();
    second.join();
    CHECK(message.find("was removed by the process that was at work there") != std::string::npos);
    CHECK(!std::filesystem::exists(work));
}

TEST_CASE("heal: whether a path lies in a folder, by any of its names") {
    const TemporaryFolder folder;
    std::filesystem::create_directories(folder / "a" / "b");
    std::filesystem::create_directory_symlink(folder / "a" / "b", folder / "link");
    for (const char* inner : {"a/b", "a/b/c", "a/../a/b/c/d", "link", "link/new", "a/./b"})
        CHECK(is_within(folder / inner, folder / "a" / "b"));
    for (const char* outer : {"a", "a/bc", "b", "link/..", "a/b/../c"})
        CHECK(!is_within(folder / outer, folder / "a" / "b"));
    // what is not there has no canonical form: relative to this folder, it is the same all the same
    CHECK(is_within("no_such", "./no_such"));
    CHECK(is_within("./no_such/x", "no_such"));
    CHECK(!is_within("no_such", "no_such/x"));
}

TEST_CASE("heal: what a run would replace in its work folder is neither its model nor its output") {
    const Clinic clinic;
    auto options = Clinic::options();
    (void)clinic.heal(options);
    const auto work = clinic.folder / "work", blocks = work / "blocks_model";
    const auto before = contents(blocks);
    const auto heal = [&](const std::filesystem::path& student,
                          const std::filesystem::path& teacher, const std::filesystem::path& to) {
        return mpo::heal(student, teacher, clinic.texts, to, work, options, cpu);
    };
    std::filesystem::remove_all(work / "blocks");  // what else would say that it is another run's
    const std::vector<std::string> pieces{"blocks_model", "would replace", "another work folder"};
    check_throws<ArgumentError>([&] { heal(blocks, clinic.teacher(), clinic.folder / "x"); },
                                pieces);
    check_throws<ArgumentError>([&] { heal(clinic.student(), blocks, clinic.folder / "x"); },
                                {"blocks_model"});
    check_throws<ArgumentError>([&] { heal(clinic.student(), clinic.teacher(), blocks / "x"); },
                                {"the output", "blocks_model"});
    options.rival = blocks;
    check_throws<ArgumentError>(
        [&] { heal(clinic.student(), clinic.teacher(), clinic.folder / "x"); }, pieces);
    options.rival.clear();
    CHECK(contents(blocks) == before);
    // distillation alone replaces none of it
    options.blocks.reset();
    std::filesystem::remove_all(work / "distillation");
    (void)heal(blocks, clinic.teacher(), clinic.folder / "again");
    CHECK(contents(blocks) == before);
    CHECK(contents(clinic.folder / "again") == contents(clinic.folder / "healed"));
}

TEST_CASE("heal: tensors that are not those of a decoder are refused before anything is trained") {
    const Clinic clinic;
    const auto strange = clinic.folder / "strange", student = clinic.folder / "strange_student";
    const auto heal = [&](const std::filesystem::path& healed,
                          const std::filesystem::path& teacher) {
        return mpo::heal(healed, teacher, clinic.texts, clinic.folder / "x", clinic.folder / "work",
                         Clinic::options(), cpu);
    };
    const auto refuse = [&](const std::vector<std::string>& pieces, const auto& change) {
        auto decoder = tiny_decoder("group_3");
        change(decoder.shapes);
        write_decoder(strange, decoder);
        CompressOptions options;
        options.budget = 0.5;
        (void)compress(Checkpoint(strange), student, options, cpu);
        check_throws<FormatError>([&] { heal(student, clinic.teacher()); }, pieces);
        check_throws<FormatError>([&] { heal(clinic.student(), strange); }, pieces);
        const auto windows = detail::divided(clinic.texts, Clinic::options());
        const HealSources sources{student, clinic.teacher(), clinic.folder / "work_of_blocks",
                                  &windows.training, &windows.held_out};
        SingleProcess alone;
        check_throws<FormatError>(
            [&] { (void)heal_blocks(sources, *Clinic::options().blocks, cpu, alone); }, pieces);
        std::filesystem::remove_all(strange);
        std::filesystem::remove_all(student);
    };
    for (const std::string name :
         {"model.layers.99999999999999999999.input_layernorm.weight",
          "model.layers.4000000000.post_attention_layernorm.weight",
          "model.layers.2.input_layernorm.weight", "model.layers.0.foo.bias"})
        refuse({"'" + name + "'", "has no place in this decoder"}, [&](auto& shapes) {
            shapes.push_back({name, {12}});
        });
    const std::string late = "model.layers.1.mlp.up_proj.weight";
    refuse({late, "is missing"}, [&](auto& shapes) {
        std::erase_if(shapes, [&](const auto& shape) { return shape.first == late; });
    });
    // a chain outside the layers: its name is as long as the one that it had
    std::filesystem::copy(clinic.student(), student);
    for (const char* file : {"model.safetensors", compressed_config_file}) {
        const std::string was = "model.layers.1.mlp.up_proj", is = "model.others.1.mlp.up_proj";
        auto text = read_file(student / file);
        for (auto at = text.find(was); at != std::string::npos; at = text.find(was, at))
            text.replace(at, was.size(), is);
        write_file(student / file, text);
    }
    check_throws<FormatError>([&] { heal(student, clinic.teacher()); },
                              {"'model.others.1.mlp.up_proj' is a chain", "layers alone"});
    CHECK(!std::filesystem::exists(clinic.folder / "work"));
    CHECK(!std::filesystem::exists(clinic.folder / "x"));
}

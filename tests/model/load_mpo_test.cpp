// scripts/load_mpo.py against the library: numpy reads what compress wrote, and multiplies by it.

#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "mpo/io/safetensors_writer.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/compress.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/network/contract.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/models.hpp"
#include "support/naive.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

const EigenBackend host;
constexpr DType stored_types[] = {DType::bf16, DType::f16, DType::f32};

/// A folder for models, and python with what the scripts need.
struct PythonDesk {
    /// Exit status of python3 with these arguments; its output goes to the files out and err.
    [[nodiscard]] int python(const std::string& arguments) const {
        const std::string command = std::string("'") + MPO_NUMPY_PYTHON + "' " + arguments +
                                    " > '" + (logs / "out").string() + "' 2> '" +
                                    (logs / "err").string() + "'";
        const int code = std::system(command.c_str());
        return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
    }
    [[nodiscard]] int load_mpo(const std::string& arguments) const {
        return python("-B '" MPO_SOURCE_DIR "/scripts/load_mpo.py' " + arguments);
    }
    [[nodiscard]] std::string quoted(const std::string& name) const {
        return "'" + (folder / name).string() + "'";
    }
    [[nodiscard]] std::string out() const { return read_file(logs / "out"); }
    [[nodiscard]] std::string err() const { return read_file(logs / "err"); }

    TemporaryFolder folder, logs;
};

/// Compresses the small model into layouts of 2 to 4 sites, low rank among them from either end.
void compress_small_model(const PythonDesk& desk, DType dtype, const std::string& name,
                          StoredAs stored_as = StoredAs::gauge_fixed) {
    write_model(desk.folder / "model", small_weights());
    CompressOptions options;
    options.max_bond_dim = 3;
    options.dtype = dtype;
    options.stored_as = stored_as;
    options.layouts = {{LinearKind::q, {{6, 4}, {4, 6}}},
                       {LinearKind::k, {{3, 2, 2}, {2, 3, 4}}},
                       {LinearKind::v, low_rank_layout(12, 24)},
                       {LinearKind::o, {{2, 3, 2, 2}, {3, 2, 2, 2}}},
                       {LinearKind::down, {{1, 24}, {35, 1}}}};
    const auto report =
        compress(Checkpoint(desk.folder / "model"), desk.folder / name, options, host);
    for (const auto& linear : report.linears) REQUIRE(linear.form != LinearForm::dense);
    std::filesystem::remove_all(desk.folder / "model");
}

/// A folder with one linear (6, 5) per stored type, each one single core: compress leaves such dense,
/// but the format has them.
void write_single_sites(const std::filesystem::path& folder) {
    std::filesystem::create_directory(folder);
    SafetensorsWriter writer(folder / "model.safetensors");
    std::vector<CompressedLinear> linears;
    for (const DType dtype : {DType::bf16, DType::f16, DType::f32, DType::f64}) {
        const std::string name = "model.layers." + std::to_string(linears.size()) + ".mlp.up_proj";
        linears.push_back({name, {{6}, {5}}, {1, 1}, dtype, "F32", {6, 5}, 0.0, ErrorKind::exact});
        writer.append(core_name(name, 0), normal_tensor<float>({1, 6, 5, 1}, 7), dtype);
    }
    writer.finish();
    write_file(folder / "config.json", "{}");
    write_file(folder / compressed_config_file, to_compressed_config(linears));
}

/// The same tensors, in shards of at most 1 kB.
void write_as_shards(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::filesystem::create_directory(to);
    const Checkpoint source(from);
    ShardedSafetensorsWriter writer(to, {.max_shard_bytes = 1000, .reserved_header_bytes = 0});
    for (const auto& tensor : source.tensors())
        writer.append(tensor.name, std::get<DType>(tensor.type), tensor.shape,
                      source.raw(tensor.name).span());
    writer.finish();
    for (const char* name : {"config.json", compressed_config_file})
        std::filesystem::copy_file(from / name, to / name);
}

/// Law: for every linear of the folder numpy's y, its y row by row, and its W are the library's.
void check_folder(const PythonDesk& desk, const std::string& name) {
    constexpr Index batch = 5;
    const CompressedCheckpoint compressed(desk.folder / name);
    const auto inputs = desk.folder / (name + "_inputs");
    std::filesystem::create_directory(inputs);
    SafetensorsWriter writer(inputs / "model.safetensors");
    for (const auto& linear : compressed.linears())
        writer.append(linear.name, normal_tensor<float>({batch, linear.original_shape[1]}, 3));
    writer.finish();
    const int status = desk.python(
        "'" MPO_SOURCE_DIR "/tests/model/apply_with_numpy.py' '" MPO_SOURCE_DIR "/scripts' " +
        desk.quoted(name) + " " + desk.quoted(name + "_inputs") + " " +
        desk.quoted(name + "_outputs"));
    INFO(desk.err());
    REQUIRE(status == 0);
    const SafetensorsFile results(desk.folder / (name + "_outputs"));
    REQUIRE(results.tensors().size() == 3 * compressed.linears().size());
    for (const auto& linear : compressed.linears()) {
        CAPTURE(linear.name, linear.dtype);
        const auto op = compressed.read<float>(linear);
        const auto W = to_dense(op, host);                             // (out, in)
        const auto X = normal_tensor<float>({batch, W.extent(1)}, 3);  // (B, in)
        Tensor<float> Y({batch, W.extent(0)});                         // (B, out)
        make_plan(op, {.batch = batch}, host).apply(X, Y);
        double size = 1;
        for (const auto& core : op.cores()) size *= naive::norm(core);
        const double slack = tolerance<float>(op.num_parameters(), size);
        const auto expected = naive::widen(Y);
        CHECK(naive::distance(results.read<double>(linear.name + ".W"), naive::widen(W)) <= slack);
        CHECK(naive::distance(results.read<double>(linear.name + ".y"), expected) <=
              slack * naive::norm(X));
        CHECK(naive::distance(results.read<double>(linear.name + ".rows"), expected) <=
              slack * naive::norm(X));
    }
}

}  // namespace

TEST_CASE("load_mpo: numpy multiplies by what compress wrote, in every stored type") {
    const PythonDesk desk;
    for (const StoredAs stored_as : {StoredAs::gauge_fixed, StoredAs::cores})
        for (const DType dtype : stored_types) {
            const std::string name = std::string(to_string(stored_as)) + to_string(dtype);
            compress_small_model(desk, dtype, name, stored_as);
            check_folder(desk, name);
        }
}

TEST_CASE("load_mpo: a chain of one site") {
    const PythonDesk desk;
    write_single_sites(desk.folder / "single");
    check_folder(desk, "single");
}

TEST_CASE("load_mpo: shards are found by their index") {
    const PythonDesk desk;
    compress_small_model(desk, DType::f16, "one");
    write_as_shards(desk.folder / "one", desk.folder / "many");
    REQUIRE(
        ShardedSafetensors(desk.folder / "many" / "model.safetensors.index.json").shards().size() >=
        3);
    check_folder(desk, "many");
}

TEST_CASE("load_mpo: apply begins at the end of the chain that costs less") {
    const PythonDesk desk;
    // from the wrong end either chain makes 4 * 2 * 3000 * 3000 numbers
    const int status = desk.python(
        "-B -c \"import sys, tracemalloc; sys.path.insert(0, '" MPO_SOURCE_DIR
        "/scripts'); import load_mpo, numpy as np; tracemalloc.start()\n"
        "for out, into in ((3000, 1), (1, 3000)), ((1, 3000), (3000, 1)):\n"
        "    cores = [np.ones((1, out[0], into[0], 2)), np.ones((2, out[1], into[1], 1))]\n"
        "    assert np.all(load_mpo.apply(cores, np.ones((4, 3000))) == 6000)\n"
        "print(tracemalloc.get_traced_memory()[1])\"");
    INFO(desk.err());
    REQUIRE(status == 0);
    CHECK(std::stol(desk.out()) < 3000 * 3000);  // bytes, of which a few vectors take a tenth
}

TEST_CASE("load_mpo: files of format version 1 stay readable") {
    const PythonDesk desk;
    std::filesystem::copy(fixture("compressed_v1"), desk.folder / "v1");
    check_folder(desk, "v1");
}

TEST_CASE("load_mpo: the command lists linears, and cores of one") {
    const PythonDesk desk;
    std::filesystem::copy(fixture("compressed_v1"), desk.folder / "v1");
    CHECK(desk.load_mpo(desk.quoted("v1")) == 0);
    CHECK(desk.out() ==
          "model.layers.0.self_attn.q_proj: [8, 8], bonds [1, 2, 1], error 0.62\n"
          "model.layers.0.self_attn.k_proj: [4, 8], bonds [1, 1, 1], error 0.688\n"
          "model.layers.0.mlp.up_proj: [12, 8], bonds [1, 3, 3, 1], error 0.564\n");
    CHECK(desk.load_mpo(desk.quoted("v1") + " model.layers.0.mlp.up_proj") == 0);
    CHECK(desk.out() ==
          "model.layers.0.mlp.up_proj: [12, 8], bonds [1, 3, 3, 1], error 0.564\n"
          "core (1, 3, 2, 3)\ncore (3, 2, 2, 3)\ncore (3, 2, 2, 1)\n");
}

TEST_CASE("load_mpo: what it does not know is refused by name, in one line") {
    const PythonDesk desk;
    std::filesystem::copy(fixture("compressed_v1"), desk.folder / "v1");
    const auto config = desk.folder / "v1" / compressed_config_file;
    const std::string good = read_file(config);
    const std::string module = "model.layers.0.self_attn.q_proj";
    const auto refuse = [&](const std::string& arguments, const std::string& from,
                            const std::string& to, const std::vector<std::string>& pieces) {
        std::string text = good;
        const auto at = text.find(from);
        REQUIRE(at != std::string::npos);
        write_file(config, text.replace(at, from.size(), to));
        CHECK(desk.load_mpo(arguments) == 1);
        const std::string message = desk.err();
        CAPTURE(message);
        CHECK(message.starts_with("load_mpo.py: "));
        CHECK(std::count(message.begin(), message.end(), '\n') == 1);
        for (const auto& piece : pieces) CHECK(message.find(piece) != std::string::npos);
    };
    const std::string one = desk.quoted("v1") + " " + module;
    refuse(one, "\"format_version\": 1", "\"format_version\": 2", {"format_version 2", "reads 1"});
    refuse(one, "\"cores\"", "\"packed\"", {"'packed'", module, "reads 'cores' and 'gauge_fixed'"});
    refuse(desk.quoted("v1") + " model.norm", "1", "1", {"model.norm"});
    refuse(desk.quoted("v2"), "1", "1", {"v2", "mpo_config.json"});
    CHECK(desk.load_mpo("") == 1);
    CHECK(desk.err().find("FOLDER [MODULE]") != std::string::npos);
}

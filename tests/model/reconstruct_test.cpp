#include "mpo/model/reconstruct.hpp"

#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/compress.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/limits.hpp"
#include "support/models.hpp"
#include "support/naive.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

/// A small model, dense in "model" and compressed in "small".
struct CompressedModel {
    explicit CompressedModel(double budget = 0.5, DType dtype = DType::f32) {
        write_model(folder / "model", weights, dtype);
        CompressOptions options;
        options.budget = budget;
        options.dtype = dtype;
        (void)compress(Checkpoint(folder / "model"), folder / "small", options, EigenBackend{});
    }
    ReconstructReport run(const ReconstructOptions& options = {},
                          const std::string& name = "dense") const {
        return reconstruct(CompressedCheckpoint(folder / "small"), folder / name, options,
                           EigenBackend{});
    }
    TemporaryFolder folder;
    Weights weights = small_weights();
};

}  // namespace

TEST_CASE("reconstruct: original names and shapes, and the numbers the cores stand for") {
    const CompressedModel model;
    const auto report = model.run();
    const CompressedCheckpoint compressed(model.folder / "small");
    const Checkpoint dense(model.folder / "dense");
    CHECK(dense.tensors().size() == model.weights.size());
    CHECK(report.num_tensors == static_cast<Index>(model.weights.size()));
    CHECK(report.num_linears == 14);
    CHECK(report.bytes == dense.bytes());
    for (const auto& [name, original] : model.weights) {
        INFO(name);
        CHECK(dense.info(name).shape == original.shape());
        if (name.find("proj") == std::string::npos)
            CHECK(same_values(dense.read<float>(name), original));
    }
    for (const auto& linear : compressed.linears()) {
        const auto W = naive::to_dense(compressed.read<float>(linear));  // (out, in)
        CHECK(naive::distance(dense.read<float>(linear.name + ".weight"), W) <=
              tolerance<float>(linear.bonds[1], naive::norm(W)));
    }
    auto files = contents(model.folder / "dense");
    CHECK(files.at("tokenizer.json") == read_file(model.folder / "model" / "tokenizer.json"));
    CHECK(files.at("config.json") == read_file(model.folder / "model" / "config.json"));
    CHECK(files.count(compressed_config_file) == 0);
}

TEST_CASE("reconstruct: what was left dense comes back bit by bit") {
    const CompressedModel model(1, DType::bf16);
    (void)model.run();
    const Checkpoint before(model.folder / "model"), after(model.folder / "dense");
    for (const auto& tensor : before.tensors()) {
        const auto a = before.raw(tensor.name), b = after.raw(tensor.name);
        CHECK(std::equal(a.span().begin(), a.span().end(), b.span().begin(), b.span().end()));
    }
}

TEST_CASE("reconstruct: the stored type can be chosen") {
    const CompressedModel model;
    for (const auto dtype : {DType::bf16, DType::f16, DType::f32}) {
        ReconstructOptions options;
        options.dtype = dtype;
        const auto report = model.run(options, to_string(dtype));
        const Checkpoint dense(model.folder / to_string(dtype));
        for (const auto& tensor : dense.tensors()) CHECK(tensor.type == StoredType(dtype));
        CHECK(report.bytes == dense.bytes());
    }
}

TEST_CASE(
    "reconstruct: a folder of format version 1 becomes what an independent program made of it") {
    TemporaryFolder folder;
    ReconstructOptions options;
    options.dtype = DType::f32;
    (void)reconstruct(CompressedCheckpoint(fixture("compressed_v1")), folder / "dense", options,
                      EigenBackend{});
    const Checkpoint dense(folder / "dense");
    const SafetensorsFile expected(fixture("compressed_v1_expected.safetensors"));
    CHECK(dense.tensors().size() == expected.tensors().size());
    for (const auto& entry : expected.tensors()) {
        const auto W = expected.read<float>(entry.name);
        CHECK(naive::distance(dense.read<float>(entry.name), W) <=
              tolerance<float>(3, naive::norm(W)));
    }
}

TEST_CASE("reconstruct: the same bits for any number of threads") {
    const CompressedModel model;
    const int before = num_threads();
    std::map<std::string, std::string> expected;
    for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        const std::string name = detail::concat("dense", threads);
        (void)model.run({}, name);
        if (expected.empty()) expected = contents(model.folder / name);
        CHECK(contents(model.folder / name) == expected);
    }
    set_num_threads(before);
}

TEST_CASE("reconstruct: whatever fails leaves nothing behind") {
    const CompressedModel model;
    const std::vector<std::string> names{"model", "small"};
    ReconstructOptions options;
    options.dtype = DType::f64;
    check_throws<ArgumentError>([&] { (void)model.run(options); }, {"dtype", "F64"});
    check_throws<ArgumentError>([&] { (void)model.run({}, "small"); }, {"exists already"});
    options = {};
    options.progress = [](const Progress& progress) {
        return progress.done == 3 ? ProgressReply::cancel : ProgressReply::go_on;
    };
    check_throws<Cancelled>([&] { (void)model.run(options); }, {"3 of 14"});
    {
        const FileSizeLimit full(70000);
        check_throws<FileError>([&] { (void)model.run(); }, {"model.safetensors", "too large"});
    }
    CHECK(model.folder.names() == names);
}

#include "mpo/io/safetensors_writer.hpp"

#include <complex>
#include <limits>

#include "mpo/core/random.hpp"
#include "mpo/io/safetensors.hpp"
#include "mpo/io/safetensors_shards.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace {

using namespace mpo;
using test::check_throws;
using test::read_file;
using Names = std::vector<std::string>;

template <class T>
[[nodiscard]] bool same(const Tensor<T>& a, const Tensor<T>& b) {
    return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

/// Numbers that every format down to bfloat16 holds.
[[nodiscard]] Tensor<float> quarters(const Shape& shape) {
    Tensor<float> tensor(shape);
    for (Index k = 0; k < tensor.size(); ++k)
        tensor.data()[k] = static_cast<float>(k % 63 - 31) / 4;
    return tensor;
}

[[nodiscard]] std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span(text));
}

}  // namespace

TEST_CASE("what is written reads back, whatever the room for the header") {
    const test::TemporaryFolder folder;
    const auto path = folder / "out.safetensors";
    const Index room = GENERATE(0, 1, 100, 400, 408, 416, 1 << 16, 1 << 22);
    const Index count = GENERATE(0, 3, 1 << 18, (1 << 18) + 7);
    const auto large = quarters({count});
    const auto small = quarters({3, 1, 5});
    SafetensorsWriter writer(path, {{{"origin", "a \"test\"\n"}}, room});
    writer.append("layer.weight", small, DType::bf16);
    writer.append("large", large);
    writer.append("double", small, DType::f64);
    writer.append("bytes", DType::u8, {3}, bytes_of("abc"));
    writer.append("\u00e9\"", quarters({}), DType::f16);
    CHECK(!std::filesystem::exists(path));
    writer.finish();
    CHECK(folder.names() == Names{"out.safetensors"});

    const SafetensorsFile file(path);
    const std::map<std::string, std::string> metadata{{"format", "pt"}, {"origin", "a \"test\"\n"}};
    CHECK(file.metadata() == metadata);
    CHECK(file.tensors().size() == 5);
    CHECK(file.info("layer.weight").dtype == DType::bf16);
    CHECK(file.info("layer.weight").offset % 8 == 0);  // the header fills a multiple of 8
    CHECK(same(file.read<float>("layer.weight"), small));
    CHECK(same(file.read<float>("large"), large));
    CHECK(same(file.read<float>("double"), small));
    CHECK(same(file.read<float>("\u00e9\""), quarters({})));
    CHECK(file.info("bytes").shape == Shape{3});
    CHECK(std::memcmp(file.bytes("bytes").data(), "abc", 3) == 0);
    const Index spaces = file.info("layer.weight").offset - 400;
    CHECK(spaces <= std::max<Index>(count * 4 / 64, 8) + 200);  // small files carry no large header
}

TEMPLATE_TEST_CASE("every scalar type is stored without loss by default", "", float, double,
                   std::complex<float>) {
    using T = TestType;
    const test::TemporaryFolder folder;
    const auto tensor = normal_tensor<T>({5, 7}, 1);
    SafetensorsWriter writer(folder / "out");
    writer.append("x", tensor);
    writer.finish();
    const SafetensorsFile file(folder / "out");
    CHECK(file.info("x").dtype == dtype_of<T>);
    CHECK(same(file.read<T>("x"), tensor));
}

TEST_CASE(
    "a value too large for the stored type is an error that names it, and costs only that tensor") {
    const test::TemporaryFolder folder;
    auto tensor = quarters({70'000, 2});
    tensor(65'600, 0) = 1e6f;
    tensor(65'601, 1) = -1e6f;
    tensor(65'602, 0) = std::numeric_limits<float>::infinity();  // was infinite before: no loss
    SafetensorsWriter writer(folder / "out");
    writer.append("before", quarters({3}));
    check_throws<NumericalError>([&] { writer.append("big", tensor, DType::f16); },
                                 {"2 finite values", "131072 to 139999", "'big'", "F16"});
    writer.append("after", quarters({4}));
    writer.append("big", tensor, DType::bf16);
    writer.finish();
    const SafetensorsFile file(folder / "out");
    CHECK(same(file.read<float>("before"), quarters({3})));
    CHECK(same(file.read<float>("after"), quarters({4})));
    CHECK(file.tensors().size() == 3);
}

TEST_CASE("an aborted file is cut to what was accepted") {
    const test::TemporaryFolder folder;
    auto tensor = quarters({140'000});
    tensor(139'999) = 1e6f;
    SafetensorsWriter writer(folder / "out");
    writer.append("x", quarters({3}));
    CHECK_THROWS_AS(writer.append("big", tensor, DType::f16), NumericalError);
    writer.finish();
    CHECK(same(SafetensorsFile(folder / "out").read<float>("x"), quarters({3})));
}

TEST_CASE("tensors that do not fit the file are refused with their numbers") {
    const test::TemporaryFolder folder;
    SafetensorsWriter writer(folder / "out");
    const auto append = [&](const std::string& name, DType dtype, const Shape& shape) {
        return [&, name, dtype, shape] { writer.append(name, dtype, shape, bytes_of("abcd")); };
    };
    writer.append("a", DType::u8, {4}, bytes_of("abcd"));
    check_throws<ArgumentError>(append("a", DType::u8, {4}), {"'a'", "before"});
    check_throws<ArgumentError>(append("b", DType::u8, {5}), {"'b'", "takes 5 bytes", "got 4"});
    check_throws<ArgumentError>(append("b", DType::f4, {3}), {"'b'", "whole bytes"});
    check_throws<ArgumentError>(append("b", DType::f64, {Index{1} << 60}), {"'b'", "too large"});
    check_throws<ArgumentError>(append("__metadata__", DType::u8, {4}), {"reserves"});
    check_throws<ArgumentError>(append("\xff", DType::u8, {4}), {"JSON"});
    check_throws<ShapeError>(append("b", DType::u8, {-4}), {"negative"});
    const auto matrix = quarters({3, 4});
    check_throws<ShapeError>(
        [&] {
            writer.append("b", permuted(matrix.view(), {1, 0}));
        },
        {"'b'", "4 x 3", "contiguous"});
    check_throws<ArgumentError>([&] { writer.append("b", matrix, DType::i8); }, {"I8"});
    check_throws<ArgumentError>(
        [&] { SafetensorsWriter other(folder / "other", {.reserved_header_bytes = -1}); }, {"-1"});
    writer.finish();
    check_throws<ArgumentError>(append("c", DType::u8, {4}), {"'c'", "after finish"});
    check_throws<ArgumentError>([&] { writer.finish(); }, {"out", "before"});
    CHECK(SafetensorsFile(folder / "out").tensors().size() == 1);
}

TEST_CASE("without finish, or where it fails, no file appears") {
    const test::TemporaryFolder folder;
    {
        SafetensorsWriter writer(folder / "out");
        writer.append("a", quarters({1000}));
    }
    CHECK(folder.names().empty());
    {
        SafetensorsWriter writer(folder / "out", {{{"bad", "\xff"}}, 0});
        check_throws<ArgumentError>([&] { writer.finish(); }, {"JSON"});
    }
    CHECK(folder.names().empty());
}

TEST_CASE("a small checkpoint is one file, a large one shards with an index") {
    const test::TemporaryFolder folder;
    const Index limit = GENERATE(1, 100, 160, 479, 480, 5'000'000);
    ShardedSafetensorsWriter writer(folder.path(), {{{"origin", "test"}}, limit, 64});
    const std::vector<Index> sizes{10, 20, 30, 0, 60};  // 40, 80, 120, 0, 240 bytes
    for (const Index size : sizes) writer.append("t" + std::to_string(size), quarters({size}));
    check_throws<ArgumentError>([&] { writer.append("t10", quarters({1})); }, {"'t10'", "before"});
    check_throws<ArgumentError>([&] { writer.append("t60", DType::u8, {1}, bytes_of("x")); },
                                {"'t60'"});
    for (const auto& name : folder.names()) CHECK(name.front() == '.');
    writer.finish();
    if (limit >= 480) {
        CHECK(folder.names() == Names{"model.safetensors"});
        CHECK(SafetensorsFile(folder / "model.safetensors").tensors().size() == 5);
        return;
    }
    const ShardedSafetensors checkpoint(folder / "model.safetensors.index.json");
    const std::size_t expected = limit == 1 ? 4 : limit == 100 ? 4 : limit == 160 ? 3 : 2;
    CHECK(checkpoint.shards().size() == expected);
    CHECK(read_file(folder / "model.safetensors.index.json").find("\"total_size\": 480") !=
          std::string::npos);
    CHECK(std::filesystem::exists(
        folder / ("model-00001-of-0000" + std::to_string(expected) + ".safetensors")));
    for (const Index size : sizes) {
        const std::string name = "t" + std::to_string(size);
        const auto& shard = checkpoint.shard_of(name);
        CHECK(same(shard.read<float>(name), quarters({size})));
        CHECK(shard.metadata().at("format") == "pt");
        CHECK(shard.metadata().at("origin") == "test");
    }
}

TEST_CASE("a sharded writer that is not finished leaves the folder empty") {
    const test::TemporaryFolder folder;
    {
        ShardedSafetensorsWriter writer(folder.path(), {.max_shard_bytes = 8});
        writer.append("a", quarters({3}));
        writer.append("b", quarters({3}));
    }
    CHECK(folder.names().empty());
    check_throws<ArgumentError>(
        [&] { ShardedSafetensorsWriter writer(folder.path(), {.max_shard_bytes = 0}); },
        {"max_shard_bytes 0"});
    check_throws<FileError>([&] { ShardedSafetensorsWriter writer(folder / "none"); }, {"none"});
}

TEST_CASE("metadata are added until the file is finished") {
    const test::TemporaryFolder folder;
    const auto path = folder / "out.safetensors";
    SafetensorsWriter writer(path, {{{"origin", "test"}}});
    writer.append("a", quarters({2}));
    writer.set_metadata("kind", "first");
    writer.set_metadata("kind", "second \"quoted\"");
    check_throws<ArgumentError>([&] { writer.set_metadata("format", "np"); }, {"format"});
    CHECK_THROWS_AS(writer.set_metadata("kind", "\xff"), ArgumentError);
    CHECK_THROWS_AS(writer.set_metadata("\xff", "kind"), ArgumentError);
    writer.finish();
    check_throws<ArgumentError>([&] { writer.set_metadata("late", "1"); }, {"late", "finish()"});
    const std::map<std::string, std::string> metadata{
        {"format", "pt"}, {"kind", "second \"quoted\""}, {"origin", "test"}};
    CHECK(SafetensorsFile(path).metadata() == metadata);
}

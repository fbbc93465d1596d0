#include "mpo/io/safetensors_shards.hpp"

#include "mpo/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace {

using namespace mpo;
using test::check_throws;
using test::write_file;

/// Two shards: a.safetensors with x and y, b.safetensors with z.
class TwoShards {
  public:
    TwoShards() {
        SafetensorsWriter a(folder / "a.safetensors"), b(folder / "b.safetensors");
        a.append("x", Tensor<float>({2}, {1, 2}));
        a.append("y", Tensor<float>({1}, {3}));
        b.append("z", Tensor<float>({1}, {4}));
        a.finish();
        b.finish();
    }
    [[nodiscard]] ShardedSafetensors open(const std::string& index) const {
        write_file(folder / "index.json", index);
        return ShardedSafetensors(folder / "index.json");
    }
    test::TemporaryFolder folder;
};

const std::string good_map = R"({"x":"a.safetensors","y":"a.safetensors","z":"b.safetensors"})";

}  // namespace

TEST_CASE("an index finds every tensor in its shard") {
    const TwoShards files;
    const std::string metadata = GENERATE(R"({"total_size":16})", R"({"total_size":1.5e1})", "null",
                                          R"({"a":{"b":[1,[2],{"weight_map":{"q":3}}]}})");
    const auto checkpoint = files.open("{\"metadata\":" + metadata + ",\"weight_map\":" + good_map +
                                       ",\"other\":[{}]}");
    CHECK(checkpoint.shards().size() == 2);
    CHECK(checkpoint.shard_of("x").read<float>("x").data()[1] == 2);
    CHECK(checkpoint.shard_of("z").read<float>("z").data()[0] == 4);
    CHECK(checkpoint.contains("y"));
    CHECK(!checkpoint.contains("w"));
    check_throws<ArgumentError>([&] { static_cast<void>(checkpoint.shard_of("w")); },
                                {"'w'", "2 shards"});
}

TEST_CASE("an index that lies is refused with file and tensor") {
    const TwoShards files;
    const auto map = [](const std::string& text) { return "{\"weight_map\":" + text + "}"; };
    const std::string deep = std::string(40, '[') + std::string(40, ']');
    const std::vector<std::pair<std::string, std::vector<std::string>>> lies{
        {"", {"breaks off"}},
        {"{", {"breaks off"}},
        {"[]", {"array"}},
        {"7", {"an integer"}},
        {"{}", {"weight_map", "missing"}},
        {map("{}"), {"weight_map", "empty"}},
        {map("[]"), {"'weight_map' at byte 1", "object", "array"}},
        {map("\"a\""), {"'weight_map' at byte 1", "object", "a string"}},
        {map("{\"x\":1}"), {"tensor 'x' at byte 15", "an integer"}},
        {map("{\"x\":null}"), {"'x'", "null"}},
        {map("{\"x\":{}}"), {"tensor 'x' at byte 15", "object"}},
        {map("{\"x\":[]}"), {"'x'", "array"}},
        {map("{\"x\":\"\"}"), {"'x'", "plain file name"}},
        {map("{\"x\":\"..\"}"), {"'x'", "'..'", "plain file name"}},
        {map("{\"x\":\"../a.safetensors\"}"), {"'x'", "'../a.safetensors'", "plain file name"}},
        {map("{\"x\":\"/etc/passwd\"}"), {"'x'", "'/etc/passwd'", "plain file name"}},
        {map("{\"x\":\"d\\\\a\"}"), {"'x'", "plain file name"}},
        {map("{\"x\":\"a\\u0000b\"}"), {"'x'", "'a\\x00b'", "plain file name"}},
        {map("{\"" + std::string(257, 'n') + "\":\"a\"}"), {"at byte 15", "257", "256"}},
        {map("{\"x\":\"a.safetensors\",\"x\":\"b.safetensors\"}"),
         {"tensor 'x' at byte 35", "twice"}},
        {"{\"weight_map\":" + good_map + ",\"weight_map\":" + good_map + "}",
         {"'weight_map'", "twice"}},
        {map(R"({"x":"a.safetensors","y":"a.safetensors","z":"a.safetensors"})"),
         {"'z'", "not in 'a.safetensors'"}},
        {map(R"({"x":"a.safetensors","y":"a.safetensors","w":"b.safetensors","z":"b.safetensors"})"),
         {"'w'", "not in 'b.safetensors'"}},
        {map(R"({"x":"a.safetensors","z":"b.safetensors"})"),
         {"'y'", "a.safetensors", "not listed"}},
        {"{\"metadata\":" + deep + ",\"weight_map\":" + good_map + "}", {"nested", "32"}},
    };
    for (const auto& [index, pieces] : lies) {
        INFO(index);
        auto expected = pieces;
        expected.push_back("index.json");
        check_throws<FormatError>([&, &text = index] { static_cast<void>(files.open(text)); },
                                  expected);
    }
}

TEST_CASE("a missing shard and a missing index are file errors by name") {
    const TwoShards files;
    check_throws<FileError>(
        [&] { static_cast<void>(files.open(R"({"weight_map":{"x":"c.safetensors"}})")); },
        {"index.json", "'c.safetensors'", "missing"});
    check_throws<FileError>([&] { ShardedSafetensors none(files.folder / "none.json"); },
                            {"none.json", "No such file"});
}

TEST_CASE("a tensor that two shards hold is refused") {
    const TwoShards files;
    SafetensorsWriter b(files.folder / "b.safetensors");
    b.append("z", Tensor<float>({1}, {4}));
    b.append("x", Tensor<float>({1}, {5}));
    b.finish();
    check_throws<FormatError>(
        [&] { static_cast<void>(files.open("{\"weight_map\":" + good_map + "}")); },
        {"'x'", "b.safetensors", "not listed"});
}

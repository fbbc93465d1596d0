#include "mpo/io/gguf.hpp"

#include <limits>
#include <vector>

#include "mpo/io/safetensors.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/gguf_bytes.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

constexpr ReadMode both_modes[] = {ReadMode::mapped, ReadMode::buffered};

struct Lie {
    std::string what;
    Bytes file;
    std::vector<std::string> message;
};

void check_refused(const std::vector<Lie>& lies) {
    const TemporaryFolder folder;
    const auto path = folder / "lie.gguf";
    for (const auto& lie : lies)
        for (const auto mode : both_modes) {
            INFO(lie.what);
            write_file(path, lie.file);
            auto pieces = lie.message;
            pieces.push_back(path.string());
            check_throws<FormatError>([&] { GgufFile file(path, mode); }, pieces);
        }
}

/// A file with one pair whose value is written by hand.
[[nodiscard]] Bytes one_pair(std::uint32_t type, const Bytes& value) {
    return gguf_preamble(0, 1).string("key").number(type).text(value.data());
}

[[nodiscard]] Bytes array_of(std::uint32_t element, std::uint64_t count) {
    return Bytes().number(element).number(count);
}

}  // namespace

TEST_CASE("a file of the reference package keeps its metadata, types included") {
    for (const auto mode : both_modes) {
        const GgufFile file(fixture("tiny_llama.gguf"), mode);
        CHECK(file.version() == 3);
        CHECK(file.alignment() == 64);
        const auto has = [&](const std::string& key, const GgufValue& value) {
            const auto* found = file.find(key);
            return found && found->index() == value.index() &&
                   std::visit(
                       [&](const auto& x) {
                           using T = std::decay_t<decltype(x)>;
                           if constexpr (std::is_same_v<T, GgufArray>)
                               return false;
                           else
                               return x == std::get<T>(value);
                       },
                       *found);
        };
        CHECK(has("general.architecture", std::string("llama")));
        CHECK(has("test.u8", std::uint8_t{200}));
        CHECK(has("test.i8", std::int8_t{-100}));
        CHECK(has("test.u16", std::uint16_t{60000}));
        CHECK(has("test.i16", std::int16_t{-30000}));
        CHECK(has("test.u32", std::uint32_t{4000000000}));
        CHECK(has("test.i32", std::int32_t{-2000000000}));
        CHECK(has("test.u64", (std::uint64_t{1} << 63) + 1));
        CHECK(has("test.i64", -(std::int64_t{1} << 62)));
        CHECK(has("test.f32", 0.1f));
        CHECK(has("test.f64", 0.1));
        CHECK(has("test.bool", true));
        CHECK(has("test.text", std::string("\u00e9 x")));
        CHECK(file.find("absent") == nullptr);

        CHECK(as_integer(*file.find("test.i16")) == -30000);
        CHECK(!as_integer(*file.find("test.u64")));
        CHECK(!as_integer(*file.find("test.f32")));
        CHECK(!as_integer(*file.find("test.bool")));
        CHECK(as_real(*file.find("test.f64")) == 0.1);
        CHECK(!as_real(*file.find("test.u8")));

        const auto& tokens = std::get<GgufArray>(*file.find("tokenizer.ggml.tokens"));
        REQUIRE(tokens.size() == 33);
        CHECK(std::get<std::vector<std::string>>(tokens.elements)[32] == "<32>");
        const auto& floats = std::get<GgufArray>(*file.find("test.floats"));
        CHECK(std::get<std::vector<float>>(floats.elements) == std::vector<float>{0.5f, -1.5f});
    }
}

TEST_CASE("tensors come in row-major shapes, decoded or as they lie") {
    const SafetensorsFile expected(fixture("tiny_llama_expected.safetensors"));
    for (const auto mode : both_modes) {
        const GgufFile file(fixture("tiny_llama.gguf"), mode);
        CHECK(file.tensors().size() == 20);
        const auto& up = file.info("blk.0.ffn_up.weight");
        CHECK(up.shape == Shape{64, 32});
        CHECK(to_string(up.type) == "Q5_0");
        CHECK(up.bytes == 64 * 22);
        CHECK(file.bytes("blk.0.ffn_up.weight").size() == up.bytes);
        const auto values = file.read<float>("blk.0.ffn_up.weight");  // (64, 32)
        const auto oracle = expected.read<float>("model.layers.0.mlp.up_proj.weight");
        CHECK(std::equal(values.data(), values.data() + values.size(), oracle.data()));
        check_throws<ArgumentError>([&] { static_cast<void>(file.info("absent")); },
                                    {"'absent'", "tiny_llama.gguf", "20 tensors"});
    }
}

TEST_CASE("arrays of every element type and nested arrays are kept") {
    const TemporaryFolder folder;
    Bytes nested = array_of(9, 2);  // two arrays
    nested.text(array_of(0, 3).text("\x01\x02\xff").data());
    nested.text(array_of(8, 2).string("a").string("").data());
    const Bytes bools = array_of(7, 3).text(std::string("\x01\x00\x01", 3));
    const Bytes longs = array_of(11, 2).number(std::int64_t{-5}).number(std::int64_t{1} << 40);
    const Bytes doubles = array_of(12, 1).number(0.1);
    const auto pair = [](const std::string& key, const Bytes& array) {
        return Bytes().string(key).number(std::uint32_t{9}).text(array.data());
    };
    write_file(folder / "a.gguf",
               gguf_file({pair("nested", nested), pair("bools", bools), pair("longs", longs),
                          pair("doubles", doubles), pair("none", array_of(6, 0))},
                         {}, ""));
    const GgufFile file(folder / "a.gguf");
    const auto elements = [&](const std::string& key) -> const GgufArray::Elements& {
        return std::get<GgufArray>(*file.find(key)).elements;
    };
    const auto& arrays = std::get<std::vector<GgufArray>>(elements("nested"));
    REQUIRE(arrays.size() == 2);
    CHECK(std::get<std::vector<std::uint8_t>>(arrays[0].elements) ==
          std::vector<std::uint8_t>{1, 2, 255});
    CHECK(std::get<std::vector<std::string>>(arrays[1].elements) ==
          std::vector<std::string>{"a", ""});
    CHECK(std::get<std::vector<bool>>(elements("bools")) == std::vector<bool>{true, false, true});
    CHECK(std::get<std::vector<std::int64_t>>(elements("longs")) ==
          std::vector<std::int64_t>{-5, std::int64_t{1} << 40});
    CHECK(std::get<std::vector<double>>(elements("doubles")) == std::vector<double>{0.1});
    CHECK(std::get<std::vector<float>>(elements("none")).empty());
}

TEST_CASE("version 2, any table order, gaps and unknown types are read") {
    const TemporaryFolder folder;
    std::string data(192, '\0');
    data[64] = 1;
    Bytes file = gguf_preamble(4, 1, 2);
    file.text(gguf_u32("general.alignment", 64).data());
    file.text(gguf_tensor("late", {3}, 24, 128).data());       // I8
    file.text(gguf_tensor("early", {32}, 20, 0).data());       // IQ4_NL: 18 bytes, named only
    file.text(gguf_tensor("unknown", {5, 2}, 99, 64).data());  // size unknown: up to the next
    file.text(gguf_tensor("empty", {0, 4}, 0, 192).data());
    write_file(folder / "b.gguf", file.pad_to(64).text(data));
    const GgufFile gguf(folder / "b.gguf");
    CHECK(gguf.version() == 2);
    CHECK(gguf.info("early").type == StoredType(OpaqueType{20, "IQ4_NL"}));
    CHECK(gguf.info("early").bytes == 18);
    CHECK(gguf.info("unknown").type == StoredType(OpaqueType{99, "GGML type 99"}));
    CHECK(gguf.info("unknown").bytes == 64);
    CHECK(gguf.info("unknown").shape == Shape{2, 5});
    CHECK(gguf.bytes("unknown").data()[0] == std::byte{1});
    CHECK(gguf.info("late").type == StoredType(DType::i8));
    CHECK(gguf.info("late").bytes == 3);
    CHECK(gguf.read<float>("empty").shape() == Shape{4, 0});
    check_throws<ArgumentError>([&] { static_cast<void>(gguf.read<float>("early")); },
                                {"IQ4_NL", "20"});
}

TEST_CASE("gguf: a file cut short anywhere is refused when it is opened") {
    const TemporaryFolder folder;
    const auto path = folder / "cut.gguf";
    const auto whole = read_file(fixture("tiny_llama.gguf"));
    const GgufFile complete(fixture("tiny_llama.gguf"));
    Index end = 0;
    for (const auto& tensor : complete.tensors()) end = std::max(end, tensor.offset + tensor.bytes);
    for (std::size_t size = 0; size < static_cast<std::size_t>(end);
         size += size < 2500 ? 7 : 501) {
        INFO("cut to " << size << " of " << end << " bytes");
        write_file(path, whole.substr(0, size));
        CHECK_THROWS_AS(GgufFile(path), FormatError);
    }
    write_file(path, whole.substr(0, static_cast<std::size_t>(end) - 1));
    CHECK_THROWS_AS(GgufFile(path), FormatError);
    write_file(path, whole.substr(0, static_cast<std::size_t>(end)));  // padding may be missing
    CHECK(GgufFile(path).tensors().size() == 20);
}

TEST_CASE("preambles that lie are refused with byte and number") {
    const std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
    check_refused({
        {"empty", Bytes(), {"magic", "byte 0", "0 left"}},
        {"magic", Bytes().text("GGML").zeros(20), {"GGUF", "magic"}},
        {"big-endian",
         Bytes().text("GGUF").number(std::uint32_t{0x03000000}).zeros(16),
         {"big-endian"}},
        {"version 0", gguf_preamble(0, 0, 0), {"GGUF 0", "2 and 3"}},
        {"version 1", gguf_preamble(0, 0, 1), {"GGUF 1", "2 and 3"}},
        {"version 4", gguf_preamble(0, 0, 4), {"GGUF 4", "2 and 3"}},
        {"no counts", gguf_preamble(0, 0).cut(20), {"number of metadata pairs", "byte 16"}},
        {"tensors", gguf_preamble(huge, 0), {"number of tensors", std::to_string(huge)}},
        {"one tensor", gguf_preamble(1, 0), {"number of tensors", "0 bytes left"}},
        {"pairs", gguf_preamble(0, huge), {"number of metadata pairs", std::to_string(huge)}},
    });
}

TEST_CASE("metadata that lies is refused with key, byte and number") {
    const std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
    const std::uint64_t above = (std::uint64_t{64} << 20) + 1;
    Bytes deep;
    for (int k = 0; k < 5; ++k) deep.text(array_of(9, 1).data());
    const auto alignment = [](const Bytes& pair) { return gguf_file({pair}, {}, ""); };
    check_refused({
        {"key length", gguf_preamble(0, 1).number(huge).zeros(8), {"key 0", "limit 65535"}},
        {"key too long", gguf_preamble(0, 1).string(std::string(65536, 'k')), {"65536", "65535"}},
        {"key cut", gguf_preamble(0, 1).number(std::uint64_t{9}).zeros(5), {"needs 9", "5 left"}},
        {"type 13", one_pair(13, Bytes().zeros(8)), {"'key'", "type 13"}},
        {"value cut", one_pair(10, Bytes().zeros(7)), {"'key'", "needs 8", "7 left"}},
        {"bool 2", one_pair(7, Bytes().text("\x02")), {"'key'", "0 or 1", "2"}},
        {"string huge", one_pair(8, Bytes().number(huge)), {"'key'", std::to_string(huge)}},
        {"string above limit", one_pair(8, Bytes().number(above)), {"'key'", "limit 67108864"}},
        {"string cut",
         one_pair(8, Bytes().number(std::uint64_t{4}).zeros(3)),
         {"needs 4", "3 left"}},
        {"array type", one_pair(9, array_of(13, 0)), {"'key'", "element type 13"}},
        {"array huge", one_pair(9, array_of(4, huge)), {"'key'", std::to_string(huge), "limit"}},
        {"array wraps", one_pair(9, array_of(10, (huge >> 3) + 1)), {"'key'", "limit"}},
        {"array cut", one_pair(9, array_of(4, 3).zeros(11)), {"at least 12", "11 left"}},
        {"strings cut", one_pair(9, array_of(8, 2).zeros(15)), {"at least 16", "15 left"}},
        {"arrays cut", one_pair(9, array_of(9, 2).zeros(23)), {"at least 24", "23 left"}},
        {"nested deep", one_pair(9, deep), {"'key'", "nested more than 4"}},
        {"key twice", gguf_file({gguf_u32("k", 1), gguf_text("k", "x")}, {}, ""), {"'k'", "twice"}},
        {"alignment 0",
         alignment(gguf_u32("general.alignment", 0)),
         {"general.alignment", "0 is not"}},
        {"alignment 48",
         alignment(gguf_u32("general.alignment", 48)),
         {"48 is not a power of two"}},
        {"alignment 2^21",
         alignment(gguf_u32("general.alignment", 1u << 21)),
         {"2097152", "1048576"}},
        {"alignment u64",
         alignment(gguf_pair("general.alignment", 10, std::uint64_t{32})),
         {"u32"}},
    });
}

TEST_CASE("tensors that lie are refused with name and numbers") {
    const std::uint64_t two32 = std::uint64_t{1} << 32;
    const auto one = [](const Bytes& tensor) {
        return gguf_file({}, {tensor}, std::string(128, 'd'));
    };
    const auto two = [](const Bytes& a, const Bytes& b) {
        return gguf_file({}, {a, b}, std::string(128, 'd'));
    };
    check_refused({
        {"name length",
         gguf_preamble(1, 0).number(~std::uint64_t{0}).zeros(24),
         {"tensor 0", "1024"}},
        {"rank 5", one(gguf_tensor("t", {1, 1, 1, 1, 1}, 0, 0)), {"'t'", "5 dimensions"}},
        {"dims wrap",
         one(gguf_tensor("t", {two32, two32}, 0, 0)),
         {"'t'", "dimension 1", "4294967296"}},
        {"dim negative", one(gguf_tensor("t", {~std::uint64_t{0}}, 0, 0)), {"'t'", "dimension 0"}},
        {"bytes wrap",
         one(gguf_tensor("t", {std::uint64_t{1} << 62}, 0, 0)),
         {"'t'", "2^63 bytes"}},
        {"part of a block",
         one(gguf_tensor("t", {48, 2}, 8, 0)),
         {"'t'", "rows of 48", "Q8_0", "32"}},
        {"scalar block", one(gguf_tensor("t", {}, 2, 0)), {"'t'", "rows of 1", "Q4_0"}},
        {"misaligned", one(gguf_tensor("t", {1}, 0, 16)), {"'t'", "offset 16", "alignment 32"}},
        {"offset outside",
         one(gguf_tensor("t", {1}, 0, 1 << 20)),
         {"'t'", "offset 1048576", "beyond"}},
        {"offset huge", one(gguf_tensor("t", {1}, 0, ~std::uint64_t{31})), {"'t'", "beyond"}},
        {"ends outside", one(gguf_tensor("t", {9}, 0, 96)), {"'t'", "36 bytes at 96", "128 bytes"}},
        {"unknown outside", one(gguf_tensor("t", {9}, 99, 160)), {"'t'", "at 160", "128 bytes"}},
        {"name twice",
         two(gguf_tensor("t", {1}, 0, 0), gguf_tensor("t", {1}, 0, 32)),
         {"'t'", "twice"}},
        {"overlap",
         two(gguf_tensor("a", {9}, 0, 32), gguf_tensor("b", {1}, 0, 64)),
         {"'b'", "overlaps", "68"}},
        {"same place", two(gguf_tensor("a", {1}, 0, 0), gguf_tensor("b", {1}, 0, 0)), {"overlaps"}},
        {"no data", gguf_preamble(1, 0).text(gguf_tensor("t", {0}, 0, 0).data()), {"begins at"}},
    });
}

TEST_CASE("the metadata of a file travels as a file without tensors") {
    const TemporaryFolder folder;
    const GgufFile source(fixture("tiny_llama.gguf"));
    write_gguf_metadata(source, folder / "meta.gguf");
    const GgufFile copy(folder / "meta.gguf");
    CHECK(copy.tensors().empty());
    CHECK(copy.alignment() == source.alignment());
    CHECK(copy.metadata().size() == source.metadata().size());
    const auto a = source.metadata_bytes(), b = copy.metadata_bytes();
    CHECK(std::equal(a.span().begin(), a.span().end(), b.span().begin(), b.span().end()));
    CHECK(std::filesystem::file_size(folder / "meta.gguf") % 64 == 0);
    CHECK(std::filesystem::file_size(folder / "meta.gguf") < 3000);
    check_throws<FileError>([&] { write_gguf_metadata(source, folder / "none" / "x"); }, {"none"});
}

TEST_CASE("a missing GGUF file is a file error") {
    const TemporaryFolder folder;
    check_throws<FileError>([&] { GgufFile file(folder / "none"); }, {"none", "No such file"});
}

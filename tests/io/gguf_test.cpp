#include "mpo/io/gguf.hpp"

#include <vector>

#include "mpo/io/safetensors.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/gguf_bytes.hpp"
#include "support/gguf_lies.hpp"
#include "support/refused.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

void check_gguf_refused(const std::vector<Lie>& lies) {
    check_refused(lies, "lie.gguf",
                  [](const auto& path, ReadMode mode) { GgufFile file(path, mode); });
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
    Bytes nested = gguf_array_of(9, 2);  // two arrays
    nested.text(gguf_array_of(0, 3).text("\x01\x02\xff").data());
    nested.text(gguf_array_of(8, 2).string("a").string("").data());
    const Bytes bools = gguf_array_of(7, 3).text(std::string("\x01\x00\x01", 3));
    const Bytes longs = gguf_array_of(11, 2).number(std::int64_t{-5}).number(std::int64_t{1} << 40);
    const Bytes doubles = gguf_array_of(12, 1).number(0.1);
    const auto pair = [](const std::string& key, const Bytes& array) {
        return Bytes().string(key).number(std::uint32_t{9}).text(array.data());
    };
    write_file(folder / "a.gguf",
               gguf_file({pair("nested", nested), pair("bools", bools), pair("longs", longs),
                          pair("doubles", doubles), pair("none", gguf_array_of(6, 0))},
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

TEST_CASE("gguf: preambles that lie are refused with byte and number") {
    check_gguf_refused(lying_preambles());
}

TEST_CASE("gguf: keys and values that lie are refused with key, byte and number") {
    check_gguf_refused(lying_values());
}

TEST_CASE("gguf: arrays that lie are refused with key, byte and number") {
    check_gguf_refused(lying_arrays());
}

TEST_CASE("gguf: a table of tensors that lies is refused with name, byte and numbers") {
    check_gguf_refused(lying_tensors());
}

TEST_CASE("gguf: tensors that do not lie side by side are refused with name and numbers") {
    check_gguf_refused(lying_places());
}

TEST_CASE("gguf: metadata that would fill the memory is refused before it does") {
    // every array is within its limit, and takes 4 times its bytes in memory
    const std::uint64_t count = (std::uint64_t{64} << 20) / 8;
    const auto pair = [&](const std::string& key) {
        return Bytes()
            .string(key)
            .number(std::uint32_t{9})
            .text(gguf_array_of(8, count).zeros(count * 8).data());
    };
    check_gguf_refused({{"two arrays of 2^23 empty strings",
                         gguf_file({pair("a"), pair("b")}, {}, ""),
                         {"metadata 'a' at byte", "limit of 268435456"}}});
}

TEST_CASE("gguf: no dimensions are a scalar") {
    const TemporaryFolder folder;
    write_file(folder / "s.gguf",
               gguf_file({}, {gguf_tensor("s", {}, 0, 0)}, Bytes().number(2.5f).data()));
    const GgufFile file(folder / "s.gguf");
    CHECK(file.info("s").shape.empty());
    CHECK(file.read<float>("s").data()[0] == 2.5f);
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

#include "mpo/io/safetensors.hpp"

#include <cmath>
#include <complex>

#include "support/catch.hpp"
#include "support/files.hpp"

namespace {

using namespace mpo;
using test::Bytes;
using test::check_throws;
using test::write_file;

constexpr ReadMode both_modes[] = {ReadMode::mapped, ReadMode::buffered};

/// A file with this header and so many bytes of data.
[[nodiscard]] Bytes with_header(const std::string& header, std::size_t data_bytes) {
    return Bytes().string(header).zeros(data_bytes);
}

[[nodiscard]] std::string tensor(const std::string& name, const std::string& dtype,
                                 const std::string& shape, const std::string& offsets) {
    return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape +
           R"(,"data_offsets":)" + offsets + "}";
}

struct Lie {
    std::string what;
    Bytes file;
    std::vector<std::string> message;
};

void check_refused(const std::vector<Lie>& lies) {
    const test::TemporaryFolder folder;
    const auto path = folder / "lie.safetensors";
    for (const auto& lie : lies)
        for (const auto mode : both_modes) {
            INFO(lie.what);
            write_file(path, lie.file);
            auto pieces = lie.message;
            pieces.push_back(path.string());
            check_throws<FormatError>([&] { SafetensorsFile file(path, {mode}); }, pieces);
        }
}

}  // namespace

TEST_CASE("a file of the reference package reads with all its types") {
    for (const auto mode : both_modes) {
        const SafetensorsFile file(test::fixture("every_dtype.safetensors"), {mode});
        CHECK(file.metadata() ==
              std::map<std::string, std::string>{{"note", "\u00e9\n\"quoted\""}});
        CHECK(file.tensors().size() == 19);
        for (const std::string name : {"float64", "float32", "float16", "bfloat16", "complex64"}) {
            INFO(name);
            const auto numbers = file.read<std::complex<double>>(name);  // (3, 4)
            REQUIRE(numbers.shape() == Shape{3, 4});
            Index wrong = 0;
            for (Index k = 0; k < 12; ++k) {
                const double imaginary = name == "complex64" ? static_cast<double>(k) : 0;
                const std::complex<double> expected(static_cast<double>(k - 3) / 4, imaginary);
                if (numbers.data()[k] != expected) ++wrong;
            }
            CHECK(wrong == 0);
        }
        const auto int64 = file.bytes("int64");
        for (Index k = 0; k < 12; ++k) {
            std::int64_t value;
            std::memcpy(&value, int64.data() + 8 * k, sizeof value);
            CHECK(value == static_cast<std::int64_t>(std::floor(static_cast<double>(k - 3) / 4)));
        }
        CHECK(file.read<float>("scalar").shape().empty());
        CHECK(file.read<float>("scalar").data()[0] == 2.5f);
        CHECK(file.read<double>("empty").shape() == Shape{0, 5});
        CHECK(file.info("float8_e4m3fn").dtype == DType::f8_e4m3);
        CHECK(file.info("bool").dtype == DType::boolean);
        CHECK(file.info("odd").bytes == 3);
        check_throws<ArgumentError>([&] { static_cast<void>(file.read<float>("int8")); }, {"I8"});
        check_throws<ArgumentError>([&] { static_cast<void>(file.read<float>("complex64")); },
                                    {"C64"});
        check_throws<ArgumentError>([&] { static_cast<void>(file.bytes("absent")); },
                                    {"absent", "every_dtype.safetensors", "19 tensors"});
    }
}

TEST_CASE("tensors at odd addresses, spaces, null metadata and empty tables are legal") {
    const test::TemporaryFolder folder;
    const auto path = folder / "legal.safetensors";
    const std::string header = "{\"__metadata__\":null," + tensor("a", "U8", "[1]", "[0,1]") + "," +
                               tensor("b", "F32", "[2]", "[1,9]") + "," +
                               tensor("nothing", "F64", "[3,0]", "[1,1]") + "}     ";
    write_file(path, Bytes().string(header).text("x").number(1.5f).number(-2.0f));
    for (const auto mode : both_modes) {
        const SafetensorsFile file(path, {mode});
        const auto b = file.read<double>("b");  // (2)
        CHECK(b.data()[0] == 1.5);
        CHECK(b.data()[1] == -2);
        CHECK(file.read<float>("nothing").size() == 0);
        CHECK(file.metadata().empty());
        CHECK(file.contains("a"));
        CHECK(!file.contains("c"));
    }
    write_file(path, with_header("{}", 0));
    CHECK(SafetensorsFile(path).tensors().empty());
}

TEST_CASE("trailing bytes are refused, or tolerated on request") {
    const test::TemporaryFolder folder;
    const auto path = folder / "long.safetensors";
    const std::string header = "{" + tensor("a", "F32", "[1]", "[0,4]") + "}";
    write_file(path, with_header(header, 7));
    const auto end = std::to_string(8 + header.size() + 4),
               size = std::to_string(8 + header.size() + 7);
    check_throws<FormatError>([&] { SafetensorsFile file(path); }, {path.string(), end, size});
    const SafetensorsFile file(path, {.trailing = TrailingBytes::tolerate});
    CHECK(file.read<float>("a").data()[0] == 0);
}

TEST_CASE("safetensors: a file cut short anywhere is refused when it is opened") {
    const test::TemporaryFolder folder;
    const auto whole = test::read_file(test::fixture("every_dtype.safetensors"));
    const auto path = folder / "cut.safetensors";
    for (std::size_t size = 0; size < whole.size(); size += size < 16 ? 1 : 13) {
        INFO("cut to " << size << " of " << whole.size() << " bytes");
        write_file(path, whole.substr(0, size));
        CHECK_THROWS_AS(SafetensorsFile(path), FormatError);
    }
    write_file(path, whole.substr(0, whole.size() - 1));
    CHECK_THROWS_AS(SafetensorsFile(path), FormatError);
}

TEST_CASE("a header length that lies is refused with its number") {
    const auto length = [](std::uint64_t n) { return Bytes().number(n).text("{}"); };
    check_refused({
        {"no length", Bytes().zeros(7), {"7 bytes", "byte 0"}},
        {"length 0", length(0), {"must begin with '{'"}},
        {"beyond the file", length(3), {"length 3", "the 2 bytes"}},
        {"above the limit", length(100'000'001), {"100000001", "limit of 100000000"}},
        {"2^63", length(std::uint64_t{1} << 63), {"9223372036854775808"}},
        {"2^64 - 8", length(~std::uint64_t{0} - 7), {"18446744073709551608"}},
        {"a space first", with_header(" {}", 0), {"must begin with '{'"}},
        {"an array", with_header("[]", 0), {"must begin with '{'"}},
    });
}

TEST_CASE("a header that is no table of tensors is refused by name") {
    const std::string good = tensor("a", "F32", "[1]", "[0,4]");
    const auto header = [](const std::string& text) { return with_header(text, 4); };
    check_refused({
        {"broken off", header("{" + good), {"breaks off at its byte"}},
        {"not UTF-8", header("{\"\xff\":1}"), {"breaks off", "UTF-8"}},
        {"text behind it", header("{" + good + "}{}"), {"breaks off"}},
        {"duplicate name", header("{" + good + "," + good + "}"), {"'a'", "twice"}},
        {"duplicate metadata", header(R"({"__metadata__":{"k":"1","k":"2"}})"), {"'k'", "twice"}},
        {"two metadata",
         header(R"({"__metadata__":{},"__metadata__":{}})"),
         {"__metadata__", "twice"}},
        {"metadata number", header(R"({"__metadata__":{"k":1}})"), {"'k'", "string", "an integer"}},
        {"metadata nested", header(R"({"__metadata__":{"k":{}}})"), {"__metadata__", "an object"}},
        {"metadata list", header(R"({"__metadata__":["k"]})"), {"__metadata__", "an array"}},
        {"metadata text", header(R"({"__metadata__":"k"})"), {"__metadata__", "a string"}},
        {"entry a number", header(R"({"a":1})"), {"'a'", "an integer", "object"}},
        {"unknown field", header(R"({"a":{"dtype":"F32","stride":1}})"), {"'a'", "'stride'"}},
        {"field twice", header(R"({"a":{"dtype":"F32","dtype":"F16"}})"), {"'dtype'", "twice"}},
        {"shape twice", header(R"({"a":{"shape":[],"shape":[]}})"), {"'shape'", "twice"}},
        {"no dtype", header(R"({"a":{"shape":[1],"data_offsets":[0,4]}})"), {"'a'", "no dtype"}},
        {"no shape", header(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})"), {"'a'", "no shape"}},
        {"no offsets", header(R"({"a":{"dtype":"F32","shape":[1]}})"), {"'a'", "data_offsets"}},
        {"bad dtype", header("{" + tensor("a", "F33", "[1]", "[0,4]") + "}"), {"'a'", "'F33'"}},
        {"dtype a number", header(R"({"a":{"dtype":7}})"), {"'dtype'", "string", "an integer"}},
        {"dtype a list", header(R"({"a":{"dtype":["F32"]}})"), {"'a'", "array"}},
        {"shape a number", header(R"({"a":{"shape":1}})"), {"'shape'", "array"}},
        {"nested shape",
         header("{" + tensor("a", "F32", "[[1]]", "[0,4]") + "}"),
         {"'a'", "array"}},
        {"object in shape",
         header("{" + tensor("a", "F32", "[{}]", "[0,4]") + "}"),
         {"'a'", "object"}},
        {"negative",
         header("{" + tensor("a", "F32", "[-1]", "[0,4]") + "}"),
         {"'shape'", "negative"}},
        {"fraction",
         header("{" + tensor("a", "F32", "[1.0]", "[0,4]") + "}"),
         {"'shape'", "fraction"}},
        {"2^64",
         header("{" + tensor("a", "F32", "[18446744073709551616]", "[0,4]") + "}"),
         {"'shape'"}},
        {"2^63",
         header("{" + tensor("a", "F32", "[9223372036854775808]", "[0,4]") + "}"),
         {"'shape'", "9223372036854775808"}},
        {"one offset", header("{" + tensor("a", "F32", "[1]", "[0]") + "}"), {"data_offsets"}},
        {"three offsets",
         header("{" + tensor("a", "F32", "[1]", "[0,4,4]") + "}"),
         {"data_offsets", "more than 2"}},
    });
}

TEST_CASE("nesting and rank of a header are limited") {
    const std::string open(100'000, '[');
    std::string rank = "[1";
    for (int k = 0; k < 64; ++k) rank += ",1";
    check_refused({
        {"deep array", with_header("{\"a\":" + open, 0), {"'a'", "array"}},
        {"rank 65",
         with_header("{" + tensor("a", "U8", rank + "]", "[0,1]") + "}", 1),
         {"'a'", "more than 64"}},
    });
}

TEST_CASE("offsets and sizes that contradict each other are refused with their numbers") {
    const auto one = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets, std::size_t data) {
        return with_header("{" + tensor("a", dtype, shape, offsets) + "}", data);
    };
    const auto two = [](const std::string& a, const std::string& b, std::size_t data) {
        return with_header(
            "{" + tensor("a", "F32", "[1]", a) + "," + tensor("b", "F32", "[1]", b) + "}", data);
    };
    const std::string big = "4294967296";  // 2^32
    check_refused({
        {"reversed", one("F32", "[1]", "[4,0]", 4), {"'a'", "[4, 0]", "backwards"}},
        {"too few bytes", one("F32", "[2]", "[0,4]", 4), {"'a'", "takes 8 bytes", "hold 4"}},
        {"too many bytes", one("F32", "[]", "[0,8]", 8), {"'a'", "takes 4 bytes", "hold 8"}},
        {"half a byte", one("F4", "[3]", "[0,2]", 2), {"'a'", "12 bits", "whole bytes"}},
        {"2^64 elements", one("U8", "[" + big + "," + big + "]", "[0,0]", 0), {"'a'", "elements"}},
        {"2^63 elements", one("U8", "[" + big + ",2147483648]", "[0,0]", 0), {"'a'", "elements"}},
        {"2^68 bits", one("F64", "[" + big + ",1073741824]", "[0,0]", 0), {"'a'", "bits"}},
        {"first not at 0", one("F32", "[1]", "[4,8]", 8), {"'a'", "hole after 0"}},
        {"hole", two("[0,4]", "[8,12]", 12), {"'b'", "[8, 12)", "hole after 4"}},
        {"overlap", two("[0,4]", "[2,6]", 6), {"'b'", "[2, 6)", "overlaps", "4"}},
        {"same place", two("[0,4]", "[0,4]", 4), {"overlaps"}},
        {"beyond the file",
         two("[0,4]", "[4,8]", 7),
         {"'b'", "[4, 8)", "beyond the file", "7 bytes"}},
        {"far beyond",
         one("U8", "[9223372036854775807]", "[0,9223372036854775807]", 4),
         {"'a'", "bits"}},
    });
}

TEST_CASE("a missing file is a file error") {
    const test::TemporaryFolder folder;
    check_throws<FileError>([&] { SafetensorsFile file(folder / "none"); },
                            {"none", "No such file"});
}

#include "mpo/io/safetensors.hpp"

#include <cmath>
#include <complex>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/refused.hpp"
#include "support/safetensors_lies.hpp"

namespace {

using namespace mpo;
using test::both_modes;
using test::Bytes;
using test::check_throws;
using test::header_entry;
using test::with_header;
using test::write_file;

void check_safetensors_refused(const std::vector<test::Lie>& lies) {
    test::check_refused(lies, "lie.safetensors", [](const auto& path, ReadMode mode) {
        SafetensorsFile file(path, {mode});
    });
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
    const std::string header = "{\"__metadata__\":null," + header_entry("a", "U8", "[1]", "[0,1]") +
                               "," + header_entry("b", "F32", "[2]", "[1,9]") + "," +
                               header_entry("nothing", "F64", "[3,0]", "[1,1]") + "}     ";
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
    const std::string header = "{" + header_entry("a", "F32", "[1]", "[0,4]") + "}";
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

TEST_CASE("safetensors: a header length that lies is refused with its number") {
    check_safetensors_refused(test::lying_header_lengths());
}

TEST_CASE("safetensors: a header that is no JSON is refused with its byte") {
    check_safetensors_refused(test::broken_header_texts());
}

TEST_CASE("safetensors: names that lie are refused with name and byte") {
    check_safetensors_refused(test::lying_names());
}

TEST_CASE("safetensors: entries that lie are refused with name, byte and number") {
    check_safetensors_refused(test::lying_entries());
}

TEST_CASE("safetensors: sizes and offsets that lie are refused with name and numbers") {
    check_safetensors_refused(test::lying_offsets());
}

TEST_CASE("a missing file is a file error") {
    const test::TemporaryFolder folder;
    check_throws<FileError>([&] { SafetensorsFile file(folder / "none"); },
                            {"none", "No such file"});
}

// Safetensors files that break one rule each. The first key of a header stands at byte 9.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bytes.hpp"

namespace mpo::test {

/// A file with this header and so many bytes of data.
[[nodiscard]] inline Bytes with_header(const std::string& header, std::size_t data_bytes) {
    return Bytes().string(header).zeros(data_bytes);
}

/// "name":{"dtype":..,"shape":..,"data_offsets":..}
[[nodiscard]] inline std::string header_entry(const std::string& name, const std::string& dtype,
                                              const std::string& shape,
                                              const std::string& offsets) {
    return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape +
           R"(,"data_offsets":)" + offsets + "}";
}

/// Rule 1: the length.
[[nodiscard]] inline std::vector<Lie> lying_header_lengths() {
    const auto length = [](std::uint64_t n) { return Bytes().number(n).text("{}"); };
    return {
        {"an empty file", Bytes(), {"0 bytes", "byte 0"}},
        {"cut inside the length", Bytes().zeros(7), {"7 bytes", "byte 0"}},
        {"cut behind the length", Bytes().number(std::uint64_t{2}), {"length 2", "the 0 bytes"}},
        {"length 0", length(0), {"byte 8", "must begin with '{'"}},
        {"beyond the file", length(3), {"length 3", "byte 0", "the 2 bytes"}},
        {"above the limit", length(100'000'001), {"100000001", "byte 0", "limit of 100000000"}},
        {"2^63", length(std::uint64_t{1} << 63), {"9223372036854775808", "byte 0"}},
        {"2^64 - 8, which wraps", length(~std::uint64_t{0} - 7), {"18446744073709551608"}},
        {"a space first", with_header(" {}", 0), {"byte 8", "must begin with '{'"}},
        {"a byte order mark first", with_header("\xef\xbb\xbf{}", 0), {"must begin with '{'"}},
        {"an array", with_header("[]", 0), {"byte 8", "must begin with '{'"}},
    };
}

/// Rule 2: what is no JSON.
[[nodiscard]] inline std::vector<Lie> broken_header_texts() {
    const std::string good = header_entry("a", "F32", "[1]", "[0,4]");
    const auto header = [](const std::string& text) { return with_header(text, 4); };
    const std::string open(100'000, '[');
    const std::string nul("{}\0{\"a\":1}", 10);
    return {
        {"broken off",
         header("{" + good),
         {"breaks off", "byte " + std::to_string(9 + good.size())}},
        {"broken off in a string", header("{\"a"), {"breaks off", "byte 11"}},
        {"broken off in an escape", header("{\"\\"), {"breaks off", "byte 11"}},
        {"not UTF-8", header("{\"\xff\":1}"), {"breaks off", "byte 10", "UTF-8", "\\xff"}},
        {"overlong UTF-8", header("{\"\xc0\x80\":1}"), {"breaks off", "byte 10", "UTF-8"}},
        {"half a surrogate", header(R"({"\ud800":1})"), {"breaks off", "surrogate"}},
        {"a control character", header("{\"\x1b[2J\":1}"), {"breaks off", "byte 10", "control"}},
        {"text behind it", header("{" + good + "}{}"), {"breaks off"}},
        {"a NUL byte and text behind it", header(nul), {"NUL", "byte 10"}},
        {"a comment", header("{/**/}"), {"breaks off", "byte 9"}},
        {"deep array", with_header("{\"a\":" + open, 0), {"'a' at byte 9", "array"}},
        {"deep object",
         with_header(R"({"__metadata__":{"k":{"l":{"m":{}}}}})", 0),
         {"'__metadata__' at byte 9", "'k' at byte 25", "object"}},
        {"a string beyond the limit",
         with_header("{\"" + std::string((16u << 20) + 1, 'a') + "\":1}", 0),
         {"byte 9", "16777216"}},
    };
}

/// Rule 2: names, and "__metadata__".
[[nodiscard]] inline std::vector<Lie> lying_names() {
    const std::string good = header_entry("a", "F32", "[1]", "[0,4]");
    const auto header = [](const std::string& text) { return with_header(text, 4); };
    return {
        {"name twice",
         header("{" + good + "," + good + "}"),
         {"'a' at byte " + std::to_string(10 + good.size()), "twice"}},
        {"name twice, once escaped",
         header("{" + good + ",\"\\u0061\":{}}"),
         {"'a' at byte " + std::to_string(10 + good.size()), "twice"}},
        {"name beyond the limit",
         header("{\"" + std::string(257, 'n') + "\":{}}"),
         {"'nnn", "... (257 bytes)' at byte 9", "257", "256"}},
        {"metadata key twice",
         header(R"({"__metadata__":{"k":"1","k":"2"}})"),
         {"'__metadata__' at byte 9", "'k' at byte 33", "twice"}},
        {"metadata twice",
         header(R"({"__metadata__":{},"__metadata__":{}})"),
         {"'__metadata__' at byte 27", "twice"}},
        {"metadata number",
         header(R"({"__metadata__":{"k":1}})"),
         {"'k' at byte 25", "string", "an integer"}},
        {"metadata object",
         header(R"({"__metadata__":{"k":{}}})"),
         {"'__metadata__' at byte 9", "'k' at byte 25", "an object"}},
        {"metadata array",
         header(R"({"__metadata__":{"k":[]}})"),
         {"'__metadata__' at byte 9", "'k' at byte 25", "an array"}},
        {"metadata null value",
         header(R"({"__metadata__":{"k":null}})"),
         {"'k'", "string", "null"}},
        {"metadata is a list",
         header(R"({"__metadata__":["k"]})"),
         {"'__metadata__' at byte 9", "an array"}},
        {"metadata is a text",
         header(R"({"__metadata__":"k"})"),
         {"'__metadata__' at byte 9", "a string"}},
    };
}

/// Rule 2: the fields of an entry.
[[nodiscard]] inline std::vector<Lie> lying_entries() {
    const auto header = [](const std::string& text) { return with_header(text, 4); };
    const auto entry = [&](const std::string& dtype, const std::string& shape,
                           const std::string& offsets) {
        return header("{" + header_entry("a", dtype, shape, offsets) + "}");
    };
    std::string rank = "[1";
    for (int k = 0; k < 64; ++k) rank += ",1";
    const std::string a = "'a' at byte 9", shape = "'shape' at byte 27";
    return {
        {"entry is a number", header(R"({"a":1})"), {a, "an integer", "object"}},
        {"entry is null", header(R"({"a":null})"), {a, "null", "object"}},
        {"entry is a list", header(R"({"a":[]})"), {a, "array"}},
        {"entry is empty", header(R"({"a":{}})"), {a, "no dtype"}},
        {"entry without a name", header(R"({"":{}})"), {"'' at byte 9", "no dtype"}},
        {"unknown field",
         header(R"({"a":{"dtype":"F32","stride":1}})"),
         {a, "'stride' at byte 28", "unknown"}},
        {"dtype twice",
         header(R"({"a":{"dtype":"F32","dtype":"F16"}})"),
         {a, "'dtype' at byte 28", "twice"}},
        {"shape twice",
         header(R"({"a":{"shape":[],"shape":[]}})"),
         {a, "'shape' at byte 25", "twice"}},
        {"offsets twice",
         header(R"({"a":{"data_offsets":[],"data_offsets":[]}})"),
         {a, "'data_offsets' at byte 32", "twice"}},
        {"no dtype", header(R"({"a":{"shape":[1],"data_offsets":[0,4]}})"), {a, "no dtype"}},
        {"no shape", header(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})"), {a, "no shape"}},
        {"no offsets", header(R"({"a":{"dtype":"F32","shape":[1]}})"), {a, "data_offsets"}},
        {"unknown dtype", entry("F33", "[1]", "[0,4]"), {a, "'dtype' at byte 14", "'F33'"}},
        {"dtype in small letters", entry("f32", "[1]", "[0,4]"), {a, "'f32'"}},
        {"dtype is a number",
         header(R"({"a":{"dtype":7}})"),
         {a, "'dtype' at byte 14", "string", "an integer"}},
        {"dtype is a list",
         header(R"({"a":{"dtype":["F32"]}})"),
         {a, "'dtype' at byte 14", "array"}},
        {"shape is a number", header(R"({"a":{"shape":1}})"), {a, "'shape' at byte 14", "array"}},
        {"shape nested", entry("U8", "[[1]]", "[0,4]"), {a, "'shape' at byte 27", "array"}},
        {"shape holds an object", entry("U8", "[{}]", "[0,4]"), {a, shape, "object"}},
        {"shape holds a text", entry("U8", "[\"1\"]", "[0,4]"), {a, shape, "a string"}},
        {"shape negative", entry("U8", "[-1]", "[0,4]"), {a, shape, "negative"}},
        {"shape minus zero", entry("U8", "[-0]", "[0,0]"), {a, shape, "negative"}},
        {"shape a fraction", entry("U8", "[1.0]", "[0,4]"), {a, shape, "fraction"}},
        {"shape with an exponent", entry("U8", "[1e0]", "[0,4]"), {a, shape, "fraction"}},
        {"shape 2^63",
         entry("U8", "[9223372036854775808]", "[0,4]"),
         {a, shape, "9223372036854775808"}},
        {"shape 2^64", entry("U8", "[18446744073709551616]", "[0,4]"), {a, shape, "fraction"}},
        {"shape of rank 65", entry("U8", rank + "]", "[0,1]"), {a, shape, "more than 64"}},
        {"one offset", entry("F32", "[1]", "[0]"), {a, "data_offsets"}},
        {"three offsets",
         entry("F32", "[1]", "[0,4,4]"),
         {a, "'data_offsets' at byte 40", "more than 2"}},
    };
}

/// Rules 3 to 5: sizes and offsets.
[[nodiscard]] inline std::vector<Lie> lying_offsets() {
    const auto one = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets, std::size_t data) {
        return with_header("{" + header_entry("a", dtype, shape, offsets) + "}", data);
    };
    const auto two = [](const std::string& a, const std::string& b, std::size_t data) {
        return with_header("{" + header_entry("a", "F32", "[1]", a) + "," +
                               header_entry("b", "F32", "[1]", b) + "}",
                           data);
    };
    const std::string a = "'a' at byte 9", begins = "begins at byte ";
    const std::string big = "4294967296", largest = "9223372036854775807";  // 2^32, 2^63 - 1
    return {
        {"reversed", one("F32", "[1]", "[4,0]", 4), {a, "[4, 0]", "backwards"}},
        {"too few bytes", one("F32", "[2]", "[0,4]", 4), {a, "2 of F32", "8 bytes", "hold 4"}},
        {"too many bytes", one("F32", "[]", "[0,8]", 8), {a, "takes 4 bytes", "hold 8"}},
        {"half a byte", one("F4", "[3]", "[0,2]", 2), {a, "12 bits", "whole bytes"}},
        {"2^64 elements", one("U8", "[" + big + "," + big + "]", "[0,0]", 0), {a, "2^63 bits"}},
        {"2^63 elements", one("U8", "[" + big + ",2147483648]", "[0,0]", 0), {a, "2^63 bits"}},
        {"2^68 bits", one("F64", "[" + big + ",1073741824]", "[0,0]", 0), {a, "2^63 bits"}},
        {"2^68 bits times 0",
         one("F64", "[" + big + ",1073741824,0]", "[0,0]", 0),
         {a, "2^63 bits"}},
        {"0 times 2^68 bits",
         one("F64", "[0," + big + ",1073741824]", "[0,0]", 0),
         {a, "2^63 bits"}},
        {"first not at 0",
         one("F32", "[1]", "[4,8]", 8),
         {"tensor 'a'", "[4, 8)", begins + "62", "hole after 0"}},
        {"hole", two("[0,4]", "[8,12]", 12), {"tensor 'b'", "[8, 12)", begins, "hole after 4"}},
        {"overlap", two("[0,4]", "[2,6]", 6), {"tensor 'b'", "[2, 6)", "overlaps", "ends at 4"}},
        {"same place", two("[0,4]", "[0,4]", 4), {"[0, 4)", "overlaps", "ends at 4"}},
        {"one byte beyond the file",
         two("[0,4]", "[4,8]", 7),
         {"tensor 'b'", "[4, 8)", "beyond the file", "7 bytes"}},
        {"no data at all", two("[0,4]", "[4,8]", 0), {"tensor 'a'", "beyond the file", "0 bytes"}},
        {"2^60 bytes beyond the file",
         one("U8", "[1152921504606846975]", "[0,1152921504606846975]", 4),
         {"tensor 'a'", "1152921504606846975", "beyond the file", "4 bytes"}},
        {"offsets of 2^63 - 1",
         one("U8", "[0]", "[" + largest + "," + largest + "]", 4),
         {"tensor 'a'", largest, "hole after 0"}},
        {"bytes behind the last tensor",
         one("F32", "[1]", "[0,4]", 7),
         {"end at byte 66", "only at 69"}},
        {"bytes behind no tensor", with_header("{}", 1), {"end at byte 10", "only at 11"}},
    };
}

/// All of them.
[[nodiscard]] inline std::vector<Lie> safetensors_lies() {
    std::vector<Lie> all;
    for (auto& lies : {lying_header_lengths(), broken_header_texts(), lying_names(),
                       lying_entries(), lying_offsets()})
        all.insert(all.end(), lies.begin(), lies.end());
    return all;
}

}  // namespace mpo::test

// GGUF files that break one rule each. In a file of one pair its key begins at byte 24; a tensor's
// line of a file without pairs too.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gguf_bytes.hpp"

namespace mpo::test {

/// A file with one pair "key" whose value, at byte 39, is written by hand.
[[nodiscard]] inline Bytes gguf_one_pair(std::uint32_t type, const Bytes& value) {
    return gguf_preamble(0, 1).string("key").number(type).text(value.data());
}

/// What an array's value begins with.
[[nodiscard]] inline Bytes gguf_array_of(std::uint32_t element, std::uint64_t count) {
    return Bytes().number(element).number(count);
}

/// Rule 1: magic, version, counts.
[[nodiscard]] inline std::vector<Lie> lying_preambles() {
    const std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
    return {
        {"an empty file", Bytes(), {"magic", "byte 0", "0 left"}},
        {"cut inside the magic", gguf_preamble(0, 0).cut(3), {"magic", "byte 0", "3 left"}},
        {"magic", Bytes().text("GGML").zeros(20), {"GGUF", "magic", "byte 0"}},
        {"cut inside the version", gguf_preamble(0, 0).cut(7), {"version at byte 4", "3 left"}},
        {"byte-swapped version",
         Bytes().text("GGUF").number(std::uint32_t{0x03000000}).zeros(16),
         {"version at byte 4", "big-endian"}},
        {"version 0", gguf_preamble(0, 0, 0), {"version at byte 4", "GGUF 0", "2 and 3"}},
        {"version 1", gguf_preamble(0, 0, 1), {"version at byte 4", "GGUF 1", "2 and 3"}},
        {"version 4", gguf_preamble(0, 0, 4), {"version at byte 4", "GGUF 4", "2 and 3"}},
        {"cut before the counts",
         gguf_preamble(0, 0).cut(8),
         {"number of tensors at byte 8", "0 left"}},
        {"cut inside the counts",
         gguf_preamble(0, 0).cut(20),
         {"number of metadata pairs at byte 16", "4 left"}},
        {"2^64 - 1 tensors",
         gguf_preamble(huge, 0),
         {"number of tensors at byte 8", std::to_string(huge), "0 bytes left"}},
        {"one tensor too many", gguf_preamble(1, 0), {"number of tensors at byte 8", "1 do not"}},
        {"tensors beyond the limit",
         gguf_preamble((1u << 18) + 1, 0).zeros(24 * ((1u << 18) + 1)),
         {"number of tensors at byte 8", "262145", "limit of 262144"}},
        {"2^64 - 1 pairs",
         gguf_preamble(0, huge),
         {"number of metadata pairs at byte 16", std::to_string(huge), "0 bytes left"}},
        {"one pair too many", gguf_preamble(0, 1).zeros(12), {"pairs at byte 16", "12 bytes left"}},
    };
}

/// Rule 2: keys and scalar values.
[[nodiscard]] inline std::vector<Lie> lying_values() {
    const std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
    const std::uint64_t above = (std::uint64_t{64} << 20) + 1;
    const auto value = [](std::uint32_t type, const Bytes& bytes) {
        return gguf_one_pair(type, bytes);
    };
    const std::string at = "'key' at byte 39";
    return {
        {"key of 2^64 - 1 bytes",
         gguf_preamble(0, 1).number(huge).zeros(8),
         {"key 0 at byte 24", std::to_string(huge), "limit 65535"}},
        {"key beyond the limit",
         gguf_preamble(0, 1).string(std::string(65536, 'k')),
         {"key 0 at byte 24", "65536", "65535"}},
        {"key cut",
         gguf_preamble(0, 1).number(std::uint64_t{9}).zeros(5),
         {"key 0 at byte 32", "needs 9", "5 left"}},
        {"key twice",
         gguf_file({gguf_u32("k", 1), gguf_text("k", "x")}, {}, ""),
         {"'k' at byte 49", "twice"}},
        {"key of control characters twice",
         gguf_file({gguf_u32("\x1b[2J\n", 1), gguf_u32("\x1b[2J\n", 1)}, {}, ""),
         {"'\\x1b[2J\\x0a' at byte", "twice"}},
        {"type cut", value(8, Bytes()).cut(38), {"'key' at byte 35", "needs 4", "3 left"}},
        {"type 13", value(13, Bytes().zeros(8)), {"'key' at byte 35", "type 13", "0 to 12"}},
        {"value cut", value(10, Bytes().zeros(7)), {at, "needs 8", "7 left"}},
        {"boolean 2", value(7, Bytes().text("\x02")), {at, "0 or 1", "got 2"}},
        {"string of 2^64 - 1 bytes", value(8, Bytes().number(huge)), {at, std::to_string(huge)}},
        {"string beyond the limit", value(8, Bytes().number(above)), {at, "limit 67108864"}},
        {"string cut",
         value(8, Bytes().number(std::uint64_t{4}).zeros(3)),
         {"'key' at byte 47", "needs 4", "3 left"}},
        {"alignment 0",
         gguf_file({gguf_u32("general.alignment", 0)}, {}, ""),
         {"'general.alignment' at byte 53", "0 is not a power of two"}},
        {"alignment 48",
         gguf_file({gguf_u32("general.alignment", 48)}, {}, ""),
         {"'general.alignment' at byte 53", "48 is not a power of two"}},
        {"alignment 2^21",
         gguf_file({gguf_u32("general.alignment", 1u << 21)}, {}, ""),
         {"'general.alignment' at byte 53", "2097152", "up to 1048576"}},
        {"alignment as u64",
         gguf_file({gguf_pair("general.alignment", 10, std::uint64_t{32})}, {}, ""),
         {"'general.alignment' at byte 53", "u32"}},
    };
}

/// Rule 2: arrays.
[[nodiscard]] inline std::vector<Lie> lying_arrays() {
    const std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
    const auto array = [](const Bytes& bytes) { return gguf_one_pair(9, bytes); };
    const auto of = gguf_array_of;
    Bytes deep;
    for (int k = 0; k < 5; ++k) deep.text(of(9, 1).data());
    const std::string count = "'key' at byte 43";
    return {
        {"element type 13", array(of(13, 0)), {"'key'", "element type 13", "0 to 12"}},
        {"element type cut", array(of(4, 0).cut(3)), {"'key' at byte 39", "needs 4", "3 left"}},
        {"count cut", array(of(4, 0).cut(11)), {count, "needs 8", "7 left"}},
        {"2^64 - 1 elements", array(of(4, huge)), {count, std::to_string(huge), "limit"}},
        {"2^61 elements of 8 bytes, which wraps",
         array(of(10, (huge >> 3) + 1)),
         {count, "2305843009213693952", "limit"}},
        {"2^64 - 1 booleans", array(of(7, huge)), {count, std::to_string(huge), "limit"}},
        {"numbers cut", array(of(4, 3).zeros(11)), {count, "at least 12", "11 left"}},
        {"strings cut", array(of(8, 2).zeros(15)), {count, "at least 16", "15 left"}},
        {"last string cut",
         array(of(8, 2).string("a").number(std::uint64_t{1})),
         {"'key' at byte 68", "needs 1", "0 left"}},
        {"string beyond the limit in an array",
         array(of(8, 1).number(huge)),
         {"'key' at byte 51", std::to_string(huge), "limit 67108864"}},
        {"boolean 3 in an array", array(of(7, 1).text("\x03")), {"'key' at byte 51", "got 3"}},
        {"arrays cut", array(of(9, 2).zeros(23)), {count, "at least 24", "23 left"}},
        {"nested too deep", array(deep), {"'key' at byte", "nested more than 4"}},
        {"nested element type 13",
         array(of(9, 1).text(of(13, 0).data())),
         {"'key'", "element type 13"}},
    };
}

/// Rules 3 to 5: the table of tensors.
[[nodiscard]] inline std::vector<Lie> lying_tensors() {
    const std::uint64_t two32 = std::uint64_t{1} << 32, two62 = std::uint64_t{1} << 62;
    const auto one = [](const Bytes& tensor) {
        return gguf_file({}, {tensor}, std::string(128, 'd'));
    };
    const auto table = [](const Bytes& tensor) { return gguf_preamble(1, 0).text(tensor.data()); };
    const auto shaped = [&](const std::vector<std::uint64_t>& dims, std::uint32_t type) {
        return one(gguf_tensor("t", dims, type, 0));
    };
    const Bytes whole = gguf_tensor("t", {1}, 0, 0);  // bytes 24 to 57
    const std::string rank = "'t' at byte 33", dim = "'t' at byte 37", type = "'t' at byte 45";
    return {
        {"name of 2^64 - 1 bytes",
         gguf_preamble(1, 0).number(~std::uint64_t{0}).zeros(24),
         {"tensor 0 at byte 24", "limit 256"}},
        {"name of 257 bytes",
         one(gguf_tensor(std::string(257, 'n'), {1}, 0, 0)),
         {"tensor 0 at byte 24", "257", "limit 256"}},
        {"cut inside the name",
         table(gguf_tensor(std::string(25, 'n'), {1}, 0, 0)).cut(56),
         {"name of tensor 0 at byte 32", "needs 25", "24 left"}},
        {"cut inside the type", table(whole).cut(48), {type, "needs 4", "3 left"}},
        {"cut inside the offset", table(whole).cut(56), {"'t' at byte 49", "7 left"}},
        {"5 dimensions", shaped({1, 1, 1, 1, 1}, 0), {rank, "5 dimensions", "at most 4"}},
        {"2^32 - 1 dimensions",
         table(Bytes().string("t").number(~std::uint32_t{0}).zeros(24)),
         {rank, "4294967295 dimensions"}},
        {"2^64 elements", shaped({two32, two32}, 0), {"'t' at byte 45", "dimension 1", "2^63"}},
        {"2^64 elements times 0", shaped({0, two32, two32}, 0), {"dimension 2", "2^63"}},
        {"dimension 2^64 - 1", shaped({~std::uint64_t{0}}, 0), {dim, "dimension 0", "2^63"}},
        {"2^64 bytes", shaped({two62}, 0), {"'t' at byte 45", "4611686018427387904", "2^63 bytes"}},
        {"part of a block", shaped({48, 2}, 8), {"'t' at byte 53", "rows of 48", "Q8_0", "32"}},
        {"part of a K block", shaped({128, 2}, 12), {"'t'", "rows of 128", "Q4_K", "256"}},
        {"part of a block we cannot read", shaped({32}, 19), {"'t'", "IQ1_S", "256"}},
        {"0 dimensions of blocks", shaped({}, 2), {"'t' at byte 37", "rows of 1", "Q4_0"}},
        {"misaligned",
         one(gguf_tensor("t", {1}, 0, 16)),
         {"'t' at byte 49", "offset 16", "alignment 32"}},
        {"offset beyond the file",
         one(gguf_tensor("t", {1}, 0, 1 << 20)),
         {"'t' at byte 49", "offset 1048576", "beyond"}},
        {"offset of 2^64 - 32",
         one(gguf_tensor("t", {1}, 0, ~std::uint64_t{31})),
         {"'t' at byte 49", "18446744073709551584", "beyond"}},
    };
}

/// Rule 5: tensors that do not lie side by side.
[[nodiscard]] inline std::vector<Lie> lying_places() {
    const auto one = [](const Bytes& tensor) {
        return gguf_file({}, {tensor}, std::string(128, 'd'));
    };
    const auto two = [](const Bytes& a, const Bytes& b) {
        return gguf_file({}, {a, b}, std::string(128, 'd'));
    };
    const auto tensor = gguf_tensor;
    return {
        {"name twice",
         two(tensor("t", {1}, 0, 0), tensor("t", {1}, 0, 32)),
         {"'t' at byte 65", "twice"}},
        {"ends beyond the file",
         one(tensor("t", {9}, 0, 96)),
         {"'t' of 36 bytes at 96", "begins at byte 64", "128 bytes"}},
        {"type unknown, beyond the file",
         one(tensor("t", {9}, 99, 160)),
         {"'t'", "at 160", "128 bytes"}},
        {"overlap",
         two(tensor("a", {9}, 0, 32), tensor("b", {1}, 0, 64)),
         {"'b'", "at 64", "begins at byte 96", "overlaps", "68"}},
        {"same place", two(tensor("a", {1}, 0, 0), tensor("b", {1}, 0, 0)), {"at 0", "overlaps"}},
        {"no data",
         gguf_preamble(1, 0).text(tensor("t", {0}, 0, 0).data()),
         {"tensor data at byte 64", "beyond the file of 57"}},
    };
}

/// All of them.
[[nodiscard]] inline std::vector<Lie> gguf_lies() {
    std::vector<Lie> all;
    for (auto& lies :
         {lying_preambles(), lying_values(), lying_arrays(), lying_tensors(), lying_places()})
        all.insert(all.end(), lies.begin(), lies.end());
    return all;
}

}  // namespace mpo::test

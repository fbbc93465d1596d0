// What the fixtures of other programs' results have in common: arrays, and hashes of what is too long.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "files.hpp"
#include "mpo/io/safetensors.hpp"

namespace mpo::test {

/// Elements of a tensor as they are stored.
template <class T>
[[nodiscard]] std::vector<T> stored_numbers(const SafetensorsFile& file, const std::string& name) {
    const auto bytes = file.bytes(name);
    std::vector<T> numbers(static_cast<std::size_t>(bytes.size()) / sizeof(T));
    std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(T));
    return numbers;
}

/// FNV-1a of 64 bits, as the scripts of the fixtures have it.
[[nodiscard]] inline std::uint64_t fnv1a(std::string_view data) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const char byte : data) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    return hash;
}

}  // namespace mpo::test

// What the fixtures of other programs' results have in common: arrays, and hashes of what is too long.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
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

/// Makes a file for the scripts of the fixtures in the folder that MPO_WRITE_TEXTS names, if it does.
inline void write_for_oracle(const std::string& name, const std::string& data) {
    if (const char* folder = std::getenv("MPO_WRITE_TEXTS"))
        write_file(std::filesystem::path(folder) / name, data);
}

/// FNV-1a of 64 bits, as the scripts of the fixtures have it.
[[nodiscard]] inline std::uint64_t fnv1a(std::string_view data) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const char byte : data) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    return hash;
}

}  // namespace mpo::test

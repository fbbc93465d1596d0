// GGUF files built field by field, right or wrong on purpose.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bytes.hpp"

namespace mpo::test {

/// Magic, version and counts.
[[nodiscard]] inline Bytes gguf_preamble(std::uint64_t tensors, std::uint64_t pairs,
                                         std::uint32_t version = 3) {
    return Bytes().text("GGUF").number(version).number(tensors).number(pairs);
}

/// A metadata pair of a scalar type, by GGUF's type id.
template <class T>
[[nodiscard]] Bytes gguf_pair(const std::string& key, std::uint32_t type, T value) {
    return Bytes().string(key).number(type).number(value);
}
[[nodiscard]] inline Bytes gguf_u32(const std::string& key, std::uint32_t value) {
    return gguf_pair(key, 4, value);
}
[[nodiscard]] inline Bytes gguf_text(const std::string& key, const std::string& value) {
    return Bytes().string(key).number(std::uint32_t{8}).string(value);
}

/// A tensor's line in the table; dimensions in the file's order.
[[nodiscard]] inline Bytes gguf_tensor(const std::string& name,
                                       const std::vector<std::uint64_t>& dims, std::uint32_t type,
                                       std::uint64_t offset) {
    Bytes bytes;
    bytes.string(name).number(static_cast<std::uint32_t>(dims.size()));
    for (const auto dim : dims) bytes.number(dim);
    return bytes.number(type).number(offset);
}

/// A whole file: preamble, pairs, tensors, padding, data.
[[nodiscard]] inline Bytes gguf_file(const std::vector<Bytes>& pairs,
                                     const std::vector<Bytes>& tensors, const std::string& data,
                                     std::size_t alignment = 32) {
    Bytes file = gguf_preamble(tensors.size(), pairs.size());
    for (const auto& pair : pairs) file.text(pair.data());
    for (const auto& tensor : tensors) file.text(tensor.data());
    return file.pad_to(alignment).text(data);
}

}  // namespace mpo::test

// Reading safetensors files. The format, little-endian throughout:
//
//   1. 8 bytes: N, the length of the header, at most 100,000,000 and at most the file's size - 8.
//   2. N bytes: a JSON object in UTF-8, from its first byte on; spaces may follow it.
//      name -> {"dtype": D, "shape": [..], "data_offsets": [begin, end]}; names occur once.
//      "__metadata__", where present, is an object of strings, or null.
//   3. The rest is data. Offsets count from its beginning; tensors are row-major.
//   4. end - begin = product of the shape * bits of D / 8, exactly. Rank 0 and extent 0 are legal.
//   5. Sorted by offset, the tensors cover the data: no hole, no overlap, nothing behind the last.
//   6. Nothing is aligned: elements are read by memcpy.
//
// Limits of ours: those of io/limits.hpp, rank 64, and strings of 16 MiB in the header. All rules are checked when the file is opened, so a truncated file is refused then.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/io/safetensors_header.hpp"

namespace mpo {

/// What to do about bytes behind the last tensor.
enum class TrailingBytes { refuse, tolerate };

/// How a file is opened.
struct SafetensorsOptions {
    ReadMode mode = ReadMode::mapped;                // see mapped_file.hpp
    TrailingBytes trailing = TrailingBytes::refuse;  // rule 5: bytes behind the last tensor
};

/// One opened file. Const calls are safe from many threads.
class SafetensorsFile {
  public:
    /// Throws FileError where the file cannot be read, FormatError where it breaks a rule.
    explicit SafetensorsFile(const std::filesystem::path& path,
                             const SafetensorsOptions& options = {});

    /// The path it was opened with.
    [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }

    /// In the order of the file.
    [[nodiscard]] const std::vector<SafetensorsEntry>& tensors() const { return entries_; }
    /// The pairs of "__metadata__".
    [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
    /// Whether a tensor has that name.
    [[nodiscard]] bool contains(const std::string& name) const {
        return positions_.count(name) != 0;
    }

    /// Throws ArgumentError where no tensor has that name; so do bytes and read.
    [[nodiscard]] const SafetensorsEntry& info(const std::string& name) const;

    /// The stored bytes; unaligned.
    [[nodiscard]] FileBytes bytes(const std::string& name) const;

    /// The tensor as numbers of type T. Throws ArgumentError for types that decode refuses.
    template <Scalar T>
    [[nodiscard]] Tensor<T> read(const std::string& name) const {
        const auto& entry = info(name);
        Tensor<T> tensor(entry.shape);
        decode(entry.dtype, bytes(name).data(), tensor.data(), tensor.size());
        return tensor;
    }

  private:
    static constexpr Index length_bytes = 8;
    static constexpr std::uint64_t max_header_bytes = 100'000'000;

    [[nodiscard]] Index read_header_length(const std::string& source) const;

    MappedFile file_;
    std::vector<SafetensorsEntry> entries_;
    std::map<std::string, std::string> metadata_;
    std::unordered_map<std::string_view, std::size_t> positions_;  // names are those of entries_
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/safetensors_inl.hpp"
#endif

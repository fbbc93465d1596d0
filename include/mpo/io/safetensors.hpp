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
#include <utility>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
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
                             const SafetensorsOptions& options = {})
        : file_(path, options.mode) {
        const std::string source = path.string();
        const Index header_bytes = read_header_length(source);
        detail::SafetensorsHeader header(source);
        const auto text = file_.bytes(length_bytes, header_bytes);
        const std::string_view json(reinterpret_cast<const char*>(text.data()),
                                    static_cast<std::size_t>(header_bytes));
        if (json.empty() || json.front() != '{')
            detail::raise<FormatError>(
                {source, ": the header at byte ", length_bytes, " must begin with '{'"});
        detail::parse_json(json, header, {source, length_bytes});
        entries_ = std::move(header.entries);
        metadata_ = std::move(header.metadata);
        const Index end =
            detail::place_entries(entries_, length_bytes + header_bytes, file_.size(), source);
        if (end != file_.size() && options.trailing == TrailingBytes::refuse)
            detail::raise<FormatError>(
                {source, ": the tensors end at byte ", end, ", the file only at ", file_.size()});
        for (std::size_t k = 0; k < entries_.size(); ++k) positions_[entries_[k].name] = k;
    }

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
    [[nodiscard]] const SafetensorsEntry& info(const std::string& name) const {
        const auto found = positions_.find(name);
        if (found == positions_.end())
            detail::raise<ArgumentError>({"no tensor ", detail::in_quotes(name), " in ",
                                          path().string(), " of ", entries_.size(), " tensors"});
        return entries_[found->second];
    }

    /// The stored bytes; unaligned.
    [[nodiscard]] FileBytes bytes(const std::string& name) const {
        const auto& entry = info(name);
        return file_.bytes(entry.offset, entry.bytes);
    }

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

    [[nodiscard]] Index read_header_length(const std::string& source) const {
        if (file_.size() < length_bytes)
            detail::raise<FormatError>(
                {source, ": ", file_.size(), " bytes cannot hold the header length at byte 0"});
        std::uint64_t length = 0;
        file_.read(0, std::as_writable_bytes(std::span(&length, 1)));
        if (length > max_header_bytes)
            detail::raise<FormatError>({source, ": header length ", length,
                                        " at byte 0 exceeds the limit of ", max_header_bytes});
        const auto left = static_cast<std::uint64_t>(file_.size() - length_bytes);
        if (length > left)
            detail::raise<FormatError>({source, ": header length ", length,
                                        " at byte 0 exceeds the ", left, " bytes that follow"});
        return static_cast<Index>(length);
    }

    MappedFile file_;
    std::vector<SafetensorsEntry> entries_;
    std::map<std::string, std::string> metadata_;
    std::unordered_map<std::string_view, std::size_t> positions_;  // names are those of entries_
};

}  // namespace mpo

// Reading GGUF files. The format, little-endian throughout:
//
//   1. "GGUF", u32 version (2 or 3), u64 number of tensors, u64 number of metadata pairs.
//   2. Pairs: string key, u32 type, value. A string is a u64 length and its bytes; an array is a u32
//      element type, a u64 count and its elements, which may be arrays. Keys occur once.
//   3. Tensors: string name, u32 number of dimensions (at most 4), u64 dimensions, u32 type, u64
//      offset. Names occur once. The first dimension is the contiguous one: our last.
//   4. The first dimension holds whole blocks of the type.
//   5. Data begins at the next multiple of general.alignment (u32, a power of two, 32 by default).
//      Offsets count from there, are multiples of it, and tensors neither overlap nor leave the
//      file.
//
// Limits of ours: those of io/limits.hpp, strings and arrays of 64 MiB, arrays nested 4 deep, keys of
// 65535 bytes, alignment 1 MiB. All rules are checked when the file is opened.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/packed.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/gguf_metadata.hpp"
#include "mpo/io/mapped_file.hpp"

namespace mpo {

/// One tensor of a GGUF file.
struct GgufTensor {
    std::string name;  // as the file has it
    Shape shape;       // row-major: the file's dimensions in reverse
    StoredType type;   // a type that is not known is listed, and cannot be read
    Index offset = 0;  // of its first byte, counted from the beginning of the file
    Index bytes = 0;   // of a type we do not know the size of: up to the next tensor
};

namespace detail {

/// A GGML type: what we call it, and the size of its blocks. 0 values: size unknown.
struct GgmlType {
    StoredType type;
    Index values = 0;
    Index bytes = 0;
};

[[nodiscard]] GgmlType ggml_type(std::uint32_t id);

}  // namespace detail

/// One opened file. Const calls are safe from many threads.
class GgufFile {
  public:
    /// Throws FileError where the file cannot be read, FormatError where it breaks a rule.
    explicit GgufFile(const std::filesystem::path& path, ReadMode mode = ReadMode::mapped);

    /// The path it was opened with.
    [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }
    /// 2 or 3.
    [[nodiscard]] std::uint32_t version() const { return version_; }
    /// All pairs, sorted by key.
    [[nodiscard]] const GgufMetadata& metadata() const { return metadata_; }
    /// general.alignment, or 32.
    [[nodiscard]] Index alignment() const { return alignment_; }

    /// The value of a key, or null.
    [[nodiscard]] const GgufValue* find(const std::string& key) const;

    /// In the order of the file's table.
    [[nodiscard]] const std::vector<GgufTensor>& tensors() const { return tensors_; }
    /// Whether a tensor has that name.
    [[nodiscard]] bool contains(const std::string& name) const {
        return positions_.count(name) != 0;
    }

    /// Throws ArgumentError where no tensor has that name; so do bytes and read.
    [[nodiscard]] const GgufTensor& info(const std::string& name) const;

    /// The stored bytes; unaligned. Throws as info.
    [[nodiscard]] FileBytes bytes(const std::string& name) const;

    /// The tensor as numbers of type T. Throws ArgumentError for types that decode refuses.
    template <Scalar T>
    [[nodiscard]] Tensor<T> read(const std::string& name) const {
        const auto& stored = info(name);
        Tensor<T> tensor(stored.shape);
        decode(stored.type, bytes(name).data(), tensor.data(), tensor.size());
        return tensor;
    }

    /// The metadata pairs as they lie in the file.
    [[nodiscard]] FileBytes metadata_bytes() const {
        return file_.bytes(preamble_bytes, metadata_end_ - preamble_bytes);
    }

  private:
    static constexpr Index preamble_bytes = 24;

    struct Counts {
        std::uint64_t tensors, pairs;
    };

    [[nodiscard]] Counts read_preamble(detail::GgufCursor& cursor);

    void read_metadata(detail::GgufCursor& cursor, std::uint64_t pairs);

    void set_alignment(const detail::GgufCursor& cursor, const std::string& what,
                       const GgufValue& value);

    void read_tensors(detail::GgufCursor& cursor, std::uint64_t count);

    [[nodiscard]] static Shape read_shape(detail::GgufCursor& cursor, const std::string& what);

    [[nodiscard]] static Index stored_bytes(const detail::GgufCursor& cursor,
                                            const std::string& what, const Shape& shape,
                                            const detail::GgmlType& type);

    /// Checks that the tensors lie apart and inside, and makes their offsets positions in the file.
    void place_tensors(const detail::GgufCursor& cursor);

    MappedFile file_;
    std::uint32_t version_ = 0;
    GgufMetadata metadata_;
    Index metadata_end_ = 0;
    Index alignment_ = 32;
    std::vector<GgufTensor> tensors_;
    std::unordered_map<std::string_view, std::size_t> positions_;  // names are those of tensors_
};

/// Writes the metadata of `source`, byte for byte, as a GGUF file without tensors.
void write_gguf_metadata(const GgufFile& source, const std::filesystem::path& path);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/gguf_inl.hpp"
#endif

// The bodies of io/gguf.hpp that are no templates.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <span>
#include <utility>
#include <variant>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/gguf.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/limits.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE GgmlType ggml_type(std::uint32_t id) {
    struct Entry {
        std::uint32_t id;
        std::string_view name;
        Index values, bytes;
    };
    static constexpr std::array opaque{
        Entry{9, "Q8_1", 32, 40},      Entry{10, "Q2_K", 256, 84},    Entry{11, "Q3_K", 256, 110},
        Entry{13, "Q5_K", 256, 176},   Entry{15, "Q8_K", 256, 292},   Entry{16, "IQ2_XXS", 256, 66},
        Entry{17, "IQ2_XS", 256, 74},  Entry{18, "IQ3_XXS", 256, 98}, Entry{19, "IQ1_S", 256, 50},
        Entry{20, "IQ4_NL", 32, 18},   Entry{21, "IQ3_S", 256, 110},  Entry{22, "IQ2_S", 256, 82},
        Entry{23, "IQ4_XS", 256, 136}, Entry{29, "IQ1_M", 256, 56},   Entry{34, "TQ1_0", 256, 54},
        Entry{35, "TQ2_0", 256, 66},   Entry{39, "MXFP4", 32, 17},    Entry{40, "NVFP4", 64, 36},
        Entry{41, "Q1_0", 128, 18}};
    const auto plain = [](DType type) { return GgmlType{type, 1, bits_per_element(type) / 8}; };
    switch (id) {
        case 0:
            return plain(DType::f32);
        case 1:
            return plain(DType::f16);
        case 24:
            return plain(DType::i8);
        case 25:
            return plain(DType::i16);
        case 26:
            return plain(DType::i32);
        case 27:
            return plain(DType::i64);
        case 28:
            return plain(DType::f64);
        case 30:
            return plain(DType::bf16);
        case 2:
        case 3:
        case 6:
        case 7:
        case 8:
        case 12:
        case 14: {
            const auto block = packed_block(static_cast<PackedType>(id));
            return {static_cast<PackedType>(id), block.values, block.bytes};
        }
        default:
            break;
    }
    for (const auto& entry : opaque)
        if (entry.id == id)
            return {OpaqueType{id, std::string(entry.name)}, entry.values, entry.bytes};
    return {OpaqueType{id, concat("GGML type ", id)}, 0, 0};
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE GgufFile::GgufFile(const std::filesystem::path& path, ReadMode mode)
    : file_(path, mode) {
    detail::GgufCursor cursor(file_);
    const auto [tensors, pairs] = read_preamble(cursor);
    read_metadata(cursor, pairs);
    read_tensors(cursor, tensors);
    place_tensors(cursor);
}

MPO_DETAIL_MODEL_INLINE const GgufValue* GgufFile::find(const std::string& key) const {
    const auto found = metadata_.find(key);
    return found == metadata_.end() ? nullptr : &found->second;
}

MPO_DETAIL_MODEL_INLINE const GgufTensor& GgufFile::info(const std::string& name) const {
    const auto found = positions_.find(name);
    if (found == positions_.end())
        detail::raise<ArgumentError>({"no tensor ", detail::in_quotes(name), " in ",
                                      path().string(), " of ", tensors_.size(), " tensors"});
    return tensors_[found->second];
}

MPO_DETAIL_MODEL_INLINE FileBytes GgufFile::bytes(const std::string& name) const {
    const auto& tensor = info(name);
    return file_.bytes(tensor.offset, tensor.bytes);
}

MPO_DETAIL_MODEL_INLINE GgufFile::Counts GgufFile::read_preamble(detail::GgufCursor& cursor) {
    const auto magic = cursor.number<std::uint32_t>("magic number");
    if (magic != 0x46554747u) cursor.fail("magic number", "the file does not begin with 'GGUF'");
    version_ = cursor.number<std::uint32_t>("version");
    if ((version_ & 0xffffu) == 0 && version_ != 0)
        cursor.fail("version", "the file is big-endian, which is not supported");
    if (version_ != 2 && version_ != 3)
        cursor.fail("version",
                    detail::concat("GGUF ", version_, " is not supported, only 2 and 3"));
    const auto tensors = cursor.number<std::uint64_t>("number of tensors");
    const auto pairs = cursor.number<std::uint64_t>("number of metadata pairs");
    constexpr std::uint64_t least_tensor = 24, least_pair = 13;  // bytes
    constexpr Index tensors_at = 8;  // and the number of pairs behind it
    if (tensors > cursor.left() / least_tensor)
        cursor.fail_at(tensors_at, "number of tensors",
                       detail::concat(tensors, " do not fit the ", cursor.left(), " bytes left"));
    if (tensors > static_cast<std::uint64_t>(max_num_tensors))
        cursor.fail_at(tensors_at, "number of tensors",
                       detail::concat(tensors, " exceed the limit of ", max_num_tensors));
    if (pairs > cursor.left() / least_pair)
        cursor.fail("number of metadata pairs",
                    detail::concat(pairs, " do not fit the ", cursor.left(), " bytes left"));
    return {tensors, pairs};
}

MPO_DETAIL_MODEL_INLINE void GgufFile::read_metadata(detail::GgufCursor& cursor,
                                                     std::uint64_t pairs) {
    constexpr std::uint64_t max_key_bytes = 65535;
    for (std::uint64_t k = 0; k < pairs; ++k) {
        const auto key = cursor.string(detail::concat("metadata key ", k), max_key_bytes);
        const std::string what = "metadata " + detail::in_quotes(key);
        if (metadata_.count(key) != 0) cursor.fail(what, "the key occurs twice");
        cursor.keep(detail::metadata_pair_bytes, what);
        const auto type = cursor.number<std::uint32_t>(what);
        const auto& value = metadata_.emplace(key, cursor.value(type, what)).first->second;
        if (key == "general.alignment") set_alignment(cursor, what, value);
    }
    metadata_end_ = cursor.at();
}

MPO_DETAIL_MODEL_INLINE void GgufFile::set_alignment(const detail::GgufCursor& cursor,
                                                     const std::string& what,
                                                     const GgufValue& value) {
    constexpr std::uint32_t max_alignment = 1u << 20;
    const auto* alignment = std::get_if<std::uint32_t>(&value);
    if (!alignment) cursor.fail(what, "must be of type u32");
    if (!std::has_single_bit(*alignment) || *alignment > max_alignment)
        cursor.fail(what,
                    detail::concat(*alignment, " is not a power of two up to ", max_alignment));
    alignment_ = static_cast<Index>(*alignment);
}

MPO_DETAIL_MODEL_INLINE void GgufFile::read_tensors(detail::GgufCursor& cursor,
                                                    std::uint64_t count) {
    tensors_.reserve(count);  // so that names stay where they are
    for (std::uint64_t k = 0; k < count; ++k) {
        GgufTensor& tensor = tensors_.emplace_back();
        tensor.name = cursor.string(detail::concat("name of tensor ", k), max_tensor_name_bytes);
        const std::string what = "tensor " + detail::in_quotes(tensor.name);
        if (!positions_.emplace(tensor.name, k).second) cursor.fail(what, "the name occurs twice");
        tensor.shape = read_shape(cursor, what);
        const auto type = detail::ggml_type(cursor.number<std::uint32_t>(what));
        tensor.bytes = stored_bytes(cursor, what, tensor.shape, type);
        tensor.type = type.type;
        const auto offset = cursor.number<std::uint64_t>(what);
        if (offset > static_cast<std::uint64_t>(file_.size()))
            cursor.fail(what, detail::concat("offset ", offset, " is beyond the file of ",
                                             file_.size(), " bytes"));
        tensor.offset = static_cast<Index>(offset);
        if (tensor.offset % alignment_ != 0)
            cursor.fail(what, detail::concat("offset ", offset, " is not a multiple of the ",
                                             "alignment ", alignment_));
    }
}

MPO_DETAIL_MODEL_INLINE Shape GgufFile::read_shape(detail::GgufCursor& cursor,
                                                   const std::string& what) {
    constexpr std::uint32_t max_rank = 4;
    const auto rank = cursor.number<std::uint32_t>(what);
    if (rank > max_rank)
        cursor.fail(what, detail::concat(rank, " dimensions, at most ", max_rank, " exist"));
    Shape shape(rank);
    Index count = 1;  // an extent of 0 excuses no overflow of the others: they are strides
    for (std::size_t k = rank; k-- > 0;) {
        const auto extent = cursor.number<std::uint64_t>(what);
        if (!std::in_range<Index>(extent) ||
            (extent != 0 && __builtin_mul_overflow(count, static_cast<Index>(extent), &count)))
            cursor.fail(what, detail::concat("dimension ", rank - 1 - k, " = ", extent,
                                             " makes more than 2^63 elements"));
        shape[k] = static_cast<Index>(extent);
    }
    return shape;
}

MPO_DETAIL_MODEL_INLINE Index GgufFile::stored_bytes(const detail::GgufCursor& cursor,
                                                     const std::string& what, const Shape& shape,
                                                     const detail::GgmlType& type) {
    if (type.values == 0) return 0;
    const Index row = shape.empty() ? 1 : shape.back();
    if (row % type.values != 0)
        cursor.fail(what, detail::concat("rows of ", row, " are not whole blocks of ",
                                         to_string(type.type), " (", type.values, " values)"));
    Index bytes = num_elements(shape) / type.values;
    if (__builtin_mul_overflow(bytes, type.bytes, &bytes))
        cursor.fail(what, detail::concat("shape ", to_string(shape), " of ", to_string(type.type),
                                         " takes more than 2^63 bytes"));
    return bytes;
}

MPO_DETAIL_MODEL_INLINE void GgufFile::place_tensors(const detail::GgufCursor& cursor) {
    if (tensors_.empty()) return;
    const Index begin = (cursor.at() + alignment_ - 1) / alignment_ * alignment_;
    if (begin > file_.size())
        cursor.fail_at(begin, "tensor data",
                       detail::concat("begins beyond the file of ", file_.size(), " bytes"));
    std::vector<GgufTensor*> order;
    for (auto& tensor : tensors_) order.push_back(&tensor);
    std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
        return a->offset != b->offset ? a->offset < b->offset : a->bytes < b->bytes;
    });
    const Index data_bytes = file_.size() - begin;
    Index end = 0;
    for (std::size_t k = 0; k < order.size(); ++k) {
        auto& tensor = *order[k];
        const auto fail = [&](const std::string& rule) {
            detail::raise<FormatError>({path().string(), ": tensor ",
                                        detail::in_quotes(tensor.name), " of ", tensor.bytes,
                                        " bytes at ", tensor.offset,
                                        " of the data, which begins at byte ", begin, ", ", rule});
        };
        if (tensor.offset > data_bytes || tensor.bytes > data_bytes - tensor.offset)
            fail(detail::concat("ends beyond the file, which has ", data_bytes, " bytes of data"));
        if (tensor.offset < end) fail(detail::concat("overlaps what ends at ", end));
        const auto* opaque = std::get_if<OpaqueType>(&tensor.type);
        if (opaque && detail::ggml_type(opaque->id).values == 0)
            tensor.bytes =
                (k + 1 < order.size() ? order[k + 1]->offset : data_bytes) - tensor.offset;
        end = tensor.offset + tensor.bytes;
    }
    for (auto& tensor : tensors_) tensor.offset += begin;
}

MPO_DETAIL_MODEL_INLINE void write_gguf_metadata(const GgufFile& source,
                                                 const std::filesystem::path& path) {
    AtomicFile file(path);
    const std::uint32_t version = source.version();
    const std::array<std::uint64_t, 2> counts{0, source.metadata().size()};
    file.append("GGUF");
    file.append(std::as_bytes(std::span(&version, 1)));
    file.append(std::as_bytes(std::span(counts)));
    file.append(source.metadata_bytes().span());
    const Index aligned = (file.size() + source.alignment() - 1) / source.alignment();
    file.resize(aligned * source.alignment());
    file.commit();
}

}  // namespace mpo

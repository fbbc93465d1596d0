// Writing safetensors files, one tensor after the other, without knowing the later ones.
//
// The header lies in front of the data and is only known at the end: room is reserved for it, and
// filled up with spaces. Where it does not fit, or would waste much of a small file, the data
// moves. Nothing exists under the final name before finish() returns.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/safetensors_header.hpp"

namespace mpo {

/// What stands in the header, and the room kept for it.
struct SafetensorsWriterOptions {
    std::map<std::string, std::string> metadata =
        {};                                 // "format": "pt" is added: readers insist on it
    Index reserved_header_bytes = 1 << 16;  // a longer header moves the data once
};

/// One file in the making. Not to be shared between threads.
class SafetensorsWriter {
  public:
    /// Throws FileError where the file cannot be created.
    explicit SafetensorsWriter(const std::filesystem::path& path,
                               SafetensorsWriterOptions options = {});

    /// Bytes of the tensors appended so far.
    [[nodiscard]] Index data_bytes() const { return end_ - data_begin_; }
    /// True where a tensor of that name was appended.
    [[nodiscard]] bool contains(const std::string& name) const { return names_.count(name) != 0; }
    /// What was appended, in order; offsets count from the first tensor.
    [[nodiscard]] const std::vector<SafetensorsEntry>& tensors() const { return entries_; }

    /// Adds a pair to the metadata, or replaces its value. Throws ArgumentError after finish(), for
    /// what is no text, and for "format", which readers insist on.
    ///
    /// key      UTF-8
    /// value    UTF-8
    void set_metadata(const std::string& key, const std::string& value);

    /// Appends a tensor that is stored already. Throws ArgumentError where the name was used before
    /// or the bytes do not fit the shape. After any throw the writer is as it was.
    void append(const std::string& name, DType dtype, const Shape& shape,
                std::span<const std::byte> bytes);

    /// Appends the numbers of `tensor` as `name`, stored as `dtype`. Throws ShapeError where the view has gaps,
    /// NumericalError where a finite value would become Inf, ArgumentError as above.
    template <Scalar T>
    void append(const std::string& name, const TensorView<const T>& tensor,
                DType dtype = dtype_of<T>) {
        if (!tensor.is_contiguous())
            detail::raise<ShapeError>({"SafetensorsWriter: '", name, "' of shape ",
                                       to_string(tensor.shape), " must be contiguous"});
        auto entry = new_entry(name, dtype, tensor.shape);
        constexpr Index piece = 1 << 16;
        const Index width = bits_per_element(dtype) / 8, count = tensor.size();
        const std::unique_ptr<std::byte[]> buffer(
            new std::byte[static_cast<std::size_t>((std::min)(piece, count) * width)]);
        for (Index k = 0; k < count; k += piece) {
            const Index now = (std::min)(piece, count - k);
            const Index lost = encode(tensor.data + k, dtype, buffer.get(), now);
            if (lost != 0)
                detail::raise<NumericalError>(
                    {"SafetensorsWriter: ", lost, " finite values among elements ", k, " to ",
                     k + now - 1, " of '", name, "' are too large for ", to_string(dtype)});
            file_.write_at(end_ + k * width, {buffer.get(), static_cast<std::size_t>(now * width)});
        }
        accept(std::move(entry));
    }
    /// The same for a tensor.
    template <Scalar T>
    void append(const std::string& name, const Tensor<T>& tensor, DType dtype = dtype_of<T>) {
        append(name, tensor.view(), dtype);
    }

    /// Writes the header and gives the file its name. Throws FileError, or ArgumentError the second
    /// time.
    void finish() { finish_as(file_.path()); }

    /// The same under another name in the same folder.
    void finish_as(const std::filesystem::path& path);

    /// Completes the file on the disk; finish() is left with the renaming. Nothing can be appended
    /// any more. After FileError it may be called again, but for a failure while data were moved:
    /// then ArgumentError says that the file must be written anew.
    void seal();

  private:
    static constexpr Index length_bytes = 8;
    static constexpr Index max_header_bytes = 100'000'000;

    [[nodiscard]] static Index round_up(Index bytes) { return (bytes + 7) / 8 * 8; }

    void require_whole() const;

    /// Makes the data begin at `begin`, in one go or never.
    void move_data(Index begin);

    [[nodiscard]] SafetensorsEntry new_entry(const std::string& name, DType dtype,
                                             const Shape& shape) const;

    /// All or nothing, as everything that append does.
    void accept(SafetensorsEntry entry);

    [[nodiscard]] static std::string entry_text(const SafetensorsEntry& entry);

    /// The header and as many spaces as fill the room, or the next multiple of 8 where it is better
    /// to move the data.
    [[nodiscard]] std::string padded_header() const;

    AtomicFile file_;
    SafetensorsWriterOptions options_;
    std::vector<SafetensorsEntry> entries_;
    std::unordered_set<std::string> names_;
    Index data_begin_ = 0;
    Index end_ = 0;
    enum class State { open, torn, sealed };
    State state_ = State::open;
};

/// How large a shard may be, and what stands in its header.
struct ShardedSafetensorsWriterOptions {
    std::map<std::string, std::string> metadata = {};  // of every shard
    Index max_shard_bytes = 5'000'000'000;  // of tensors; a larger one gets its own shard
    Index reserved_header_bytes = 1 << 16;  // per shard; a longer header moves the data once
};

/// Writes a folder's model.safetensors, or, where that would exceed max_shard_bytes, shards
/// model-00001-of-0000N.safetensors and their index.
class ShardedSafetensorsWriter {
  public:
    /// The folder must exist. Throws ArgumentError where max_shard_bytes < 1.
    explicit ShardedSafetensorsWriter(std::filesystem::path folder,
                                      ShardedSafetensorsWriterOptions options = {});

    /// As SafetensorsWriter's.
    void append(const std::string& name, DType dtype, const Shape& shape,
                std::span<const std::byte> bytes) {
        shard_for(name, static_cast<Index>(bytes.size())).append(name, dtype, shape, bytes);
    }
    /// As SafetensorsWriter's.
    template <Scalar T>
    void append(const std::string& name, const TensorView<const T>& tensor,
                DType dtype = dtype_of<T>) {
        const Index bytes = tensor.size() * bits_per_element(dtype) / 8;
        shard_for(name, bytes).append(name, tensor, dtype);
    }
    /// The same for a tensor.
    template <Scalar T>
    void append(const std::string& name, const Tensor<T>& tensor, DType dtype = dtype_of<T>) {
        append(name, tensor.view(), dtype);
    }

    /// Completes all shards, then names them, then writes the index. A throw may come between two
    /// names: write into an OutputFolder where that matters.
    void finish();

  private:
    void open_shard();

    [[nodiscard]] SafetensorsWriter& shard_for(const std::string& name, Index bytes);

    [[nodiscard]] std::string shard_name(std::size_t k) const;

    std::filesystem::path folder_;
    ShardedSafetensorsWriterOptions options_;
    std::vector<SafetensorsWriter> shards_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/io/safetensors_writer_inl.hpp"
#endif

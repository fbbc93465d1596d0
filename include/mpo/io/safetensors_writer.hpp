// Writing safetensors files, one tensor after the other, without knowing the later ones.
//
// The header lies in front of the data and is only known at the end: room is reserved for it, and
// filled up with spaces. Where it does not fit, or would waste much of a small file, the data
// moves. Nothing exists under the final name before finish() returns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/json_events.hpp"
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
                               SafetensorsWriterOptions options = {})
        : file_(path), options_(std::move(options)) {
        if (options_.reserved_header_bytes < 0)
            detail::raise<ArgumentError>({"SafetensorsWriter: reserved_header_bytes ",
                                          options_.reserved_header_bytes, " is negative"});
        options_.metadata["format"] = "pt";
        data_begin_ = end_ = length_bytes + round_up(options_.reserved_header_bytes);
    }

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
    void set_metadata(const std::string& key, const std::string& value) {
        require_whole();
        if (state_ == State::sealed || key == "format")
            detail::raise<ArgumentError>(
                {"SafetensorsWriter: metadata '", key, "' ",
                 state_ == State::sealed ? "comes after finish()" : "belongs to the writer"});
        static_cast<void>(detail::json_quote(key));  // refuses what is no text
        static_cast<void>(detail::json_quote(value));
        options_.metadata[key] = value;
    }

    /// Appends a tensor that is stored already. Throws ArgumentError where the name was used before
    /// or the bytes do not fit the shape. After any throw the writer is as it was.
    void append(const std::string& name, DType dtype, const Shape& shape,
                std::span<const std::byte> bytes) {
        auto entry = new_entry(name, dtype, shape);
        if (entry.bytes != static_cast<Index>(bytes.size()))
            detail::raise<ArgumentError>({"SafetensorsWriter: '", name, "' of shape ",
                                          to_string(shape), " and ", to_string(dtype), " takes ",
                                          entry.bytes, " bytes, got ", bytes.size()});
        file_.write_at(end_, bytes);
        accept(std::move(entry));
    }

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
    void finish_as(const std::filesystem::path& path) {
        seal();
        file_.commit_as(path);
    }

    /// Completes the file on the disk; finish() is left with the renaming. Nothing can be appended
    /// any more. After FileError it may be called again, but for a failure while data were moved:
    /// then ArgumentError says that the file must be written anew.
    void seal() {
        if (state_ == State::sealed) return;
        require_whole();
        const std::string header = padded_header();
        const Index begin = length_bytes + static_cast<Index>(header.size());
        file_.resize(end_);
        if (begin != data_begin_) move_data(begin);
        const auto length = static_cast<std::uint64_t>(header.size());
        file_.write_at(0, std::as_bytes(std::span(&length, 1)));
        file_.write_at(length_bytes, std::as_bytes(std::span(header)));
        file_.flush();
        state_ = State::sealed;
    }

  private:
    static constexpr Index length_bytes = 8;
    static constexpr Index max_header_bytes = 100'000'000;

    [[nodiscard]] static Index round_up(Index bytes) { return (bytes + 7) / 8 * 8; }

    void require_whole() const {
        if (state_ == State::torn)
            detail::raise<ArgumentError>({"SafetensorsWriter: ", file_.path().string(),
                                          " failed while its data were moved before; it must "
                                          "be written anew"});
    }

    /// Makes the data begin at `begin`, in one go or never.
    void move_data(Index begin) {
        state_ = State::torn;
        try {
            file_.shift(data_begin_, begin);
        } catch (const std::bad_alloc&) {  // shift allocates before it moves
            state_ = State::open;
            throw;
        }
        state_ = State::open;
        end_ += begin - data_begin_;
        data_begin_ = begin;
    }

    [[nodiscard]] SafetensorsEntry new_entry(const std::string& name, DType dtype,
                                             const Shape& shape) const {
        const auto refuse = [&](const char* why) {
            detail::raise<ArgumentError>(
                {"SafetensorsWriter: '", name, "' of shape ", to_string(shape), " ", why});
        };
        require_whole();
        if (state_ == State::sealed) refuse("comes after finish()");
        if (name == "__metadata__") refuse("has a name that the format reserves");
        if (contains(name)) refuse("was appended before");
        static_cast<void>(detail::json_quote(name));  // refuses what is no text
        const Index bits = bits_per_element(dtype), count = num_elements(shape);
        Index total = 0;
        if (__builtin_mul_overflow(count, bits, &total) || total % 8 != 0)
            refuse(bits < 8 ? "does not fill whole bytes" : "is too large");
        return {name, dtype, shape, end_ - data_begin_, total / 8};
    }

    /// All or nothing, as everything that append does.
    void accept(SafetensorsEntry entry) {
        if (entries_.size() == entries_.capacity()) entries_.reserve(2 * entries_.size() + 16);
        names_.insert(entry.name);
        end_ += entry.bytes;
        entries_.push_back(std::move(entry));  // there is room: cannot throw
    }

    [[nodiscard]] static std::string entry_text(const SafetensorsEntry& entry) {
        std::string shape;
        for (const Index extent : entry.shape)
            shape += detail::concat(shape.empty() ? "" : ",", extent);
        return detail::concat(',', detail::json_quote(entry.name), ":{\"dtype\":\"",
                              to_string(entry.dtype), "\",\"shape\":[", shape,
                              "],\"data_offsets\":[", entry.offset, ',', entry.offset + entry.bytes,
                              "]}");
    }

    /// The header and as many spaces as fill the room, or the next multiple of 8 where it is better
    /// to move the data.
    [[nodiscard]] std::string padded_header() const {
        constexpr Index worthwhile = 64;  // move where the spaces exceed 1/64 of the data
        std::string text = "{\"__metadata__\":{";
        for (const auto& [key, value] : options_.metadata)
            text += detail::concat(text.back() == '{' ? "" : ",", detail::json_quote(key), ':',
                                   detail::json_quote(value));
        text += "}";
        for (const auto& entry : entries_) text += entry_text(entry);
        text += "}";
        const Index exact = round_up(static_cast<Index>(text.size()));
        if (exact > max_header_bytes)
            detail::raise<ArgumentError>({"SafetensorsWriter: the header of ", entries_.size(),
                                          " tensors takes ", exact, " bytes, more than ",
                                          max_header_bytes});
        const Index room = data_begin_ - length_bytes;
        const bool keep = room >= exact && room - exact <= data_bytes() / worthwhile;
        text.resize(static_cast<std::size_t>(keep ? room : exact), ' ');
        return text;
    }

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
                                      ShardedSafetensorsWriterOptions options = {})
        : folder_(std::move(folder)), options_(std::move(options)) {
        if (options_.max_shard_bytes < 1)
            detail::raise<ArgumentError>({"ShardedSafetensorsWriter: max_shard_bytes ",
                                          options_.max_shard_bytes, " must be at least 1"});
        open_shard();
    }

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
    void finish() {
        if (shards_.size() > 1 && shards_.back().tensors().empty())
            shards_.pop_back();  // was opened for a tensor that could not be appended
        for (auto& shard : shards_) shard.seal();
        if (shards_.size() == 1) return shards_.front().finish_as(folder_ / "model.safetensors");
        Index total = 0;
        std::string map;
        for (std::size_t k = 0; k < shards_.size(); ++k) {
            const std::string file = shard_name(k);
            for (const auto& entry : shards_[k].tensors())
                map += (map.empty() ? "\n    " : ",\n    ") + detail::json_quote(entry.name) +
                       ": \"" + file + "\"";
            total += shards_[k].data_bytes();
        }
        for (std::size_t k = 0; k < shards_.size(); ++k)
            shards_[k].finish_as(folder_ / shard_name(k));
        write_text_file(folder_ / "model.safetensors.index.json",
                        "{\n  \"metadata\": {\"total_size\": " + std::to_string(total) +
                            "},\n  \"weight_map\": {" + map + "\n  }\n}\n");
    }

  private:
    void open_shard() {
        shards_.emplace_back(
            folder_ / "model.safetensors",
            SafetensorsWriterOptions{options_.metadata, options_.reserved_header_bytes});
    }

    [[nodiscard]] SafetensorsWriter& shard_for(const std::string& name, Index bytes) {
        for (const auto& shard : shards_)
            if (shard.contains(name))
                detail::raise<ArgumentError>(
                    {"ShardedSafetensorsWriter: '", name, "' was appended before"});
        const Index present = shards_.back().data_bytes();
        if (present > 0 && bytes > options_.max_shard_bytes - present) open_shard();
        return shards_.back();
    }

    [[nodiscard]] std::string shard_name(std::size_t k) const {
        const auto digits = [](std::size_t n) {
            const std::string text = std::to_string(n);
            return std::string(text.size() < 5 ? 5 - text.size() : 0, '0') + text;
        };
        return "model-" + digits(k + 1) + "-of-" + digits(shards_.size()) + ".safetensors";
    }

    std::filesystem::path folder_;
    ShardedSafetensorsWriterOptions options_;
    std::vector<SafetensorsWriter> shards_;
};

}  // namespace mpo

// A checkpoint, wherever it comes from: one view over
//
//   a .safetensors file      tensors only
//   a folder                 config.json, and model.safetensors or shards and their index
//   a .gguf file             tensors, hyperparameters and tokenizer in one
//
// Tensors carry Hugging Face names and Hugging Face's row order, also where a GGUF file stores them
// otherwise (model/gguf_names.hpp). Nothing is read before it is asked for; memory is that of the
// tensors being read. Const calls are safe from many threads.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/packed.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/gguf.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/io/safetensors.hpp"
#include "mpo/io/safetensors_shards.hpp"
#include "mpo/model/gguf_names.hpp"
#include "mpo/model/hyperparameters.hpp"

namespace mpo {

/// The two formats that are read.
enum class CheckpointFormat { safetensors, gguf };

/// One tensor as it lies in its file.
struct CheckpointTensor {
    std::string name;            // Hugging Face's
    Shape shape;                 // row-major; (out, in) for a linear
    StoredType type;             // a DType, a PackedType, or an OpaqueType that is listed only
    Index bytes = 0;             // as stored
    std::string stored_name;     // the name in its file
    std::filesystem::path file;  // the file that holds it
    Index permuted_heads = 0;    // > 0: rows lie in GGUF's rotary order; raw and read undo it
};

/// The name under which a GGUF's metadata travels in a folder.
inline constexpr const char* gguf_metadata_file = "tokenizer.gguf";

/// A model as it lies on the disk: one file, or a folder. Const calls are safe from many threads.
class Checkpoint {
  public:
    /// Throws FileError where a file is missing or unreadable, FormatError where it lies.
    explicit Checkpoint(std::filesystem::path path, ReadMode mode = ReadMode::mapped);

    /// The path it was opened with.
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// The format of its tensors.
    [[nodiscard]] CheckpointFormat format() const;

    /// All tensors, in the order of their files.
    [[nodiscard]] const std::vector<CheckpointTensor>& tensors() const { return tensors_; }
    /// Elements of all tensors.
    [[nodiscard]] Index num_parameters() const { return num_parameters_; }
    /// Stored bytes of all tensors.
    [[nodiscard]] Index bytes() const { return bytes_; }
    /// Whether a tensor has that name.
    [[nodiscard]] bool contains(const std::string& name) const {
        return positions_.count(name) != 0;
    }
    /// Throws ArgumentError where there is none of that name; so do the calls below.
    [[nodiscard]] const CheckpointTensor& info(const std::string& name) const;

    /// The tensor as numbers, converted or dequantised. Throws ArgumentError for types that
    /// is_convertible denies.
    template <Scalar T>
    [[nodiscard]] Tensor<T> read(const std::string& name) const {
        const auto& tensor = info(name);
        if (!is_convertible(tensor.type))
            detail::raise<ArgumentError>(
                {tensor.file.string(), ": tensor ", detail::in_quotes(name), " is stored as ",
                 to_string(tensor.type), ", which does not convert to numbers"});
        Tensor<T> result(tensor.shape);
        decode(tensor.type, raw(name).data(), result.data(), result.size());
        return result;
    }

    /// The stored bytes, rows in Hugging Face's order; as they lie where the size of the type, and so
    /// of a row, is not known. A mapped window must not outlive the checkpoint.
    [[nodiscard]] FileBytes raw(const std::string& name) const;

    /// Appends the tensor to a SafetensorsWriter or ShardedSafetensorsWriter under its own name: as
    /// `dtype` where it is real numbers in a format we convert (bytes as they are where that is the
    /// stored type), untouched where it is anything else. Throws NumericalError where a finite
    /// value would become Inf, ArgumentError for an OpaqueType.
    template <class Writer>
    void copy(const std::string& name, DType dtype, Writer& writer) const {
        const auto& tensor = info(name);
        const auto* plain = std::get_if<DType>(&tensor.type);
        const bool untouched =
            plain && (*plain == dtype || *plain == DType::c64 || !is_convertible(*plain));
        if (untouched)
            writer.append(name, *plain, tensor.shape, raw(name).span());
        else if (plain && *plain == DType::f64)
            writer.append(name, read<double>(name), dtype);
        else
            writer.append(name, read<float>(name), dtype);
    }

    /// Where the source knows them: a folder or a GGUF file.
    [[nodiscard]] const std::optional<Hyperparameters>& hyperparameters() const {
        return hyperparameters_;
    }

    /// Metadata of a GGUF file; null for other sources.
    [[nodiscard]] const GgufMetadata* gguf_metadata() const;

    /// Text of config.json: a folder's own, untouched; for a GGUF file one made from its metadata
    /// that names `stored` as torch_dtype; empty for a lone .safetensors file.
    [[nodiscard]] std::string config_json(DType stored = DType::bf16) const;

    /// Files beside the weights that belong to the model (tokenizer, vocabulary, generation
    /// settings), sorted by name. config.json is not among them.
    [[nodiscard]] const std::vector<std::filesystem::path>& side_files() const {
        return side_files_;
    }

    /// For a GGUF source: writes its metadata (tokenizer, hyperparameters) as a GGUF file without
    /// tensors, so that they travel with what is made from it; gguf_metadata_file is the name that
    /// side_files() lists. Throws ArgumentError for other sources.
    void write_gguf_metadata(const std::filesystem::path& path) const;

  private:
    using Source = std::variant<SafetensorsFile, ShardedSafetensors, GgufFile>;

    [[nodiscard]] static Source open(const std::filesystem::path& path, ReadMode mode);

    void read_config();

    void list_side_files();

    void add(CheckpointTensor tensor);

    void index_names();

    void add_tensors(const SafetensorsFile& file);

    void add_tensors(const GgufFile& file);

    /// 0 where the rows lie in Hugging Face's order, or where a row is not known to be so many bytes.
    [[nodiscard]] Index heads_to_permute(const Hyperparameters& parameters,
                                         const GgufTensor& tensor) const;

    void require_whole_heads(const GgufTensor& tensor, Index heads) const;

    [[nodiscard]] FileBytes stored_bytes(const CheckpointTensor& tensor) const;

    std::filesystem::path path_;
    Source source_;
    std::vector<CheckpointTensor> tensors_;
    Index num_parameters_ = 0, bytes_ = 0;
    std::unordered_map<std::string_view, std::size_t> positions_;  // names are those of tensors_
    std::optional<Hyperparameters> hyperparameters_;
    std::string config_;
    std::vector<std::filesystem::path> side_files_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/checkpoint_inl.hpp"
#endif

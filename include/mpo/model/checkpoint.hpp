// A checkpoint, wherever it comes from: one view over
//
//   a .safetensors file      tensors only
//   a folder                 config.json, and model.safetensors or model.safetensors.index.json +
//   shards a .gguf file             tensors, hyperparameters and tokenizer in one
//
// Tensors carry Hugging Face names and Hugging Face's row order, also where a GGUF file stores them
// otherwise (model/gguf_names.hpp). Nothing is read before it is asked for; memory is that of the
// tensors being read. Const calls are safe from many threads.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/packed.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/model/hyperparameters.hpp"

namespace mpo {

enum class CheckpointFormat { safetensors, gguf };

/// One tensor as it lies in its file.
struct CheckpointTensor {
    std::string name;  // Hugging Face's
    Shape shape;       // row-major; (out, in) for a linear
    StoredType type;   // a DType, a PackedType, or an OpaqueType that is listed only
    Index bytes = 0;
    std::string stored_name;  // the name in its file
    std::filesystem::path file;
};

class Checkpoint {
  public:
    /// Throws FileError where a file is missing or unreadable, FormatError where it lies.
    explicit Checkpoint(const std::filesystem::path& path, ReadMode mode = ReadMode::mapped);

    [[nodiscard]] const std::filesystem::path& path() const;
    [[nodiscard]] CheckpointFormat format() const;

    /// All tensors, in the order of their files.
    [[nodiscard]] const std::vector<CheckpointTensor>& tensors() const;
    [[nodiscard]] bool contains(const std::string& name) const;
    /// Throws ArgumentError where there is none of that name; so do the calls below.
    [[nodiscard]] const CheckpointTensor& info(const std::string& name) const;

    /// The tensor as numbers, converted or dequantised.
    /// Throws ArgumentError for types that is_convertible denies.
    template <Scalar T>
    [[nodiscard]] Tensor<T> read(const std::string& name) const;

    /// The stored bytes, rows in Hugging Face's order. A mapped window lives as long as the
    /// checkpoint.
    [[nodiscard]] FileBytes raw(const std::string& name) const;

    /// Appends the tensor to a SafetensorsWriter or ShardedSafetensorsWriter under its own name:
    /// numbers as `dtype` (bytes as they are where that is the stored type), integers and booleans
    /// untouched. Throws NumericalError where a finite value would become Inf.
    template <class Writer>
    void copy(const std::string& name, DType dtype, Writer& writer) const;

    /// Where the source knows them: a folder or a GGUF file.
    [[nodiscard]] const std::optional<Hyperparameters>& hyperparameters() const;

    /// Text of config.json: a folder's own, untouched; for a GGUF file one made from its metadata
    /// that names `stored` as torch_dtype; empty for a lone .safetensors file.
    [[nodiscard]] std::string config_json(DType stored = DType::bf16) const;

    /// Files beside the weights that belong to the model: tokenizer, vocabulary, generation
    /// settings.
    [[nodiscard]] const std::vector<std::filesystem::path>& side_files() const;

    /// For a GGUF source: writes its metadata (tokenizer, hyperparameters) as a GGUF file without
    /// tensors, so that they travel with what is made from it. Throws ArgumentError for other
    /// sources.
    void write_gguf_metadata(const std::filesystem::path& path) const;
};

}  // namespace mpo

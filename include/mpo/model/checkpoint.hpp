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

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
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
#include "mpo/io/text_file.hpp"
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
    explicit Checkpoint(std::filesystem::path path, ReadMode mode = ReadMode::mapped)
        : path_(std::move(path)), source_(open(path_, mode)) {
        if (std::filesystem::is_directory(path_)) {
            read_config();
            list_side_files();
        }
        if (const auto* file = std::get_if<SafetensorsFile>(&source_)) add_tensors(*file);
        if (const auto* index = std::get_if<ShardedSafetensors>(&source_))
            for (const auto& shard : index->shards()) add_tensors(shard);
        if (const auto* gguf = std::get_if<GgufFile>(&source_)) {
            hyperparameters_ = parse_gguf_metadata(*gguf);
            add_tensors(*gguf);
        }
        index_names();
        if (hyperparameters_ && hyperparameters_->tied_embeddings == TiedEmbeddings::unknown)
            hyperparameters_->tied_embeddings =
                contains("lm_head.weight") ? TiedEmbeddings::no : TiedEmbeddings::yes;
    }

    /// The path it was opened with.
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// The format of its tensors.
    [[nodiscard]] CheckpointFormat format() const {
        return std::holds_alternative<GgufFile>(source_) ? CheckpointFormat::gguf
                                                         : CheckpointFormat::safetensors;
    }

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
    [[nodiscard]] const CheckpointTensor& info(const std::string& name) const {
        const auto found = positions_.find(name);
        if (found == positions_.end())
            detail::raise<ArgumentError>({"no tensor ", detail::in_quotes(name), " in ",
                                          path_.string(), " of ", tensors_.size(), " tensors"});
        return tensors_[found->second];
    }

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
    [[nodiscard]] FileBytes raw(const std::string& name) const {
        const auto& tensor = info(name);
        auto stored = stored_bytes(tensor);
        if (tensor.permuted_heads == 0 || tensor.bytes == 0) return stored;
        const Index rows = tensor.shape.front();
        std::unique_ptr<std::byte[]> copy(new std::byte[static_cast<std::size_t>(tensor.bytes)]);
        restore_rotary_rows(stored.data(), copy.get(), rows, tensor.bytes / rows,
                            tensor.permuted_heads);
        return FileBytes(std::move(copy), tensor.bytes);
    }

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
    [[nodiscard]] const GgufMetadata* gguf_metadata() const {
        const auto* gguf = std::get_if<GgufFile>(&source_);
        return gguf ? &gguf->metadata() : nullptr;
    }

    /// Text of config.json: a folder's own, untouched; for a GGUF file one made from its metadata
    /// that names `stored` as torch_dtype; empty for a lone .safetensors file.
    [[nodiscard]] std::string config_json(DType stored = DType::bf16) const {
        if (format() != CheckpointFormat::gguf || !hyperparameters_) return config_;
        const bool bias = contains("model.layers.0.self_attn.q_proj.bias");
        return to_config_json(*hyperparameters_, stored,
                              bias ? AttentionBias::yes : AttentionBias::no);
    }

    /// Files beside the weights that belong to the model (tokenizer, vocabulary, generation
    /// settings), sorted by name. config.json is not among them.
    [[nodiscard]] const std::vector<std::filesystem::path>& side_files() const {
        return side_files_;
    }

    /// For a GGUF source: writes its metadata (tokenizer, hyperparameters) as a GGUF file without
    /// tensors, so that they travel with what is made from it; gguf_metadata_file is the name that
    /// side_files() lists. Throws ArgumentError for other sources.
    void write_gguf_metadata(const std::filesystem::path& path) const {
        const auto* gguf = std::get_if<GgufFile>(&source_);
        if (!gguf)
            detail::raise<ArgumentError>(
                {"write_gguf_metadata: ", path_.string(), " is not a GGUF file"});
        mpo::write_gguf_metadata(*gguf, path);
    }

  private:
    using Source = std::variant<SafetensorsFile, ShardedSafetensors, GgufFile>;

    [[nodiscard]] static Source open(const std::filesystem::path& path, ReadMode mode) {
        const SafetensorsOptions options{mode, TrailingBytes::refuse};
        if (std::filesystem::is_directory(path)) {
            const auto single = path / "model.safetensors";
            const auto index = path / "model.safetensors.index.json";
            if (std::filesystem::exists(single)) return SafetensorsFile(single, options);
            if (std::filesystem::exists(index)) return ShardedSafetensors(index, options);
            detail::raise<FileError>({"open ", path.string(),
                                      ": the folder has neither model.safetensors nor ",
                                      "model.safetensors.index.json"});
        }
        if (path.extension() == ".gguf") return GgufFile(path, mode);
        if (path.extension() == ".safetensors") return SafetensorsFile(path, options);
        if (!std::filesystem::exists(path)) throw detail::file_error("open", path, ENOENT);
        detail::raise<FormatError>(
            {"open ", path.string(), ": neither a folder, nor a .safetensors or .gguf file"});
    }

    void read_config() {
        constexpr Index max_config_bytes = Index{16} << 20;
        const auto path = path_ / "config.json";
        config_ = read_text_file(path, max_config_bytes);
        hyperparameters_ = parse_config(config_, path.string());
    }

    void list_side_files() {
        static constexpr std::string_view kinds[] = {".json", ".txt", ".model", ".jinja",
                                                     ".tiktoken"};
        for (const auto& entry : std::filesystem::directory_iterator(path_)) {
            const std::string name = entry.path().filename().string();
            const bool of_ours = name == "config.json" || name == "mpo_config.json";
            const bool weights = name.ends_with(".index.json") || name.starts_with(".");
            const bool kind = name == gguf_metadata_file ||
                              std::any_of(std::begin(kinds), std::end(kinds),
                                          [&](auto suffix) { return name.ends_with(suffix); });
            if (entry.is_regular_file() && kind && !of_ours && !weights)
                side_files_.push_back(entry.path());
        }
        std::sort(side_files_.begin(), side_files_.end());
    }

    void add(CheckpointTensor tensor) {
        if (__builtin_add_overflow(num_parameters_, num_elements(tensor.shape), &num_parameters_))
            detail::raise<FormatError>(
                {tensor.file.string(), ": tensor ", detail::in_quotes(tensor.stored_name),
                 " of shape ", to_string(tensor.shape), " makes more than 2^63 elements in all"});
        bytes_ += tensor.bytes;
        tensors_.push_back(std::move(tensor));
    }

    void index_names() {
        for (std::size_t k = 0; k < tensors_.size(); ++k)
            if (const auto& tensor = tensors_[k]; !positions_.emplace(tensor.name, k).second)
                detail::raise<FormatError>({tensor.file.string(), ": two tensors are called ",
                                            detail::in_quotes(tensor.name), " (one is stored as ",
                                            detail::in_quotes(tensor.stored_name), ")"});
    }

    void add_tensors(const SafetensorsFile& file) {
        for (const auto& entry : file.tensors())
            add({entry.name, entry.shape, entry.dtype, entry.bytes, entry.name, file.path(), 0});
    }

    void add_tensors(const GgufFile& file) {
        const auto parameters = hyperparameters_.value_or(Hyperparameters{});
        for (const auto& stored : file.tensors())
            add({hugging_face_name(parameters.model_type, stored.name), stored.shape, stored.type,
                 stored.bytes, stored.name, file.path(), heads_to_permute(parameters, stored)});
    }

    /// 0 where the rows lie in Hugging Face's order, or where a row is not known to be so many bytes.
    [[nodiscard]] Index heads_to_permute(const Hyperparameters& parameters,
                                         const GgufTensor& tensor) const {
        const auto* opaque = std::get_if<OpaqueType>(&tensor.type);
        if (opaque && detail::ggml_type(opaque->id).values == 0) return 0;
        const auto heads = permuted_heads(parameters, tensor.name);
        if (!heads) return 0;
        require_whole_heads(tensor, *heads);
        return *heads;
    }

    void require_whole_heads(const GgufTensor& tensor, Index heads) const {
        const Index rows = tensor.shape.empty() ? 1 : tensor.shape.front();
        if (heads == 0)
            detail::raise<FormatError>({path_.string(), ": tensor ", detail::in_quotes(tensor.name),
                                        " needs the metadata 'llama.attention.head_count' ",
                                        "to put its rows in order"});
        if (rows % heads != 0 || rows / heads % 2 != 0)
            detail::raise<FormatError>({path_.string(), ": tensor ", detail::in_quotes(tensor.name),
                                        " has ", rows, " rows, which are not ", heads,
                                        " heads of an even number of rows"});
    }

    [[nodiscard]] FileBytes stored_bytes(const CheckpointTensor& tensor) const {
        if (const auto* gguf = std::get_if<GgufFile>(&source_))
            return gguf->bytes(tensor.stored_name);
        if (const auto* file = std::get_if<SafetensorsFile>(&source_))
            return file->bytes(tensor.stored_name);
        return std::get<ShardedSafetensors>(source_)
            .shard_of(tensor.name)
            .bytes(tensor.stored_name);
    }

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

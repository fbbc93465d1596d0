// The bodies of model/checkpoint.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/checkpoint.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE Checkpoint::Checkpoint(std::filesystem::path path, ReadMode mode)
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

MPO_DETAIL_MODEL_INLINE CheckpointFormat Checkpoint::format() const {
    return std::holds_alternative<GgufFile>(source_) ? CheckpointFormat::gguf
                                                     : CheckpointFormat::safetensors;
}

MPO_DETAIL_MODEL_INLINE const CheckpointTensor& Checkpoint::info(const std::string& name) const {
    const auto found = positions_.find(name);
    if (found == positions_.end())
        detail::raise<ArgumentError>({"no tensor ", detail::in_quotes(name), " in ", path_.string(),
                                      " of ", tensors_.size(), " tensors"});
    return tensors_[found->second];
}

MPO_DETAIL_MODEL_INLINE FileBytes Checkpoint::raw(const std::string& name) const {
    const auto& tensor = info(name);
    auto stored = stored_bytes(tensor);
    if (tensor.permuted_heads == 0 || tensor.bytes == 0) return stored;
    const Index rows = tensor.shape.front();
    std::unique_ptr<std::byte[]> copy(new std::byte[static_cast<std::size_t>(tensor.bytes)]);
    restore_rotary_rows(stored.data(), copy.get(), rows, tensor.bytes / rows,
                        tensor.permuted_heads);
    return FileBytes(std::move(copy), tensor.bytes);
}

MPO_DETAIL_MODEL_INLINE const GgufMetadata* Checkpoint::gguf_metadata() const {
    const auto* gguf = std::get_if<GgufFile>(&source_);
    return gguf ? &gguf->metadata() : nullptr;
}

MPO_DETAIL_MODEL_INLINE std::string Checkpoint::config_json(DType stored) const {
    if (format() != CheckpointFormat::gguf || !hyperparameters_) return config_;
    const bool bias = contains("model.layers.0.self_attn.q_proj.bias");
    return to_config_json(*hyperparameters_, stored, bias ? AttentionBias::yes : AttentionBias::no);
}

MPO_DETAIL_MODEL_INLINE void Checkpoint::write_gguf_metadata(
    const std::filesystem::path& path) const {
    const auto* gguf = std::get_if<GgufFile>(&source_);
    if (!gguf)
        detail::raise<ArgumentError>(
            {"write_gguf_metadata: ", path_.string(), " is not a GGUF file"});
    mpo::write_gguf_metadata(*gguf, path);
}

MPO_DETAIL_MODEL_INLINE Checkpoint::Source Checkpoint::open(const std::filesystem::path& path,
                                                            ReadMode mode) {
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

MPO_DETAIL_MODEL_INLINE void Checkpoint::read_config() {
    constexpr Index max_config_bytes = Index{16} << 20;
    const auto path = path_ / "config.json";
    config_ = read_text_file(path, max_config_bytes);
    hyperparameters_ = parse_config(config_, path.string());
}

MPO_DETAIL_MODEL_INLINE void Checkpoint::list_side_files() {
    static constexpr std::string_view kinds[] = {".json", ".txt", ".model", ".jinja", ".tiktoken"};
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

MPO_DETAIL_MODEL_INLINE void Checkpoint::add(CheckpointTensor tensor) {
    if (__builtin_add_overflow(num_parameters_, num_elements(tensor.shape), &num_parameters_))
        detail::raise<FormatError>(
            {tensor.file.string(), ": tensor ", detail::in_quotes(tensor.stored_name), " of shape ",
             to_string(tensor.shape), " makes more than 2^63 elements in all"});
    bytes_ += tensor.bytes;
    tensors_.push_back(std::move(tensor));
}

MPO_DETAIL_MODEL_INLINE void Checkpoint::index_names() {
    for (std::size_t k = 0; k < tensors_.size(); ++k)
        if (const auto& tensor = tensors_[k]; !positions_.emplace(tensor.name, k).second)
            detail::raise<FormatError>({tensor.file.string(), ": two tensors are called ",
                                        detail::in_quotes(tensor.name), " (one is stored as ",
                                        detail::in_quotes(tensor.stored_name), ")"});
}

MPO_DETAIL_MODEL_INLINE void Checkpoint::add_tensors(const SafetensorsFile& file) {
    for (const auto& entry : file.tensors())
        add({entry.name, entry.shape, entry.dtype, entry.bytes, entry.name, file.path(), 0});
}

MPO_DETAIL_MODEL_INLINE void Checkpoint::add_tensors(const GgufFile& file) {
    const auto parameters = hyperparameters_.value_or(Hyperparameters{});
    for (const auto& stored : file.tensors())
        add({hugging_face_name(parameters.model_type, stored.name), stored.shape, stored.type,
             stored.bytes, stored.name, file.path(), heads_to_permute(parameters, stored)});
}

MPO_DETAIL_MODEL_INLINE Index Checkpoint::heads_to_permute(const Hyperparameters& parameters,
                                                           const GgufTensor& tensor) const {
    const auto* opaque = std::get_if<OpaqueType>(&tensor.type);
    if (opaque && detail::ggml_type(opaque->id).values == 0) return 0;
    const auto heads = permuted_heads(parameters, tensor.name);
    if (!heads) return 0;
    require_whole_heads(tensor, *heads);
    return *heads;
}

MPO_DETAIL_MODEL_INLINE void Checkpoint::require_whole_heads(const GgufTensor& tensor,
                                                             Index heads) const {
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

MPO_DETAIL_MODEL_INLINE FileBytes Checkpoint::stored_bytes(const CheckpointTensor& tensor) const {
    if (const auto* gguf = std::get_if<GgufFile>(&source_)) return gguf->bytes(tensor.stored_name);
    if (const auto* file = std::get_if<SafetensorsFile>(&source_))
        return file->bytes(tensor.stored_name);
    return std::get<ShardedSafetensors>(source_).shard_of(tensor.name).bytes(tensor.stored_name);
}

}  // namespace mpo

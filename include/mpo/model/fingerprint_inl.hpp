// The bodies of model/fingerprint.hpp that are no templates.
#pragma once

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/compressed_config.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE std::string fingerprint(const Checkpoint& checkpoint) {
    Fingerprint result;
    for (const auto& tensor : checkpoint.tensors()) {
        result.add(concat(tensor.name, ' ', mpo::to_string(tensor.type), ' ',
                          mpo::to_string(tensor.shape)));
        const auto bytes = checkpoint.raw(tensor.name);
        result.add(bytes.data(), static_cast<std::size_t>(bytes.size()));
    }
    return result.to_string();
}

MPO_DETAIL_MODEL_INLINE std::string decoder_fingerprint(const Checkpoint& checkpoint) {
    Fingerprint result;
    result.add(fingerprint(checkpoint));
    const auto config = transformer_config(checkpoint);
    result.add(concat(config.num_heads, ' ', config.num_kv_heads, ' ', config.head_dim, ' ',
                      config.tied_head, ' ', config.qkv_bias, ' ', config.mlp_bias));
    result.add(&config.rms_norm_eps, sizeof(double));
    result.add(config.rotary.data(), config.rotary.size() * sizeof(double));
    const auto chains = checkpoint.path() / compressed_config_file;
    if (std::filesystem::exists(chains)) result.add(read_text_file(chains));
    return result.to_string();
}

MPO_DETAIL_MODEL_INLINE std::string folder_fingerprint(const std::filesystem::path& folder) {
    std::error_code error;
    std::vector<std::filesystem::path> files;
    for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
         at.increment(error))
        files.push_back(at->path());
    if (error) throw file_error("list", folder, error.value());
    std::sort(files.begin(), files.end());
    Fingerprint result;
    for (const auto& path : files) {
        result.add(path.filename().string());
        const MappedFile file(path);
        const auto bytes = file.bytes(0, file.size());
        result.add(bytes.data(), static_cast<std::size_t>(bytes.size()));
    }
    return result.to_string();
}

MPO_DETAIL_MODEL_INLINE std::string fingerprint(const std::vector<CalibrationWindow>& windows) {
    Fingerprint result;
    for (const auto& window : windows) {
        result.add(concat(window.tokens.size(), ' ', window.weight));
        result.add(window.tokens.data(), window.tokens.size() * sizeof(Index));
    }
    return result.to_string();
}

}  // namespace mpo::detail

// What is in a checkpoint, as JSON: format, hyperparameters, tensors, compressed linears.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/network/layout.hpp"

namespace mpo {

/// "gguf" for CheckpointFormat::gguf.
[[nodiscard]] inline std::string to_string(CheckpointFormat format) {
    return format == CheckpointFormat::gguf ? "gguf" : "safetensors";
}

namespace detail {

[[nodiscard]] nlohmann::ordered_json describe(const Hyperparameters& parameters);

[[nodiscard]] nlohmann::ordered_json describe(const CheckpointTensor& tensor);

[[nodiscard]] nlohmann::ordered_json describe(const CompressedLinear& linear);

[[nodiscard]] nlohmann::ordered_json describe(const Checkpoint& checkpoint);

}  // namespace detail

/// One JSON object: path, format, hyperparameters where known, parameters, bytes, tensors; as in
/// docs/schema/info.json.
[[nodiscard]] std::string to_json(const Checkpoint& checkpoint);

/// The same, and `compressed_linears`.
[[nodiscard]] std::string to_json(const CompressedCheckpoint& compressed);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/describe_inl.hpp"
#endif

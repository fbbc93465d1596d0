// What GGUF files of the LLaMA family call their tensors, and how llama's query and key rows lie.
//
// The names of llama, qwen2 and qwen3 map to Hugging Face's one to one; tensors without a
// counterpart, and those of other architectures, keep theirs.
//
// Rotary embedding pairs row j of a head with row j + d/2 in Hugging Face's order, and with its
// neighbour in GGUF's order for llama, so that for a head of d rows
//
//   huggingface[head, half, j] = gguf[head, j, half]      half = 0, 1;  j = 0 .. d/2 - 1
//
// Keys may have fewer heads than queries. qwen's rows are not permuted.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "mpo/core/tensor.hpp"
#include "mpo/model/hyperparameters.hpp"

namespace mpo {
namespace detail {

using NamePair = std::pair<std::string_view, std::string_view>;  // GGUF's, Hugging Face's

}  // namespace detail

/// The name Hugging Face's transformers give the tensor of a GGUF of that architecture; `name`
/// itself where there is none.
[[nodiscard]] std::string hugging_face_name(std::string_view architecture, const std::string& name);

/// Heads whose rows lie in GGUF's rotary order, for query and key tensors of llama (0 where the file
/// does not say how many); nothing for all others.
[[nodiscard]] std::optional<Index> permuted_heads(const Hyperparameters& parameters,
                                                  std::string_view gguf_name);

/// Copies rows of `row_bytes` bytes from `gguf`, in GGUF's rotary order, to `hugging_face`, in
/// Hugging Face's.
/// `rows` must be a multiple of 2 `heads`.
void restore_rotary_rows(const std::byte* gguf, std::byte* hugging_face, Index rows,
                         Index row_bytes, Index heads);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/gguf_names_inl.hpp"
#endif

// Limits of ours on top of those of the formats, so that a file cannot ask for more work than its
// use is worth: opening one stays below 1 GiB of memory and a few seconds, whatever it states.
#pragma once

#include <cstddef>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// Tensors of one checkpoint, in one file or many; the largest published ones have 200,000.
inline constexpr Index max_num_tensors = Index{1} << 18;
/// Bytes of a tensor's name; GGML itself reads 63.
inline constexpr std::size_t max_tensor_name_bytes = 256;
/// Bytes of memory that the metadata of one checkpoint may take.
inline constexpr Index max_metadata_bytes = Index{256} << 20;

namespace detail {

/// What a pair takes beside its text: two strings and the node of a map.
inline constexpr Index metadata_pair_bytes = 128;

}  // namespace detail
}  // namespace mpo

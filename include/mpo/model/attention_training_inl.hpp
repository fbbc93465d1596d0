// The bodies of model/attention_training.hpp that are no templates.
#pragma once

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/attention_training.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void check_attention(const AttentionShape& shape) {
    if (shape.windows < 0 || shape.length < 0 || shape.head_dim < 1 || shape.kv_heads < 1 ||
        shape.heads < 1 || shape.heads % shape.kv_heads != 0)
        raise<ShapeError>(
            {"attend_windows: need windows >= 0, length >= 0, head_dim >= 1 and heads a ",
             "multiple of kv_heads >= 1, got ", shape.windows, ", ", shape.length, ", ",
             shape.head_dim, ", ", shape.heads, " and ", shape.kv_heads});
}

}  // namespace mpo::detail

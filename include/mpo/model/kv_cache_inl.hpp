// The bodies of model/kv_cache.hpp that are no templates.
#pragma once

#include "mpo/core/error.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/kv_cache.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE KvCache::KvCache(Index layers, Index kv_heads, Index head_dim,
                                         Index capacity)
    : kv_heads_(kv_heads), head_dim_(head_dim), capacity_(capacity) {
    if (layers < 1 || kv_heads < 1 || head_dim < 1 || capacity < 1)
        detail::raise<ArgumentError>({"KvCache: need at least one layer, head, element and ",
                                      "position, got ", layers, ", ", kv_heads, ", ", head_dim,
                                      " and ", capacity});
    for (Index k = 0; k < layers; ++k)
        layers_.push_back(
            {std::vector<float>(size(head_dim)), std::vector<float>(size(value_width()))});
}

MPO_DETAIL_MODEL_INLINE Index KvCache::num_bytes() const {
    return num_layers() *
           static_cast<Index>((size(head_dim_) + size(value_width())) * sizeof(float));
}

MPO_DETAIL_MODEL_INLINE void KvCache::truncate(Index length) {
    if (length < 0 || length > length_)
        detail::raise<ArgumentError>(
            {"KvCache::truncate: need 0 to ", length_, " positions, got ", length});
    length_ = length;
}

MPO_DETAIL_MODEL_INLINE void KvCache::store(Index layer, Index count, const float* keys,
                                            const float* values) {
    auto& to = layers_[static_cast<std::size_t>(layer)];
    for (Index p = 0; p < count; ++p)
        for (Index g = 0; g < kv_heads_; ++g) {
            const Index t = length_ + p, row = (p * kv_heads_ + g) * head_dim_;
            float* key = to.keys.data() + (g * padded() + t / 32 * 32) * head_dim_ + t % 32;
            float* value = to.values.data() + (g * padded() + t) * value_width();
            for (Index i = 0; i < head_dim_; ++i) {
                key[32 * i] = keys[row + i];
                value[i] = values[row + i];
            }
        }
}

MPO_DETAIL_MODEL_INLINE const float* KvCache::values(Index layer, Index head) const {
    return layers_[static_cast<std::size_t>(layer)].values.data() + head * padded() * value_width();
}

}  // namespace mpo

// Causal attention with grouped heads (Ainslie et al., arXiv:2305.13245), forward: head h of position p gives
//
//   out_h = sum over t <= p of softmax_t(q_h . k_t) v_t,     k, v of the key-value head h / group
//
// with q rotated and scaled by 1 / sqrt(d) before. Scores never exist all at once: many positions go
// through blocks of keys with a running softmax (Dao et al., arXiv:2205.14135), 32 pairs of position and
// head to a panel; one position goes through pieces of the keys, which are joined afterwards.
#pragma once

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/kv_cache.hpp"

namespace mpo {

/// Attention of `count` positions behind those that the cache holds; their keys and values are stored.
///
/// queries   (count, heads d), rotated, times 1 / sqrt(d)
/// heads     of queries: a multiple of the cache's
/// out       (count, heads d)
/// cost      4 count keys heads d flops, of which prefill needs about half
/// memory    for many positions keys and values of the layer once more, packed
/// throws    ShapeError where heads are no multiple of the cache's
void attend(const float* queries, Index count, Index heads, const KvCache& cache, Index layer,
            float* out, const EigenBackend& backend);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/attention_inl.hpp"
#endif

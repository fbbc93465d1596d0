// Keys and values of the positions that a decoder has seen, as attention reads them. Of every layer and
// every key-value head, d numbers each:
//
//   keys     panels of 32 positions: element i of position t at (t / 32) 32 d + 32 i + t % 32
//   values   rows: element i of position t at t w + i, w = d rounded up to 32
#pragma once

#include <cstddef>
#include <vector>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// The state of one sequence. Movable; one thread writes it.
class KvCache {
  public:
    /// Positions that are kept together; the capacity is a multiple of it.
    static constexpr Index block = 128;

    /// Room for `capacity` positions, which is all the memory that it will take:
    /// layers kv_heads capacity (d + w) floats with d = head_dim. Throws ArgumentError for sizes below 1.
    KvCache(Index layers, Index kv_heads, Index head_dim, Index capacity);

    /// Positions held.
    [[nodiscard]] Index length() const { return length_; }
    /// Positions that it has room for.
    [[nodiscard]] Index capacity() const { return capacity_; }
    /// Layers of the decoder that it serves.
    [[nodiscard]] Index num_layers() const { return static_cast<Index>(layers_.size()); }
    /// Key-value heads of a layer.
    [[nodiscard]] Index kv_heads() const { return kv_heads_; }
    /// Elements of a head.
    [[nodiscard]] Index head_dim() const { return head_dim_; }
    /// Floats from a row of values to the next.
    [[nodiscard]] Index value_width() const { return (head_dim_ + 31) / 32 * 32; }
    /// Bytes of all keys and values.
    [[nodiscard]] Index num_bytes() const;

    /// Forgets all positions from `length` on. Throws ArgumentError where there are not so many.
    void truncate(Index length);

    /// Writes keys and values (count, kv_heads d) of a layer behind the positions held, where there
    /// must be room; advance makes them count.
    void store(Index layer, Index count, const float* keys, const float* values);
    /// `count` positions more are held: all layers were stored.
    void advance(Index count) { length_ += count; }

    /// Panels of the keys of a head of a layer.
    [[nodiscard]] const float* keys(Index layer, Index head) const {
        return layers_[static_cast<std::size_t>(layer)].keys.data() + head * padded() * head_dim_;
    }
    /// Rows of the values of a head of a layer.
    [[nodiscard]] const float* values(Index layer, Index head) const;

  private:
    struct Layer {
        std::vector<float> keys,
            values;  // zeros where nothing was written: products read past the end
    };
    [[nodiscard]] Index padded() const { return (capacity_ + block - 1) / block * block; }
    [[nodiscard]] std::size_t size(Index width) const {
        return static_cast<std::size_t>(num_elements({kv_heads_, padded(), width}));
    }

    Index kv_heads_, head_dim_, capacity_, length_ = 0;
    std::vector<Layer> layers_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/kv_cache_inl.hpp"
#endif

// The bodies of model/attention.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/linalg/weight_panels.hpp"
#include "mpo/model/attention.hpp"

namespace mpo {
namespace detail {

/// What attention of one layer reads: queries of `count` positions behind those that the cache holds,
/// whose keys and values are stored already.
struct AttentionInput {
    const float* queries = nullptr;  // (count, heads d), rotated and scaled
    Index count = 0;                 // positions
    Index heads = 0;                 // of queries
    const KvCache& cache;
    Index layer = 0;

    [[nodiscard]] Index group() const { return heads / cache.kv_heads(); }
    [[nodiscard]] Index width() const { return cache.head_dim(); }
    [[nodiscard]] Index first() const { return cache.length(); }
    [[nodiscard]] Index keys() const { return cache.length() + count; }
};

/// Keys and transposed values of one head, block by block, packed for the left of a product: every panel
/// of queries reads them.
class PreparedBlocks {
  public:
    PreparedBlocks(const AttentionInput& input, const EigenBackend& backend)
        : blocks_((input.keys() + KvCache::block - 1) / KvCache::block),
          keys_(static_cast<std::size_t>(input.cache.kv_heads() * blocks_)),
          values_(keys_.size()) {
        parallel_for(0, input.cache.kv_heads() * blocks_, 1, [&](Index begin, Index end) {
            for (Index k = begin; k < end; ++k) prepare(input, k, backend);
        });
    }
    [[nodiscard]] const EigenBackend::Operand<float>& keys(Index head, Index block) const {
        return keys_[static_cast<std::size_t>(head * blocks_ + block)];
    }
    [[nodiscard]] const EigenBackend::Operand<float>& values(Index head, Index block) const {
        return values_[static_cast<std::size_t>(head * blocks_ + block)];
    }

  private:
    void prepare(const AttentionInput& input, Index k, const EigenBackend& backend) {
        constexpr Index size = KvCache::block;
        const Index d = input.width(), head = k / blocks_, first = k % blocks_ * size;
        const auto buffer = backend.allocate<float>(d * size);  // (d, size): panels side by side
        const float* panels = input.cache.keys(input.layer, head) + first * d;
        for (Index panel = 0; panel < size / 32; ++panel)
            for (Index i = 0; i < d; ++i)
                std::copy_n(panels + (panel * d + i) * 32, 32,
                            buffer.data() + i * size + panel * 32);
        const Index w = input.cache.value_width();
        const float* rows = input.cache.values(input.layer, head) + first * w;
        const auto at = static_cast<std::size_t>(k);
        keys_[at] =
            backend.prepare(Side::left, transpose(matrix<const float>(buffer.data(), d, size)));
        values_[at] = backend.prepare(
            Side::left, transpose(block(matrix<const float>(rows, size, w), 0, 0, size, d)));
    }

    Index blocks_;
    std::vector<EigenBackend::Operand<float>> keys_, values_;
};

/// 32 columns (position, head of the group), one after another through all blocks of keys.
class AttentionPanel {
  public:
    AttentionPanel(const AttentionInput& input, Index head, Index panel,
                   const EigenBackend& backend)
        : input_(input),
          head_(head),
          column_(panel * width),
          columns_((std::min)(width, input.count * input.group() - column_)),
          buffer_(backend.allocate<float>((2 * input.width() + KvCache::block + 3) * width)) {
        queries_ = buffer_.data();
        sums_ = queries_ + input.width() * width;
        scores_ = sums_ + input.width() * width;
        maximum_ = scores_ + KvCache::block * width;
        total_ = maximum_ + width;
        rescale_ = total_ + width;
    }

    /// Writes the columns' part of out (count, heads d).
    void run(const PreparedBlocks& blocks, float* out, const EigenBackend& backend) {
        load_queries();
        std::fill_n(maximum_, width, -std::numeric_limits<float>::infinity());
        std::fill_n(total_, width, 0.0f);
        const Index d = input_.width();
        const Index keys = input_.first() + (column_ + columns_ - 1) / input_.group() + 1;
        const auto view = [](const float* data, Index rows) {
            return BatchView<const float>{matrix(data, rows, width), 0};
        };
        const BatchView<float> scores{matrix(scores_, KvCache::block, width), 0};
        const BatchView<float> sums{matrix(sums_, d, width), 0};
        for (Index b = 0; b * KvCache::block < keys; ++b) {
            backend.gemm_left(blocks.keys(head_, b), view(queries_, d), 0.0f, scores, 1);
            mask(b * KvCache::block);
            absorb_panel(KvCache::block, scores_, maximum_, total_, rescale_);
            if (b > 0) scale_columns(d, rescale_, sums_);
            backend.gemm_left(blocks.values(head_, b), view(scores_, KvCache::block),
                              b > 0 ? 1.0f : 0.0f, sums, 1);
        }
        store(out);
    }

  private:
    static constexpr Index width = 32;

    [[nodiscard]] Index offset(Index column) const {
        const Index at = column_ + column, r = input_.group();
        return (at / r * input_.heads + head_ * r + at % r) * input_.width();
    }
    void load_queries() {
        std::fill_n(queries_, input_.width() * width, 0.0f);
        for (Index c = 0; c < columns_; ++c) {
            const float* row = input_.queries + offset(c);
            for (Index i = 0; i < input_.width(); ++i) queries_[i * width + c] = row[i];
        }
    }
    /// No column sees keys behind its own position.
    void mask(Index begin) {
        const Index seen_by_all = input_.first() + column_ / input_.group() + 1;
        for (Index t = (std::max)(Index{0}, seen_by_all - begin); t < KvCache::block; ++t) {
            const Index sees = (begin + t - input_.first()) * input_.group() - column_;
            std::fill_n(scores_ + t * width, (std::min)(sees, width),
                        -std::numeric_limits<float>::infinity());
        }
    }
    void store(float* out) const {
        for (Index c = 0; c < columns_; ++c) {
            const float inverse = 1 / total_[c];
            float* row = out + offset(c);
            for (Index i = 0; i < input_.width(); ++i) row[i] = sums_[i * width + c] * inverse;
        }
    }

    const AttentionInput& input_;
    Index head_, column_, columns_;
    EigenBackend::Buffer<float> buffer_;
    float *queries_, *sums_, *scores_, *maximum_, *total_, *rescale_;  // parts of the buffer
};

inline void attend_many(const AttentionInput& input, float* out, const EigenBackend& backend) {
    const PreparedBlocks blocks(input, backend);
    const Index panels = (input.count * input.group() + 31) / 32, heads = input.cache.kv_heads();
    parallel_tasks(panels * heads, [&](Index task) {  // the longest first
        AttentionPanel(input, task % heads, panels - 1 - task / heads, backend)
            .run(blocks, out, backend);
    });
}

/// One position, one key-value head, some keys: softmax over these alone.
struct AttentionPiece {
    std::vector<float> sums, maximum, total;  // (group, w), (group), (group)
};

[[nodiscard]] inline AttentionPiece attend_piece(const AttentionInput& input, Index head,
                                                 Index begin, Index end) {
    const Index r = input.group(), d = input.width(), w = input.cache.value_width();
    const Index keys = end - begin, padded = (keys + 31) / 32 * 32;
    const auto size = [](Index n) { return static_cast<std::size_t>(n); };
    std::vector<float> scores(size(r * padded));
    AttentionPiece piece{std::vector<float>(size(r * w)), std::vector<float>(size(r)),
                         std::vector<float>(size(r))};
    const float* panels = input.cache.keys(input.layer, head) + begin * d;
    for (Index t = 0; t < keys; t += 32)
        multiply_panel(r, d, input.queries + head * r * d, d, panels + t * d, 32, scores.data() + t,
                       padded);
    for (Index j = 0; j < r; ++j) {
        float* row = scores.data() + j * padded;
        piece.maximum[size(j)] = row_maximum(keys, row);
        piece.total[size(j)] = exponentiate(keys, piece.maximum[size(j)], row);
    }
    const float* rows = input.cache.values(input.layer, head) + begin * w;
    for (Index c = 0; c < w; c += 32)
        multiply_panel(r, keys, scores.data(), padded, rows + c, w, piece.sums.data() + c, w);
    return piece;
}

/// The pieces of a head as one softmax, into its part of out (heads d).
inline void join_pieces(const AttentionInput& input, Index head, const AttentionPiece* pieces,
                        Index count, float* out) {
    const Index r = input.group(), d = input.width(), w = input.cache.value_width();
    for (Index j = 0; j < r; ++j) {
        const auto at = static_cast<std::size_t>(j);
        float top = pieces[0].maximum[at], total = 0;
        for (Index k = 1; k < count; ++k) top = (std::max)(top, pieces[k].maximum[at]);
        float* row = out + (head * r + j) * d;
        std::fill_n(row, d, 0.0f);
        for (Index k = 0; k < count; ++k) {
            const float factor = std::exp(pieces[k].maximum[at] - top);
            total += factor * pieces[k].total[at];
            const float* sums = pieces[k].sums.data() + j * w;
            for (Index i = 0; i < d; ++i) row[i] += factor * sums[i];
        }
        for (Index i = 0; i < d; ++i) row[i] /= total;
    }
}

inline void attend_one(const AttentionInput& input, float* out) {
    constexpr Index piece_keys = 256;  // a multiple of 32
    const Index pieces = (input.keys() + piece_keys - 1) / piece_keys;
    const Index heads = input.cache.kv_heads();
    std::vector<AttentionPiece> parts(static_cast<std::size_t>(heads * pieces));
    const Index grain = input.keys() * input.heads * input.width() < Index{1} << 16 ? heads : 1;
    parallel_for(0, heads * pieces, grain, [&](Index first, Index last) {
        for (Index k = first; k < last; ++k) {
            const Index begin = k % pieces * piece_keys;
            parts[static_cast<std::size_t>(k)] = attend_piece(
                input, k / pieces, begin, (std::min)(input.keys(), begin + piece_keys));
        }
    });
    for (Index h = 0; h < heads; ++h) join_pieces(input, h, parts.data() + h * pieces, pieces, out);
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE void attend(const float* queries, Index count, Index heads,
                                    const KvCache& cache, Index layer, float* out,
                                    const EigenBackend& backend) {
    if (heads % cache.kv_heads() != 0)
        detail::raise<ShapeError>({"attend: ", heads, " heads must be a multiple of the ",
                                   cache.kv_heads(), " of keys and values"});
    const detail::AttentionInput input{queries, count, heads, cache, layer};
    if (count == 1)
        detail::attend_one(input, out);
    else if (count > 1)
        detail::attend_many(input, out, backend);
}

}  // namespace mpo

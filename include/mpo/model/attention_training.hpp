// Causal attention with grouped heads over whole windows, forward and backward, in the precision of training.
// For each window and head h, with k and v of the key-value head h / group, at position p
//
//   s_t = q_h . k_t,   L = log of the sum over t <= p of exp s_t,   P_t = exp(s_t - L),   out_h = sum of P_t v_t
//
// with q rotated and scaled by 1 / sqrt(d) before. The forward pass keeps L, the backward pass makes P again from
// it, tile by tile (Dao et al., arXiv:2205.14135; Dao, arXiv:2307.08691):
//
//   dv += P^T dout,   dP = dout v^T,   dS = P (dP - D),   D = out . dout,   dq += dS k,   dk += dS^T q
//
// Tiles above the diagonal are skipped. One window and one key-value head are one task, to which all that it
// writes belongs: the bits depend on no number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/row_gradients.hpp"

namespace mpo {

/// What attention over whole windows reads: row w length + p of an array belongs to position p of window w.
struct AttentionShape {
    Index windows = 0;   // texts, which do not see each other
    Index length = 0;    // positions of each
    Index heads = 0;     // of queries: a multiple of kv_heads
    Index kv_heads = 0;  // of keys and values
    Index head_dim = 0;  // d: numbers of a head

    /// Positions of all windows.
    [[nodiscard]] Index rows() const { return windows * length; }
    /// Heads of queries that read the same keys.
    [[nodiscard]] Index group() const { return heads / kv_heads; }
};

namespace detail {

void check_attention(const AttentionShape& shape);

/// Positions of a window, so many to a tile.
struct PositionTiles {
    Index length, tile;

    [[nodiscard]] Index count() const { return (length + tile - 1) / tile; }
    [[nodiscard]] Index first(Index k) const { return k * tile; }
    [[nodiscard]] Index size(Index k) const { return (std::min)(tile, length - first(k)); }
};

/// One window and one key-value head: everything that one task writes.
struct AttentionTask {
    const AttentionShape& shape;
    Index window, kv_head;

    AttentionTask(const AttentionShape& of, Index task)
        : shape(of), window(task / of.kv_heads), kv_head(task % of.kv_heads) {}

    /// Rows of head `head` of the group, `count` positions from `first` on, of an array (rows, heads d).
    template <class T>
    [[nodiscard]] MatrixView<T> queries(T* data, Index head, Index first, Index count) const {
        return rows(data, shape.heads, kv_head * shape.group() + head, first, count);
    }
    /// The same of an array (rows, kv_heads d).
    template <class T>
    [[nodiscard]] MatrixView<T> keys(T* data, Index first, Index count) const {
        return rows(data, shape.kv_heads, kv_head, first, count);
    }
    /// Where position `first` of head `head` of the group lies in an array (heads, rows).
    template <class T>
    [[nodiscard]] T* sums(T* data, Index head, Index first) const {
        return data + (kv_head * shape.group() + head) * shape.rows() + window * shape.length +
               first;
    }

  private:
    template <class T>
    [[nodiscard]] MatrixView<T> rows(T* data, Index heads, Index head, Index first,
                                     Index count) const {
        const Index d = shape.head_dim, row = window * shape.length + first;
        return {data + (row * heads + head) * d, count, d, heads * d, 1, Conjugation::none};
    }
};

template <class T>
[[nodiscard]] BatchView<T> one_of(MatrixView<T> A) {
    return {A, 0};
}

/// The transpose of rows of activations, at row distance `stride`.
template <class T>
void transpose_into(MatrixView<const T> from, T* to, Index stride) {
    transpose_rows_t<T>(from.rows, from.cols, from.data, from.row_stride, to, stride);
}

/// The forward pass, task after task on one thread: panels of 32 positions of a head against tile after tile of
/// keys.
///
/// memory   2 length d numbers, and a panel of scores
template <class T>
class WindowForward {
  public:
    WindowForward(const AttentionShape& shape, const EigenBackend& backend)
        : shape_(shape),
          backend_(backend),
          tiles_{shape.length, key_tile},
          keys_(static_cast<std::size_t>(tiles_.count())),
          values_(keys_.size()),
          buffer_(backend.allocate<T>((2 * d() + key_tile + 3) * width)) {
        queries_ = buffer_.data();
        sums_ = queries_ + d() * width;
        scores_ = sums_ + d() * width;
        maximum_ = scores_ + key_tile * width;
        total_ = maximum_ + width;
        rescale_ = total_ + width;
    }

    void run(const AttentionTask& task, const T* q, const T* k, const T* v, T* out, T* log_sum) {
        for (Index b = 0; b < tiles_.count(); ++b) {
            const auto at = static_cast<std::size_t>(b);
            const Index first = tiles_.first(b), size = tiles_.size(b);
            keys_[at] = backend_.prepare(Side::left, task.keys(k, first, size));
            values_[at] = backend_.prepare(Side::left, transpose(task.keys(v, first, size)));
        }
        for (Index head = 0; head < shape_.group(); ++head)
            for (Index first = 0; first < shape_.length; first += width) {
                const Index count = (std::min)(width, shape_.length - first);
                run_panel(task.queries(q, head, first, count), first);
                store(task.queries(out, head, first, count), task.sums(log_sum, head, first));
            }
    }

  private:
    static constexpr Index width = 32;     // of a panel: that of absorb_panel
    static constexpr Index key_tile = 48;  // four register tiles

    [[nodiscard]] Index d() const { return shape_.head_dim; }

    void run_panel(MatrixView<const T> q, Index first) {
        if (q.rows < width) std::fill_n(queries_, d() * width, T{0});
        transpose_into(q, queries_, width);
        std::fill_n(maximum_, width, -std::numeric_limits<T>::infinity());
        std::fill_n(total_, width, T{0});
        const auto queries = one_of(matrix<const T>(queries_, d(), width));
        const auto sums = one_of(matrix(sums_, d(), width));
        for (Index b = 0; tiles_.first(b) < first + q.rows; ++b) {
            const auto at = static_cast<std::size_t>(b);
            const Index keys = tiles_.size(b);
            backend_.gemm_left(keys_[at], queries, T{0}, one_of(matrix(scores_, keys, width)), 1);
            mask(first - tiles_.first(b), keys);
            absorb_panel_t<T>(keys, scores_, maximum_, total_, rescale_);
            if (b > 0) scale_columns_t<T>(d(), rescale_, sums_);
            backend_.gemm_left(values_[at], one_of(matrix<const T>(scores_, keys, width)),
                               b > 0 ? T{1} : T{0}, sums, 1);
        }
    }
    /// Column c, the position `ahead` + c behind the first of the keys, sees no key behind itself.
    void mask(Index ahead, Index keys) {
        for (Index t = (std::max)(Index{0}, ahead + 1); t < keys; ++t)
            std::fill_n(scores_ + t * width, (std::min)(t - ahead, width),
                        -std::numeric_limits<T>::infinity());
    }
    void store(MatrixView<T> out, T* log_sum) {
        for (Index c = 0; c < width; ++c) rescale_[c] = 1 / total_[c];
        scale_columns_t<T>(d(), rescale_, sums_);
        transpose_rows_t<T>(d(), out.rows, sums_, width, out.data, out.row_stride);
        for (Index c = 0; c < out.rows; ++c) log_sum[c] = maximum_[c] + std::log(total_[c]);
    }

    const AttentionShape& shape_;
    const EigenBackend& backend_;
    PositionTiles tiles_;
    std::vector<EigenBackend::Operand<T>> keys_, values_;  // of one task
    EigenBackend::Buffer<T> buffer_;
    T *queries_, *sums_, *scores_, *maximum_, *total_, *rescale_;  // parts of the buffer
};

/// What attend_windows_backward reads and writes.
template <class T>
struct WindowGradients {
    const T *q, *k, *v, *out, *log_sum, *dout;
    T *dq, *dk, *dv;
};

/// The backward pass, task after task on one thread: tiles of queries against tiles of keys.
///
/// memory   5 length d numbers, and two tiles of scores
template <class T>
class WindowBackward {
  public:
    WindowBackward(const AttentionShape& shape, const EigenBackend& backend)
        : shape_(shape),
          backend_(backend),
          tiles_{shape.length, key_tile},
          buffer_(backend.allocate<T>(5 * shape.length * shape.head_dim +
                                      query_tile * (2 * key_tile + 1))) {
        T* at = buffer_.data();
        for (T** part : {&keys_, &keys_t_, &values_t_, &dkeys_t_, &dvalues_t_}) {
            *part = at;
            at += shape.length * shape.head_dim;
        }
        scores_ = at;
        dscores_ = scores_ + query_tile * key_tile;
        means_ = dscores_ + query_tile * key_tile;
    }

    void run(const AttentionTask& task, const WindowGradients<T>& io) {
        load(task, io);
        const PositionTiles queries{shape_.length, query_tile};
        for (Index head = 0; head < shape_.group(); ++head)
            for (Index i = 0; i < queries.count(); ++i)
                run_queries(task, io, head, queries.first(i), queries.size(i));
        for (Index j = 0; j < tiles_.count(); ++j) {
            store(dkeys_t_, j, task.keys(io.dk, tiles_.first(j), tiles_.size(j)));
            store(dvalues_t_, j, task.keys(io.dv, tiles_.first(j), tiles_.size(j)));
        }
    }

  private:
    static constexpr Index query_tile = 48;  // four register tiles
    static constexpr Index key_tile = 96;

    /// The first `count` columns of tile j of transposed keys or values, (d, size).
    template <class U>
    [[nodiscard]] MatrixView<U> tile_of(U* data, Index j, Index count) const {
        const Index d = shape_.head_dim;
        return {data + tiles_.first(j) * d, d, count, tiles_.size(j), 1, Conjugation::none};
    }

    void load(const AttentionTask& task, const WindowGradients<T>& io) {
        const Index d = shape_.head_dim;
        std::fill_n(dkeys_t_, shape_.length * d, T{0});
        std::fill_n(dvalues_t_, shape_.length * d, T{0});
        for (Index j = 0; j < tiles_.count(); ++j) {
            const Index first = tiles_.first(j), size = tiles_.size(j);
            const auto keys = task.keys(io.k, first, size);
            for (Index t = 0; t < size; ++t)
                std::copy_n(keys.data + t * keys.row_stride, d, keys_ + (first + t) * d);
            transpose_into(keys, keys_t_ + first * d, size);
            transpose_into(task.keys(io.v, first, size), values_t_ + first * d, size);
        }
    }
    void store(const T* transposed, Index j, MatrixView<T> to) const {
        const auto from = tile_of(transposed, j, tiles_.size(j));
        transpose_rows_t<T>(from.rows, from.cols, from.data, from.row_stride, to.data,
                            to.row_stride);
    }

    /// One tile of queries of a head, against all keys that it sees.
    void run_queries(const AttentionTask& task, const WindowGradients<T>& io, Index head,
                     Index first, Index count) {
        const auto q = task.queries(io.q, head, first, count);
        const auto dout = task.queries(io.dout, head, first, count);
        const auto dq = task.queries(io.dq, head, first, count);
        const auto queries = backend_.prepare(Side::left, q);
        const auto queries_t = backend_.prepare(Side::left, transpose(q));
        const auto douts = backend_.prepare(Side::left, dout);
        const auto douts_t = backend_.prepare(Side::left, transpose(dout));
        const auto out = task.queries(io.out, head, first, count);
        for (Index r = 0; r < count; ++r)
            means_[r] = dot_row_t<T>(q.cols, out.data + r * out.row_stride,
                                     dout.data + r * dout.row_stride);
        for (Index j = 0; tiles_.first(j) < first + count; ++j) {
            const Index key = tiles_.first(j);
            const Index seen = (std::min)(tiles_.size(j), first + count - key);
            const auto P = matrix(scores_, count, seen), dS = matrix(dscores_, count, seen);
            backend_.gemm_left(queries, one_of(tile_of<const T>(keys_t_, j, seen)), T{0}, one_of(P),
                               1);
            backend_.gemm_left(douts, one_of(tile_of<const T>(values_t_, j, seen)), T{0},
                               one_of(dS), 1);
            differentiate(P, dS, task.sums(io.log_sum, head, first), first - key);
            backend_.gemm_left(douts_t, one_of<const T>(P), T{1},
                               one_of(tile_of(dvalues_t_, j, seen)), 1);
            backend_.gemm_left(queries_t, one_of<const T>(dS), T{1},
                               one_of(tile_of(dkeys_t_, j, seen)), 1);
            backend_.gemm(T{1}, dS, matrix<const T>(keys_ + key * q.cols, seen, q.cols),
                          j > 0 ? T{1} : T{0}, dq);
        }
    }

    /// Scores and derivatives by probabilities become probabilities and derivatives by scores; row r is the
    /// position `ahead` + r behind the first of the keys.
    void differentiate(MatrixView<T> P, MatrixView<T> dS, const T* log_sum, Index ahead) const {
        for (Index r = 0; r < P.rows; ++r) {
            T *p = P.data + r * P.cols, *ds = dS.data + r * P.cols;
            const Index seen = std::clamp(ahead + r + 1, Index{0}, P.cols);
            softmax_backward<T>(seen, log_sum[r], means_[r], p, ds);
            std::fill(p + seen, p + P.cols, T{0});
            std::fill(ds + seen, ds + P.cols, T{0});
        }
    }

    const AttentionShape& shape_;
    const EigenBackend& backend_;
    PositionTiles tiles_;
    EigenBackend::Buffer<T> buffer_;
    T *keys_, *keys_t_, *values_t_, *dkeys_t_, *dvalues_t_, *scores_, *dscores_,
        *means_;  // parts of the buffer
};

}  // namespace detail

/// Causal attention of every window, and what its backward pass needs.
///
/// q         (rows, heads d), rotated, times 1 / sqrt(d)
/// k, v      (rows, kv_heads d), k rotated
/// out       (rows, heads d)
/// log_sum   (heads, rows): L, the logarithm of the softmax's denominator
/// cost      2 rows length heads d flops, half of what all pairs would take
/// memory    for each thread keys and values of one head and window, packed
/// throws    ShapeError for a shape that is none
template <class T>
void attend_windows(const AttentionShape& shape, const T* q, const T* k, const T* v, T* out,
                    T* log_sum, const EigenBackend& backend) {
    detail::check_attention(shape);
    parallel_for(0, shape.windows * shape.kv_heads, 1, [&](Index first, Index last) {
        detail::WindowForward<T> forward(shape, backend);
        for (Index task = first; task < last; ++task)
            forward.run(detail::AttentionTask(shape, task), q, k, v, out, log_sum);
    });
}

/// Derivatives of attend_windows by q, k and v, given those by out. All are overwritten.
///
/// q, k, v, out, log_sum   as attend_windows read and wrote them
/// dout, dq                (rows, heads d)
/// dk, dv                  (rows, kv_heads d)
/// cost      5 rows length heads d flops: 2.5 forward passes
/// memory    for each thread 5 length d numbers and tiles
/// throws    ShapeError for a shape that is none
template <class T>
void attend_windows_backward(const AttentionShape& shape, const T* q, const T* k, const T* v,
                             const T* out, const T* log_sum, const T* dout, T* dq, T* dk, T* dv,
                             const EigenBackend& backend) {
    detail::check_attention(shape);
    const detail::WindowGradients<T> io{q, k, v, out, log_sum, dout, dq, dk, dv};
    parallel_for(0, shape.windows * shape.kv_heads, 1, [&](Index first, Index last) {
        detail::WindowBackward<T> backward(shape, backend);
        for (Index task = first; task < last; ++task)
            backward.run(detail::AttentionTask(shape, task), io);
    });
}

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template void attend_windows<float>(const AttentionShape&, const float*, const float*,
                                           const float*, float*, float*, const EigenBackend&);
extern template void attend_windows_backward<float>(const AttentionShape&, const float*,
                                                    const float*, const float*, const float*,
                                                    const float*, const float*, float*, float*,
                                                    float*, const EigenBackend&);
}  // namespace mpo
#else
#include "mpo/model/attention_training_inl.hpp"
#endif

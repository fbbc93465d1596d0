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

#include "mpo/core/error.hpp"
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

inline void check_attention(const AttentionShape& shape) {
    if (shape.windows < 0 || shape.length < 0 || shape.head_dim < 1 || shape.kv_heads < 1 ||
        shape.heads < 1 || shape.heads % shape.kv_heads != 0)
        raise<ShapeError>(
            {"attend_windows: need windows >= 0, length >= 0, head_dim >= 1 and heads a "
             "multiple of kv_heads >= 1, got ",
             shape.windows, ", ", shape.length, ", ", shape.head_dim, ", ", shape.heads, " and ",
             shape.kv_heads});
}

/// One window and one key-value head, cut into tiles of positions.
struct AttentionTask {
    static constexpr Index tile = 64;

    const AttentionShape& shape;
    Index window, kv_head;

    AttentionTask(const AttentionShape& of, Index task)
        : shape(of), window(task / of.kv_heads), kv_head(task % of.kv_heads) {}

    [[nodiscard]] static Index tiles_of(const AttentionShape& shape) {
        return (shape.length + tile - 1) / tile;
    }
    [[nodiscard]] Index first(Index k) const { return k * tile; }
    [[nodiscard]] Index size(Index k) const { return (std::min)(tile, shape.length - first(k)); }
    /// A head's rows of tile k, of an array (rows, heads d).
    template <class T>
    [[nodiscard]] MatrixView<T> rows(T* data, Index heads, Index head, Index k) const {
        const Index d = shape.head_dim, row = window * shape.length + first(k);
        return {data + (row * heads + head) * d, size(k), d, heads * d, 1, Conjugation::none};
    }
    template <class T>
    [[nodiscard]] MatrixView<T> query_rows(T* data, Index head, Index k) const {
        return rows(data, shape.heads, kv_head * shape.group() + head, k);
    }
    template <class T>
    [[nodiscard]] MatrixView<T> key_rows(T* data, Index k) const {
        return rows(data, shape.kv_heads, kv_head, k);
    }
    /// Of tile k, of an array (heads, rows).
    template <class T>
    [[nodiscard]] T* sums(T* data, Index head, Index k) const {
        return data + (kv_head * shape.group() + head) * shape.rows() + window * shape.length +
               first(k);
    }
};

template <class T>
[[nodiscard]] BatchView<T> one_of(MatrixView<T> A) {
    return {A, 0};
}

/// The forward pass of one task: 32 pairs of position and head to a panel, as in attention.hpp.
template <class T>
class WindowForward {
  public:
    WindowForward(const AttentionTask& task, const T* k, const T* v, const EigenBackend& backend)
        : task_(task),
          backend_(backend),
          buffer_(backend.allocate<T>((2 * d() + AttentionTask::tile + 3) * width)) {
        queries_ = buffer_.data();
        sums_ = queries_ + d() * width;
        scores_ = sums_ + d() * width;
        maximum_ = scores_ + AttentionTask::tile * width;
        total_ = maximum_ + width;
        rescale_ = total_ + width;
        for (Index b = 0; b < AttentionTask::tiles_of(task.shape); ++b) {
            keys_.push_back(backend.prepare(Side::left, task.key_rows(k, b)));
            values_.push_back(backend.prepare(Side::left, transpose(task.key_rows(v, b))));
        }
    }

    void run(const T* q, T* out, T* log_sum) {
        for (Index column = 0; column < task_.shape.length * group(); column += width) {
            column_ = column;
            columns_ = (std::min)(width, task_.shape.length * group() - column);
            run_panel(q);
            store(out, log_sum);
        }
    }

  private:
    static constexpr Index width = 32;

    [[nodiscard]] Index d() const { return task_.shape.head_dim; }
    [[nodiscard]] Index group() const { return task_.shape.group(); }
    /// Row and head of a column.
    [[nodiscard]] Index row(Index c) const {
        return task_.window * task_.shape.length + (column_ + c) / group();
    }
    [[nodiscard]] Index head(Index c) const {
        return task_.kv_head * group() + (column_ + c) % group();
    }

    void run_panel(const T* q) {
        load_queries(q);
        std::fill_n(maximum_, width, -std::numeric_limits<T>::infinity());
        std::fill_n(total_, width, T{0});
        const auto queries = one_of(matrix<const T>(queries_, d(), width));
        const auto sums = one_of(matrix(sums_, d(), width));
        const Index last = (column_ + columns_ - 1) / group();  // position
        for (Index b = 0; task_.first(b) <= last; ++b) {
            const auto at = static_cast<std::size_t>(b);
            const Index keys = task_.size(b);
            const auto scores = one_of(matrix(scores_, keys, width));
            backend_.gemm_left(keys_[at], queries, T{0}, scores, 1);
            mask(task_.first(b), keys);
            absorb_panel_t<T>(keys, scores_, maximum_, total_, rescale_);
            if (b > 0) scale_columns_t<T>(d(), rescale_, sums_);
            backend_.gemm_left(values_[at], one_of(matrix<const T>(scores_, keys, width)),
                               b > 0 ? T{1} : T{0}, sums, 1);
        }
    }
    void load_queries(const T* q) {
        std::fill_n(queries_, d() * width, T{0});
        for (Index c = 0; c < columns_; ++c) {
            const T* from = q + (row(c) * task_.shape.heads + head(c)) * d();
            for (Index i = 0; i < d(); ++i) queries_[i * width + c] = from[i];
        }
    }
    /// No column sees keys behind its own position.
    void mask(Index first, Index keys) {
        for (Index t = (std::max)(Index{0}, column_ / group() + 1 - first); t < keys; ++t) {
            const Index sees = (first + t) * group() - column_;
            std::fill_n(scores_ + t * width, (std::min)(sees, width),
                        -std::numeric_limits<T>::infinity());
        }
    }
    void store(T* out, T* log_sum) const {
        for (Index c = 0; c < columns_; ++c) {
            const T inverse = 1 / total_[c];
            T* to = out + (row(c) * task_.shape.heads + head(c)) * d();
            for (Index i = 0; i < d(); ++i) to[i] = sums_[i * width + c] * inverse;
            log_sum[head(c) * task_.shape.rows() + row(c)] = maximum_[c] + std::log(total_[c]);
        }
    }

    const AttentionTask& task_;
    const EigenBackend& backend_;
    EigenBackend::Buffer<T> buffer_;
    T *queries_, *sums_, *scores_, *maximum_, *total_, *rescale_;  // parts of the buffer
    std::vector<EigenBackend::Operand<T>> keys_, values_;
    Index column_ = 0, columns_ = 0;
};

/// What attend_windows_backward reads and writes.
template <class T>
struct WindowGradients {
    const T *q, *k, *v, *out, *log_sum, *dout;
    T *dq, *dk, *dv;
};

/// The backward pass, task by task on one thread, which keeps the memory.
///
/// memory   5 length d numbers, and two tiles of scores
template <class T>
class WindowBackward {
  public:
    WindowBackward(const AttentionShape& shape, const EigenBackend& backend)
        : shape_(shape),
          backend_(backend),
          slot_(shape.head_dim * tile),
          buffer_(backend.allocate<T>(5 * AttentionTask::tiles_of(shape) * slot_ + 2 * tile * tile +
                                      tile)) {
        T* at = buffer_.data();
        for (T** part : {&keys_, &keys_t_, &values_t_, &dkeys_t_, &dvalues_t_}) {
            *part = at;
            at += AttentionTask::tiles_of(shape) * slot_;
        }
        scores_ = at;
        dscores_ = scores_ + tile * tile;
        means_ = dscores_ + tile * tile;
    }

    void run(const AttentionTask& task, const WindowGradients<T>& io) {
        const Index tiles = AttentionTask::tiles_of(shape_);
        load(task, io);
        for (Index head = 0; head < shape_.group(); ++head)
            for (Index i = 0; i < tiles; ++i) run_queries(task, io, head, i);
        for (Index j = 0; j < tiles; ++j) {
            copy(transpose(tile_of<const T>(dkeys_t_, j, task.size(j))), task.key_rows(io.dk, j));
            copy(transpose(tile_of<const T>(dvalues_t_, j, task.size(j))), task.key_rows(io.dv, j));
        }
    }

  private:
    static constexpr Index tile = AttentionTask::tile;

    /// Tile j of transposed keys or values, (d, size) at row distance `tile`.
    template <class U>
    [[nodiscard]] MatrixView<U> tile_of(U* data, Index j, Index size) const {
        return {data + j * slot_, shape_.head_dim, size, tile, 1, Conjugation::none};
    }
    static void copy(MatrixView<const T> from, MatrixView<T> to) {
        for (Index r = 0; r < from.rows; ++r)
            for (Index c = 0; c < from.cols; ++c)
                to.data[r * to.row_stride + c * to.col_stride] =
                    from.data[r * from.row_stride + c * from.col_stride];
    }

    void load(const AttentionTask& task, const WindowGradients<T>& io) {
        for (Index j = 0; j < AttentionTask::tiles_of(shape_); ++j) {
            const Index size = task.size(j);
            copy(task.key_rows(io.k, j), matrix(keys_ + j * slot_, size, shape_.head_dim));
            copy(task.key_rows(io.k, j), transpose(tile_of(keys_t_, j, size)));
            copy(task.key_rows(io.v, j), transpose(tile_of(values_t_, j, size)));
        }
    }

    /// Tile i of the queries of a head, against all keys that it sees.
    void run_queries(const AttentionTask& task, const WindowGradients<T>& io, Index head, Index i) {
        const auto q = task.query_rows(io.q, head, i), dout = task.query_rows(io.dout, head, i);
        const auto out = task.query_rows(io.out, head, i);
        const auto queries = backend_.prepare(Side::left, q);
        const auto queries_t = backend_.prepare(Side::left, transpose(q));
        const auto douts = backend_.prepare(Side::left, dout);
        const auto douts_t = backend_.prepare(Side::left, transpose(dout));
        for (Index r = 0; r < q.rows; ++r)
            means_[r] = dot_row_t<T>(q.cols, out.data + r * out.row_stride,
                                     dout.data + r * dout.row_stride);
        for (Index j = 0; j <= i; ++j) {
            const Index size = task.size(j);
            const auto P = matrix(scores_, q.rows, size), dS = matrix(dscores_, q.rows, size);
            backend_.gemm_left(queries, one_of(tile_of<const T>(keys_t_, j, size)), T{0}, one_of(P),
                               1);
            backend_.gemm_left(douts, one_of(tile_of<const T>(values_t_, j, size)), T{0},
                               one_of(dS), 1);
            differentiate(P, dS, task.sums(io.log_sum, head, i), j == i);
            const T before = head == 0 && j == i ? T{0} : T{1};
            backend_.gemm_left(douts_t, one_of<const T>(P), before,
                               one_of(tile_of(dvalues_t_, j, size)), 1);
            backend_.gemm_left(queries_t, one_of<const T>(dS), before,
                               one_of(tile_of(dkeys_t_, j, size)), 1);
            backend_.gemm(T{1}, dS, matrix<const T>(keys_ + j * slot_, size, shape_.head_dim),
                          j > 0 ? T{1} : T{0}, task.query_rows(io.dq, head, i));
        }
    }

    /// Scores and derivatives by probabilities become probabilities and derivatives by scores.
    void differentiate(MatrixView<T> P, MatrixView<T> dS, const T* log_sum, bool diagonal) const {
        for (Index r = 0; r < P.rows; ++r) {
            T *p = P.data + r * P.cols, *ds = dS.data + r * P.cols;
            const Index seen = diagonal ? r + 1 : P.cols;
            softmax_backward<T>(seen, log_sum[r], means_[r], p, ds);
            std::fill(p + seen, p + P.cols, T{0});
            std::fill(ds + seen, ds + P.cols, T{0});
        }
    }

    const AttentionShape& shape_;
    const EigenBackend& backend_;
    Index slot_;  // numbers of a tile of keys
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
    parallel_tasks(shape.windows * shape.kv_heads, [&](Index k_task) {
        const detail::AttentionTask task(shape, k_task);
        detail::WindowForward<T>(task, k, v, backend).run(q, out, log_sum);
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

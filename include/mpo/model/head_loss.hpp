// The loss at the head of a language model, and its gradient, as distillation mixes it (Hinton, Vinyals and Dean,
// arXiv:1503.02531). With the logits z = W h of a position, the student
// q = softmax(z), the teacher's K most probable ids with p_k, and r, q_r the masses of all other ids in one class,
//
//   loss = alpha D + (1 - alpha) C,   C = -log q_next
//   D    = sum over k of p_k (log p_k - log q_k)  +  r (log r - log q_r)
//
// D is the divergence of distributions of K + 1 classes, a lower bound of the whole one (the log sum inequality;
// Cover and Thomas, Elements of Information Theory, 2.7). Since d log q_k / dz_j = [j = k] - q_j and, for the rest,
// d log q_r / dz_j = [j in the rest] q_j / q_r - q_j, with the teacher's total M = sum p_k + r,
//
//   dD/dz_j = M q_j - p_j   of the K ids;   M q_j - r q_j / q_r   of all others;     dC/dz_j = q_j - [j = next]
//
// Logits are there for some positions at a time: they become probabilities, dL/dz, and the operand of the two products
// dh = dL/dz W and dW += (dL/dz)^T h in place. q_r comes from the logits of the rest, shifted by their own maximum:
// never 1 minus a sum.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <type_traits>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/head_loss_row.hpp"
#include "mpo/model/teacher_targets.hpp"

namespace mpo {

/// W (vocab, hidden) of a head, be it the embedding or its own.
template <class T>
class HeadWeight {
  public:
    /// Of a head that changes: seen, not copied; every product packs it anew.
    ///
    /// W    any strides; must outlive this
    explicit HeadWeight(MatrixView<const T> W) : vocab_size_(W.rows), hidden_size_(W.cols), W_(W) {}
    /// Of a frozen one: packed once for both products, 2 vocab hidden numbers. W need not live on. Throws
    /// std::bad_alloc.
    HeadWeight(MatrixView<const T> W, const EigenBackend& backend)
        : vocab_size_(W.rows),
          hidden_size_(W.cols),
          forth_(backend.prepare(Side::right, transpose(W))),
          back_(backend.prepare(Side::right, W)),
          packed_(true) {}

    /// Tokens.
    [[nodiscard]] Index vocab_size() const { return vocab_size_; }
    /// Numbers of a hidden state.
    [[nodiscard]] Index hidden_size() const { return hidden_size_; }

    /// Z (B, vocab) = H (B, hidden) W^T. 2 B vocab hidden flops. Throws ShapeError.
    void logits(MatrixView<const T> H, MatrixView<T> Z, const EigenBackend& backend) const {
        if (packed_)
            backend.gemm_right(H, forth_, T{0}, Z);
        else
            backend.gemm(T{1}, H, transpose(W_), T{0}, Z);
    }
    /// dH (B, hidden) = dZ (B, vocab) W. 2 B vocab hidden flops. Throws ShapeError.
    void gradient(MatrixView<const T> dZ, MatrixView<T> dH, const EigenBackend& backend) const {
        if (packed_)
            backend.gemm_right(dZ, back_, T{0}, dH);
        else
            backend.gemm(T{1}, dZ, W_, T{0}, dH);
    }

  private:
    Index vocab_size_ = 0, hidden_size_ = 0;
    MatrixView<const T> W_ = {};
    EigenBackend::Operand<T> forth_, back_;
    bool packed_ = false;
};

/// What head_loss compares with, position by position.
struct HeadTargets {
    std::span<const Index> next = {};     // the following token; may be empty where alpha = 1
    std::span<const float> weights = {};  // of a position's loss, 0 leaves it out; empty: all 1
    TeacherTargets teacher = {};          // may have no positions where alpha = 0
};

/// How the loss is mixed.
struct HeadLossOptions {
    double alpha = 0;  // share of the divergence, 0 to 1; the rest is cross-entropy
    double scale = 1;  // of the gradients: 1 / weight of the whole batch makes them those of a mean
    Index max_workspace_bytes = Index{1} << 26;  // of logits; one position has its own in any case
};

/// Sums over positions, weights included.
struct HeadLossSums {
    double divergence = 0;     // sum of w D, in nats; 0 without a teacher
    double cross_entropy = 0;  // sum of w C, in nats; 0 without next tokens
    double weight = 0;         // sum of w
    Index positions = 0;       // with w > 0
    Index agreements = 0;      // of these, where the teacher's first id has the largest logit
    Index hits = 0;            // of these, where the next token has it

    /// sum of w (alpha D + (1 - alpha) C).
    [[nodiscard]] double loss(double alpha) const {
        return alpha * divergence + (1 - alpha) * cross_entropy;
    }
    /// Adds those of other positions.
    HeadLossSums& operator+=(const HeadLossSums& other);
};

namespace detail {

void require_mix(const HeadTargets& targets, const HeadLossOptions& options);

/// The sizes of the lists.
void require_lists(const HeadTargets& targets, Index positions, Index vocab);

/// The values at one position of what is not left out.
void require_position(const RowTargets& targets, Index at, Index vocab, double alpha);

template <class T>
void require_finite_rows(MatrixView<const T> hidden) {
    parallel_for(0, hidden.rows, 16, [&](Index first, Index last) {
        for (Index t = first; t < last; ++t)
            for (Index i = 0; i < hidden.cols; ++i)
                if (const T h = hidden.data[t * hidden.row_stride + i * hidden.col_stride];
                    !std::isfinite(h))
                    raise<NumericalError>({"head_loss: the hidden state of position ", t, " holds ",
                                           h, " at element ", i});
    });
}

template <class T>
void require_head_shapes(const HeadWeight<T>& W, MatrixView<const T> hidden, MatrixView<T> dhidden,
                         MatrixView<T> dW) {
    const auto require = [&](const char* what, const auto& got, Index rows, Index cols) {
        if (got.rows != rows || got.cols != cols)
            raise<ShapeError>({"head_loss: ", what, " must be ", rows, " x ", cols, " beside W ",
                               W.vocab_size(), " x ", W.hidden_size(), ", got ", got.rows, " x ",
                               got.cols});
    };
    require("hidden", hidden, hidden.rows, W.hidden_size());
    if (dhidden.data != nullptr) require("dhidden", dhidden, hidden.rows, W.hidden_size());
    if (dW.data == nullptr) return;
    require("dW", dW, W.vocab_size(), W.hidden_size());
    if (dhidden.data == nullptr) throw ArgumentError("head_loss: dW is wanted without dhidden");
}

/// Position `at` of all targets. Throws ArgumentError for a weight that is not >= 0.
[[nodiscard]] RowTargets row_targets(const HeadTargets& targets, Index at);

/// Losses of the positions first .. first + Z.rows - 1, whose logits Z become gradients.
template <class T>
[[nodiscard]] HeadLossSums losses_of_rows(MatrixView<T> Z, Index first, const HeadTargets& targets,
                                          const HeadLossOptions& options, bool gradient) {
    std::vector<RowLoss> rows(static_cast<std::size_t>(Z.rows));
    parallel_for(0, Z.rows, 1, [&](Index begin, Index end) {
        std::vector<double> kept(static_cast<std::size_t>(targets.teacher.top));
        for (Index k = begin; k < end; ++k) {
            T* z = Z.data + k * Z.row_stride;
            const auto row = row_targets(targets, first + k);
            if (row.weight == 0) {
                std::fill_n(z, Z.cols, T{0});
                continue;
            }
            RowOfLogits<T> logits(Z.cols, z, row, {kept.data(), static_cast<std::size_t>(row.top)});
            if (logits.repeated() >= 0)
                raise<ArgumentError>({"head_loss: the teacher's id ", logits.repeated(),
                                      " occurs twice at position ", first + k,
                                      ", or its logit is -inf"});
            auto& loss = rows[static_cast<std::size_t>(k)];
            loss = logits.loss();
            if (!logits.is_finite() || !std::isfinite(loss.divergence + loss.cross_entropy))
                raise<NumericalError>({"head_loss: the loss at position ", first + k, " is ",
                                       loss.divergence + loss.cross_entropy,
                                       ": its logits are not finite"});
            if (gradient) logits.differentiate(options.alpha, row.weight * options.scale);
        }
    });
    HeadLossSums sums;
    for (Index k = 0; k < Z.rows; ++k) {
        const double w = row_targets(targets, first + k).weight;
        const auto& row = rows[static_cast<std::size_t>(k)];
        if (w > 0) sums += {w * row.divergence, w * row.cross_entropy, w, 1, row.agrees, row.hits};
    }
    return sums;
}

}  // namespace detail

/// Loss of all positions and its gradients, for some positions at a time.
///
/// hidden      (positions, hidden), what the head reads
/// W           the head; vocab its tokens
/// targets     ids in 0 .. vocab - 1; what has weight 0 is not looked at. Masses of a teacher need not add up to 1
/// dhidden     (positions, hidden), overwritten by scale times the gradient of sum of w (alpha D + (1 - alpha) C), 0
///             where the weight is; may be `hidden` itself. No data: the loss alone
/// dW          (vocab, hidden), the same added to; no data: not wanted. It needs dhidden
/// error       logits in T, a probability to some eps(T) of itself times the size of its logit; sums in double
/// cost        6 positions vocab hidden flops, 4 without dW, 2 without dhidden, and one exponential a logit.
///             max_workspace_bytes, and the packing of products. The same bits for a thread count and a workspace
/// throws      ShapeError; ArgumentError (alpha, scale, a weight, an id out of range or twice); NumericalError, naming
///             the position, for hidden states, logits or targets that are not finite: gradients are
///             undefined then
template <class T>
HeadLossSums head_loss(std::type_identity_t<MatrixView<const T>> hidden, const HeadWeight<T>& W,
                       const HeadTargets& targets, const HeadLossOptions& options,
                       const EigenBackend& backend,
                       std::type_identity_t<MatrixView<T>> dhidden = {},
                       std::type_identity_t<MatrixView<T>> dW = {}) {
    const Index vocab = W.vocab_size(), positions = hidden.rows;
    const bool backward = dhidden.data != nullptr, trains = dW.data != nullptr;
    detail::require_head_shapes(W, hidden, dhidden, dW);
    detail::require_mix(targets, options);
    detail::require_lists(targets, positions, vocab);
    for (Index at = 0; at < positions; ++at)
        if (const auto row = detail::row_targets(targets, at); row.weight > 0)
            detail::require_position(row, at, vocab, options.alpha);
    detail::require_finite_rows<T>(hidden);
    HeadLossSums sums;
    if (positions == 0) return sums;
    const Index row_bytes = vocab * static_cast<Index>(sizeof(T));
    const Index fits = (std::max)(Index{1}, options.max_workspace_bytes / row_bytes);
    const Index chunks = (positions + fits - 1) / fits, rows = (positions + chunks - 1) / chunks;
    const auto memory = backend.allocate<T>((std::min)(rows, positions) * vocab);
    for (Index first = 0; first < positions; first += rows) {
        const Index n = (std::min)(rows, positions - first);
        const auto H = block(hidden, first, 0, n, hidden.cols);
        const auto Z = matrix(memory.data(), n, vocab);
        W.logits(H, Z, backend);
        sums += detail::losses_of_rows(Z, first, targets, options, backward);
        if (trains) backend.gemm(T{1}, transpose(Z), H, T{1}, dW);
        if (backward) W.gradient(Z, block(dhidden, first, 0, n, dhidden.cols), backend);
    }
    return sums;
}

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template class HeadWeight<float>;
extern template HeadLossSums head_loss<float>(MatrixView<const float>, const HeadWeight<float>&,
                                              const HeadTargets&, const HeadLossOptions&,
                                              const EigenBackend&, MatrixView<float>,
                                              MatrixView<float>);
}  // namespace mpo
#else
#include "mpo/model/head_loss_inl.hpp"
#endif

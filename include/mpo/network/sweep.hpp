// CoreSweep: an MPO applied core after core, Y (B, out) = X (B, in) W^T, and backwards for gradients.
//
// Right to left, before site k
//   S (b, I_<k, i_k D_k+1, O_>k)  ->  (b, I_<k, D_k o_k, O_>k):   one matrix, (D_k o_k, i_k D_k+1),
// times a batch of matrices (i_k D_k+1, O_>k); left to right is the mirror image
//   S (b, O_<k, D_k i_k, I_>k)    ->  (b, O_<k, o_k D_k+1, I_>k).
// Row-major order makes every step a strided batched product: nothing is ever permuted.
// Cost per token: multiply_adds_right_to_left / _left_to_right of network/layout.hpp.
// Source: Novikov et al., Tensorizing Neural Networks, NIPS 2015, section 4.
//
// Backwards a step C_i = M B_i gives, with G the gradient of C (see CoreSweep::gradient),
//   of B_i:  M^H G_i          of M:  sum over i of G_i B_i^H
// each as many multiply-adds as the step itself.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/network/layout.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo {

/// Which end of the chain meets the activations first.
enum class SweepDirection { automatic, right_to_left, left_to_right };

/// "right_to_left" for SweepDirection::right_to_left.
[[nodiscard]] std::string_view to_string(SweepDirection direction);

/// One product of a sweep, for one token.
struct SweepStep {
    Index repeats = 1;  // I_<k or O_<k: how often the core is applied within a token
    Index rows = 1;     // of the core as a matrix: what comes out
    Index inner = 1;    // contracted
    Index cols = 1;     // O_>k or I_>k: carried along
    /// Of one token.
    [[nodiscard]] Index multiply_adds() const { return repeats * rows * inner * cols; }
    /// Numbers that come out, for one token.
    [[nodiscard]] Index output_elements() const { return repeats * rows * cols; }
};

/// The steps of a sweep in the order in which they run.
[[nodiscard]] std::vector<SweepStep> sweep_steps(const Layout& layout, const Shape& bonds,
                                                 SweepDirection direction);

namespace detail {

/// How a batch is cut: tokens that one thread carries along at a time, and slices of the leading leg
/// where not even one token fits. The leading leg is the one that is contracted last (right to left) or
/// made first (left to right).
struct SweepCut {
    Index leg = 1, slice = 1, slices = 1;  // leading leg, its part per slice, how many
    Index chunk = 1;                       // tokens
    Index workers = 1;                     // threads that one call uses at most
};

/// What a thread needs of its workspace, in numbers for one token.
struct SweepNeed {
    Index fixed = 0;         // whatever the slice
    Index sliced = 0;        // with the whole leading leg
    Index per_extra = 0;     // for every worker, where there is more than one; whatever the tokens
    Index element_size = 4;  // bytes
};

/// What an apply, and a gradient, of these steps need.
[[nodiscard]] SweepNeed need_of_apply(const std::vector<SweepStep>& steps, Index element_size);
[[nodiscard]] SweepNeed need_of_gradient(const std::vector<SweepStep>& steps,
                                         SweepDirection direction, Index element_size);

/// Bytes of one token with `slice` of a leading leg of `leg`.
[[nodiscard]] Index bytes_of_slice(const SweepNeed& need, Index leg, Index slice);

/// Tokens per chunk of these steps such that what they need stays within bytes_of_chunk, at least one. Throws
/// ArgumentError where not even one slice of one token fits the limit.
[[nodiscard]] SweepCut cut_sweep(const std::vector<SweepStep>& steps, const SweepNeed& need,
                                 Index leg, Index batch, Index limit_bytes, Index concurrency,
                                 Index cached_bytes);

/// Bytes that the intermediates of a chunk may take: a cache, or a sixteenth of the factors where these are so large
/// that reading them for every chunk would cost more than intermediates which leave the cache.
[[nodiscard]] Index bytes_of_chunk(const std::vector<SweepStep>& steps, Index element_size,
                                   Index cached_bytes);

/// Tokens per chunk that give every worker as many, but no fewer than full_tokens: tiles would be padded, and
/// every worker would read all cores for little. Where only one worker had enough, all share his products.
[[nodiscard]] Index balanced_chunk(Index batch, Index workers, Index full_tokens);

/// Numbers that all matrices of the steps hold.
[[nodiscard]] Index num_parameters(const std::vector<SweepStep>& steps);

/// Tokens that fill the largest register tile in every step: its rows with a prepared right side, else its columns.
[[nodiscard]] Index tokens_of_full_tiles(const std::vector<SweepStep>& steps);

/// Step n of slice s: the part of the core that takes part, and how the batch looks.
struct SweepPart {
    SweepStep step;
    bool leading = false;
    Index begin = 0;  // where the slice begins on the leading leg
    Index width = 0;  // how much of it belongs to the slice
};

/// Intermediates come from a free list, so that apply is const, concurrent, and does not allocate after
/// its first calls.
template <class B, class T>
class WorkspaceList {
  public:
    /// A buffer of `elements` numbers for as long as it lives.
    class Loan {
      public:
        Loan(WorkspaceList& list, const B& backend, Index elements) : list_(list) {
            {
                const std::lock_guard lock(list_.mutex_);
                while (!list_.buffers_.empty()) {
                    buffer_ = std::move(list_.buffers_.back());
                    list_.buffers_.pop_back();
                    if (buffer_.size() >= elements) return;
                }
            }
            buffer_ = backend.template allocate<T>(elements);
        }
        ~Loan() {
            try {
                const std::lock_guard lock(list_.mutex_);
                list_.buffers_.push_back(std::move(buffer_));
            } catch (...) {  // no memory to remember it: it is released instead
            }
        }
        Loan(const Loan&) = delete;
        Loan& operator=(const Loan&) = delete;
        /// Where the buffer begins.
        [[nodiscard]] T* data() { return buffer_.data(); }

      private:
        WorkspaceList& list_;
        BufferOf<B, T> buffer_;
    };

  private:
    std::mutex mutex_;
    std::vector<BufferOf<B, T>> buffers_;
};

/// Cores in backend memory, packed for the products of one sweep. Movable; apply and gradient are const
/// and safe from many threads at once. The backend must outlive it.
template <Scalar T, BackendFor<T> B>
class CoreSweep {
  public:
    /// Intermediates of a whole batch that an apply left for its gradient: one array a step but the last.
    using Tape = std::vector<BufferOf<B, T>>;

    /// with_gradient: the cores are kept a second time, as the way back needs them.
    CoreSweep(const Mpo<T>& mpo, SweepDirection direction, Index batch, Index max_workspace_bytes,
              bool with_gradient, const B& backend);

    [[nodiscard]] const std::vector<SweepStep>& steps() const { return steps_; }
    [[nodiscard]] SweepDirection direction() const { return direction_; }
    [[nodiscard]] const SweepCut& cut() const { return cut_; }
    [[nodiscard]] Index workspace_elements() const { return workspace_elements_; }
    /// Numbers that a tape of one token holds.
    [[nodiscard]] Index tape_elements() const;

    /// Y (batch, out) = X (batch, in) W^T in backend memory; fills `tape`, if any. A sweep in slices
    /// leaves no tape.
    void apply(const T* X, T* Y, Index batch, Tape* tape) const;

    /// dX (batch, in) = dY conj(W), overwritten; returns the gradients of the cores, see
    /// gradient_of_core; batch >= 1. With L real, dY = dL/dRe Y + i dL/dIm Y, and the results alike.
    [[nodiscard]] BufferOf<B, T> gradient(const T* X, const T* dY, T* dX, Index batch,
                                          const Tape* tape) const;
    /// The part of what gradient() returned that belongs to core k of shape (D, o, i, D').
    [[nodiscard]] TensorView<const T> gradient_of_core(const T* gradient, Index k,
                                                       const Shape& core) const;
    [[nodiscard]] Index num_parameters() const;

  private:
    using Operands = std::vector<std::vector<OperandOf<B, T>>>;  // per step; slices of the leading

    /// Buffers and counters of one thread on its way back.
    struct Back {
        std::vector<const T*> between;  // S_1, .., from the tape or `own`
        std::vector<T*> own;            // where they are recomputed
        T* from = nullptr;              // gradients: two that take turns
        T* to = nullptr;
        T* permuted = nullptr;
        std::vector<T*> dM;  // where this thread adds up
        bool fresh = true;   // nothing was added yet: overwrite
    };

    [[nodiscard]] bool leftwards() const { return direction_ == SweepDirection::right_to_left; }
    void prepare(const Mpo<T>& mpo, bool with_gradient);
    [[nodiscard]] Index chunk_of(Index batch) const;
    [[nodiscard]] SweepPart part_of(std::size_t n, Index s, const SweepCut& cut) const;
    /// Part of the matrix of a step that a slice touches.
    [[nodiscard]] MatrixView<T> part_of_matrix(T* M, std::size_t n, const SweepPart& part,
                                               const SweepCut& cut) const;
    /// A prepared matrix times `count` items (inner, cols), which become (rows, cols).
    void multiply(const OperandOf<B, T>& operand, const T* from, Index inner, T beta, T* to,
                  Index rows, Index cols, Index count) const;
    void run_step(std::size_t n, Index s, const T* from, T* to, Index tokens,
                  const SweepCut& cut) const;
    void step_back(std::size_t n, Index s, const T* B_n, const T* G, T* dB, Index tokens,
                   Back& back) const;
    void add_core_gradient(const SweepPart& part, const T* B_n, const T* G, MatrixView<T> dM,
                           T beta, Index count, T* permuted) const;
    void chunk_back(const T* X, const T* dY, T* dX, Index tokens, bool recompute, Back& back) const;
    [[nodiscard]] Back make_back(T* workspace) const;

    const B* backend_;
    Index rows_, cols_;
    SweepDirection direction_;
    std::vector<SweepStep> steps_;
    Operands operands_;
    std::vector<OperandOf<B, T>> back_;  // conj(M) or M^H of every step, or of each of its slices
    SweepCut cut_, back_cut_;
    Index workspace_elements_ = 0;  // of the one or two intermediates that a thread holds
    Index second_ = 0;              // where the second of them begins
    Index back_elements_ = 0;
    std::unique_ptr<WorkspaceList<B, T>> free_ = std::make_unique<WorkspaceList<B, T>>();
    std::unique_ptr<WorkspaceList<B, T>> free_back_ = std::make_unique<WorkspaceList<B, T>>();
};

}  // namespace detail
}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/sweep_inl.hpp"
#endif
#include "mpo/network/sweep_body_inl.hpp"

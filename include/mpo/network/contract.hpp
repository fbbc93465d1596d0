// Plan: an MPO made ready to be applied, Y (B, out) = X (B, in) W^T, without forming W.
//
// A sweep contracts one core after another with the activations. Right to left, before site k
//   S (b, I_<k, i_k D_k+1, O_>k)  ->  (b, I_<k, D_k o_k, O_>k):   one matrix, (D_k o_k, i_k D_k+1),
// times a batch of matrices (i_k D_k+1, O_>k); left to right is the mirror image
//   S (b, O_<k, D_k i_k, I_>k)    ->  (b, O_<k, o_k D_k+1, I_>k).
// Row-major order makes every step a strided batched product: nothing is ever permuted.
// Cost per token: multiply_adds_right_to_left / _left_to_right of network/layout.hpp.
// Source: Novikov et al., Tensorizing Neural Networks, NIPS 2015, section 4.
#pragma once

#include <algorithm>
#include <limits>
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
[[nodiscard]] inline std::string_view to_string(SweepDirection direction) {
    constexpr std::string_view names[] = {"automatic", "right_to_left", "left_to_right"};
    return names[static_cast<int>(direction)];
}

/// What a plan is made for.
struct PlanOptions {
    Index batch = 1;                             // tokens expected in one call; any number works
    Index max_workspace_bytes = Index{1} << 26;  // intermediates of one apply, all threads together
    SweepDirection direction = SweepDirection::automatic;  // automatic: fewer multiply-adds
};

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
[[nodiscard]] inline std::vector<SweepStep> sweep_steps(const Layout& layout, const Shape& bonds,
                                                        SweepDirection direction) {
    const auto sites = layout.out.size();
    std::vector<SweepStep> steps;
    for (std::size_t n = 0; n < sites; ++n) {
        const bool leftwards = direction == SweepDirection::right_to_left;
        const std::size_t k = leftwards ? sites - 1 - n : n;
        SweepStep step;
        for (std::size_t j = 0; j < sites; ++j) {
            if (j < k) step.repeats *= leftwards ? layout.in[j] : layout.out[j];
            if (j > k) step.cols *= leftwards ? layout.out[j] : layout.in[j];
        }
        step.rows = layout.out[k] * (leftwards ? bonds[k] : bonds[k + 1]);
        step.inner = layout.in[k] * (leftwards ? bonds[k + 1] : bonds[k]);
        steps.push_back(step);
    }
    return steps;
}

/// An MPO with its cores in backend memory, packed for the products of one sweep. Movable; apply is
/// const and safe from many threads at once. The backend must outlive the plan.
template <Scalar T, BackendFor<T> B>
class Plan {
  public:
    /// See make_plan.
    Plan(const Mpo<T>& mpo, const PlanOptions& options, const B& backend);

    /// Length of an output: rows of W.
    [[nodiscard]] Index rows() const { return rows_; }
    /// Length of an input: columns of W.
    [[nodiscard]] Index cols() const { return cols_; }
    /// The direction that was chosen; never automatic.
    [[nodiscard]] SweepDirection direction() const { return direction_; }
    /// One step per core, in the order in which they run.
    [[nodiscard]] const std::vector<SweepStep>& steps() const { return steps_; }
    /// Sum over the steps.
    [[nodiscard]] Index multiply_adds_per_token() const {
        Index sum = 0;
        for (const auto& step : steps_) sum += step.multiply_adds();
        return sum;
    }
    /// Intermediates that one thread holds during apply.
    [[nodiscard]] Index workspace_bytes_per_thread() const {
        return workspace_elements_ * static_cast<Index>(sizeof(T));
    }
    /// Threads that one apply uses at most; times workspace_bytes_per_thread, at most the limit.
    [[nodiscard]] Index max_workers() const { return most_workers_; }
    /// Tokens that one thread carries through the sweep at a time.
    [[nodiscard]] Index chunk_tokens() const { return chunk_; }

    /// Y (B, out) = X (B, in) W^T on the host.
    ///
    /// X, Y     row-major without gaps (a column-major (in, B) matrix is the same thing)
    /// cost     B * multiply_adds_per_token(); on a device also the transfer of X and Y
    /// throws   ShapeError (extents), ArgumentError (gaps: the copy would be silent)
    void apply(const TensorView<const T>& X, const TensorView<T>& Y) const;
    /// The same for tensors.
    void apply(const Tensor<T>& X, Tensor<T>& Y) const { apply(X.view(), Y.view()); }

    /// The same where X (batch, in) and Y (batch, out) already lie in backend memory, row-major.
    void apply_resident(const T* X, T* Y, Index batch) const;

  private:
    /// Intermediates come from a free list, so that apply is const, concurrent, and does not
    /// allocate after its first calls.
    struct FreeList {
        std::mutex mutex;
        std::vector<BufferOf<B, T>> buffers;
    };
    struct Loan {
        explicit Loan(const Plan& plan) : list(*plan.free_) {
            {
                const std::lock_guard lock(list.mutex);
                if (!list.buffers.empty()) {
                    buffer = std::move(list.buffers.back());
                    list.buffers.pop_back();
                    return;
                }
            }
            buffer = plan.backend_->template allocate<T>(plan.workspace_elements_);
        }
        ~Loan() {
            try {
                const std::lock_guard lock(list.mutex);
                list.buffers.push_back(std::move(buffer));
            } catch (...) {  // no memory to remember it: it is released instead
            }
        }
        Loan(const Loan&) = delete;
        Loan& operator=(const Loan&) = delete;
        FreeList& list;
        BufferOf<B, T> buffer;
    };

    /// The leg over which a single token can be sliced: contracted last (right to left), or made
    /// first (left to right).
    [[nodiscard]] Index leading_leg(const Layout& layout) const {
        return direction_ == SweepDirection::right_to_left ? layout.in.front() : layout.out.front();
    }

    /// Tokens per chunk such that the intermediates fit half an L2 cache of 1 MiB, at least one,
    /// and slices of the leading leg where one token exceeds the workspace.
    void choose_chunk(const PlanOptions& options, Index leg);

    /// Core k as the matrix of its step; the leading core in one piece per slice.
    void prepare(const Mpo<T>& mpo);

    /// All steps for `tokens` tokens, slice by slice of the leading leg. Right to left a slice adds
    /// to Y; left to right it makes rows of Y of its own.
    void sweep(const T* X, T* Y, Index tokens, T* workspace) const;

    void run_step(std::size_t n, Index s, const T* from, T* to, Index tokens) const;

    const B* backend_;
    Index rows_, cols_;
    SweepDirection direction_;
    std::vector<SweepStep> steps_;
    std::vector<std::vector<OperandOf<B, T>>>
        operands_;                            // per step; per slice for the leading core
    Index leg_ = 1, slice_ = 1, slices_ = 1;  // leading leg, its part per slice, how many
    Index chunk_ = 1;
    Index most_workers_ = 1;
    Index workspace_elements_ = 0;  // of the one or two intermediates that a thread holds
    Index second_ = 0;              // where the second of them begins
    std::unique_ptr<FreeList> free_ = std::make_unique<FreeList>();
};

template <Scalar T, BackendFor<T> B>
Plan<T, B>::Plan(const Mpo<T>& mpo, const PlanOptions& options, const B& backend)
    : backend_(&backend), rows_(mpo.rows()), cols_(mpo.cols()), direction_(options.direction) {
    if (options.batch < 1)
        throw ArgumentError(
            detail::concat("make_plan: batch must be at least 1, got ", options.batch));
    const Layout layout = mpo.layout();
    const Shape bonds = mpo.bond_dims();
    if (direction_ == SweepDirection::automatic)
        direction_ =
            multiply_adds_left_to_right(layout, bonds) < multiply_adds_right_to_left(layout, bonds)
                ? SweepDirection::left_to_right
                : SweepDirection::right_to_left;
    steps_ = sweep_steps(layout, bonds, direction_);
    choose_chunk(options, leading_leg(layout));
    prepare(mpo);
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::apply(const TensorView<const T>& X, const TensorView<T>& Y) const {
    if (X.rank() != 2 || Y.rank() != 2 || X.extent(1) != cols_ || Y.extent(1) != rows_ ||
        X.extent(0) != Y.extent(0))
        throw ShapeError(detail::concat("Plan::apply: need X (B, ", cols_, ") and Y (B, ", rows_,
                                        "), got X ", to_string(X.shape), " and Y ",
                                        to_string(Y.shape)));
    if (!X.is_contiguous() || !Y.is_contiguous())
        throw ArgumentError(
            detail::concat("Plan::apply: X and Y must be row-major without gaps, got strides (",
                           to_string(X.strides), ") and (", to_string(Y.strides), ")"));
    const Index batch = X.extent(0);
    if constexpr (B::memory_is_host) {
        apply_resident(X.data, Y.data, batch);
    } else {
        auto x = backend_->template allocate<T>(X.size());
        auto y = backend_->template allocate<T>(Y.size());
        backend_->template upload<T>(X, x.data());
        apply_resident(x.data(), y.data(), batch);
        backend_->download(y.data(), Y);
    }
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::apply_resident(const T* X, T* Y, Index batch) const {
    const Index chunks = (batch + chunk_ - 1) / chunk_;
    const Index workers = std::min<Index>({chunks, backend_->concurrency(), most_workers_});
    const auto work = [&](Index first, Index last) {
        const Loan loan(*this);
        for (Index c = first; c < last; ++c) {
            const Index begin = c * chunk_, tokens = (std::min)(chunk_, batch - begin);
            sweep(X + begin * cols_, Y + begin * rows_, tokens, loan.buffer.data());
        }
    };
    if (workers > 1)
        parallel_for(0, chunks, (chunks + workers - 1) / workers, work);
    else if (chunks > 0)
        work(0, chunks);
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::choose_chunk(const PlanOptions& options, Index leg) {
    constexpr Index cache_bytes = Index{1} << 19;
    const auto size = static_cast<Index>(sizeof(T));
    Index largest = 0;
    for (std::size_t n = 0; n + 1 < steps_.size(); ++n)
        largest = (std::max)(largest, steps_[n].output_elements());
    const Index buffers = steps_.size() > 2 ? 2 : 1;
    const auto bytes = [&](Index elements) { return buffers * elements * size; };
    slices_ = 1;
    while (slices_ < leg &&
           bytes(largest / leg * ((leg + slices_ - 1) / slices_)) > options.max_workspace_bytes)
        ++slices_;
    slice_ = (leg + slices_ - 1) / slices_;
    slices_ = (leg + slice_ - 1) / slice_;
    const Index one = largest / leg * slice_;
    if (bytes(one) > options.max_workspace_bytes)
        throw ArgumentError(
            detail::concat("make_plan: max_workspace_bytes = ", options.max_workspace_bytes,
                           " is too small, one slice of one token needs ", bytes(one)));
    const Index workers = std::max<Index>(1, backend_->concurrency());
    most_workers_ =
        one == 0 ? workers : (std::min)(workers, options.max_workspace_bytes / bytes(one));
    chunk_ = (options.batch + workers - 1) / workers;
    if (slices_ > 1) chunk_ = 1;
    if (one > 0)
        chunk_ = std::clamp<Index>(
            (std::min)(cache_bytes, options.max_workspace_bytes / most_workers_) / bytes(one), 1,
            std::max<Index>(1, std::min<Index>(chunk_, 1024)));
    workspace_elements_ = buffers * one * chunk_;
    second_ = (buffers - 1) * one * chunk_;
    leg_ = leg;
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::prepare(const Mpo<T>& mpo) {
    const bool leftwards = direction_ == SweepDirection::right_to_left;
    const Index sites = mpo.num_sites();
    for (Index n = 0; n < sites; ++n) {
        const Tensor<T>& core = mpo.core(leftwards ? sites - 1 - n : n);  // (D, o, i, D')
        const auto& step = steps_[static_cast<std::size_t>(n)];
        auto values = backend_->template allocate<T>(core.size());
        const TensorView<const T> view(core.data(), core.shape());
        backend_->template upload<T>(leftwards ? view : permuted(view, {1, 3, 0, 2}),
                                     values.data());
        const auto matrix_of_core = matrix<const T>(values.data(), step.rows, step.inner);
        const bool leading = n == (leftwards ? sites - 1 : 0);
        operands_.emplace_back();
        for (Index begin = 0; begin < (leading ? leg_ : 1); begin += leading ? slice_ : 1) {
            auto part = matrix_of_core;
            if (leading) {
                const Index width = (std::min)(slice_, leg_ - begin);
                const Index unit = (leftwards ? step.inner : step.rows) / leg_;
                part = leftwards ? block(part, 0, begin * unit, step.rows, width * unit)
                                 : block(part, begin * unit, 0, width * unit, step.inner);
            }
            operands_.back().push_back(step.cols == 1
                                           ? backend_->prepare(Side::right, transpose(part))
                                           : backend_->prepare(Side::left, part));
        }
    }
    backend_->synchronize();
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::sweep(const T* X, T* Y, Index tokens, T* workspace) const {
    for (Index s = 0; s < slices_; ++s) {
        const T* from = X;
        for (std::size_t n = 0; n < steps_.size(); ++n) {
            const bool last = n + 1 == steps_.size();
            T* to = last ? Y : workspace + (n % 2 == 0 ? 0 : second_);
            run_step(n, s, from, to, tokens);
            from = to;
        }
    }
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::run_step(std::size_t n, Index s, const T* from, T* to, Index tokens) const {
    SweepStep step = steps_[n];
    const bool leftwards = direction_ == SweepDirection::right_to_left;
    const bool leading = n == (leftwards ? steps_.size() - 1 : 0);
    const Index begin = s * slice_, width = (std::min)(slice_, leg_ - begin);
    T beta{0};
    if (leading && leftwards) {  // contracts this slice of i_1
        step.inner = step.inner / leg_ * width;
        beta = s == 0 ? T{0} : T{1};
    } else if (leading) {  // makes this slice of o_1
        step.rows = step.rows / leg_ * width;
    } else {
        step.repeats = step.repeats / leg_ * width;
    }
    // with slices there is one token at a time: its slice begins further on in X, or in Y
    if (leftwards && n == 0) from += begin * (cols_ / leg_);
    if (!leftwards && n + 1 == steps_.size()) to += begin * (rows_ / leg_);
    const Index count = tokens * step.repeats;
    const auto& operand = operands_[n][static_cast<std::size_t>(leading ? s : 0)];
    if (step.cols == 1)
        backend_->gemm_right(matrix<const T>(from, count, step.inner), operand, beta,
                             matrix(to, count, step.rows));
    else
        backend_->gemm_left(
            operand,
            BatchView<const T>{matrix<const T>(from, step.inner, step.cols),
                               step.inner * step.cols},
            beta, BatchView<T>{matrix(to, step.rows, step.cols), step.rows * step.cols}, count);
}

/// Makes an MPO ready to be applied: moves and packs its cores, chooses the direction and the
/// chunk. Throws ArgumentError (batch below 1, a workspace that holds not even one slice of a
/// token).
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Plan<T, B> make_plan(const Mpo<T>& mpo, const PlanOptions& options,
                                   const B& backend) {
    return Plan<T, B>(mpo, options, backend);
}
/// The plan keeps a pointer to its backend: a temporary one is refused at compile time.
template <Scalar T, BackendFor<T> B>
Plan<T, B> make_plan(const Mpo<T>& mpo, const PlanOptions& options, const B&& backend) = delete;

}  // namespace mpo

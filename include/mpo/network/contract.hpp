// Plan: an MPO made ready to be applied, Y (B, out) = X (B, in) W^T, in the way that is fastest for the
// batch, and to give the gradients of its input and of its cores. The ways: network/plan_cost.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/stopwatch.hpp"
#include "mpo/network/algebra.hpp"
#include "mpo/network/plan_cost.hpp"
#include "mpo/network/sweep.hpp"
#include "mpo/network/tile_gradient.hpp"
#include "mpo/network/tiles.hpp"

namespace mpo {

/// Whether a plan may make W once and keep it.
enum class DenseCache { forbid, allow };

/// What a plan is made for.
struct PlanOptions {
    Index batch = 1;  // tokens expected in one call; any number works
    /// Intermediates of one apply, all threads together, and what merged cores take more than the cores.
    Index max_workspace_bytes = Index{1} << 26;
    SweepDirection direction = SweepDirection::automatic;  // otherwise: this sweep and nothing else
    bool with_gradient = false;  // for Plan::gradient, which the choice then prices, too
    DenseCache dense_cache = DenseCache::forbid;  // allow: W itself where it is faster
    const MachineTable* machine = nullptr;        // rates; nullptr: default_machine_table()
    bool autotune = false;                        // makes the two best plans and times them
};

/// An MPO with its factors in backend memory, packed for its products. Movable; apply is const and safe
/// from many threads at once. The backend must outlive the plan.
template <Scalar T, BackendFor<T> B>
class Plan {
  public:
    /// See make_plan. `candidates`: of plan_candidates; the first one is taken.
    Plan(const Mpo<T>& mpo, std::vector<PlanCandidate> candidates, const PlanOptions& options,
         const B& backend);
    /// Moves the factors; what was moved from can only be destroyed or assigned to.
    Plan(Plan&& other) noexcept;
    /// The same.
    Plan& operator=(Plan&& other) noexcept;
    /// Frees the factors.
    ~Plan();

    /// Length of an output: rows of W.
    [[nodiscard]] Index rows() const { return rows_; }
    /// Length of an input: columns of W.
    [[nodiscard]] Index cols() const { return cols_; }
    /// The way that was chosen, with its price.
    [[nodiscard]] const PlanCandidate& choice() const { return candidates_.front(); }
    /// All ways that were considered, the chosen one first.
    [[nodiscard]] const std::vector<PlanCandidate>& candidates() const { return candidates_; }
    /// The candidates in words: what each costs, what ruled it out, what the dense matrix would cost, and
    /// which layout of as many parameters would be faster.
    [[nodiscard]] std::string explain() const {
        return explain_candidates(candidates_, layout_, bonds_, question_, table_);
    }
    /// The direction of the sweep; never automatic.
    [[nodiscard]] SweepDirection direction() const { return choice().direction; }
    /// One step per factor, in the order in which they run; none where tiles were chosen.
    [[nodiscard]] const std::vector<SweepStep>& steps() const { return steps_; }
    /// Sum over the steps; of tiles their making too, shared out over the batch.
    [[nodiscard]] Index multiply_adds_per_token() const {
        return static_cast<Index>(std::llround(choice().multiply_adds));
    }
    /// Intermediates that one thread holds during apply.
    [[nodiscard]] Index workspace_bytes_per_thread() const {
        return (sweep_ ? sweep_->workspace_elements() : tiles_->cut().elements) *
               static_cast<Index>(sizeof(T));
    }
    /// Threads that one apply uses at most; times workspace_bytes_per_thread, at most the limit.
    [[nodiscard]] Index max_workers() const {
        return sweep_ ? sweep_->cut().workers : tiles_->cut().workers;
    }
    /// Tokens that one thread carries through a sweep at a time; tiles carry the whole batch.
    [[nodiscard]] Index chunk_tokens() const {
        return sweep_ ? sweep_->cut().chunk : question_.batch;
    }

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

    /// Intermediates of one apply, kept for its gradient: the way back then needs no second way forth.
    class Tape {
      private:
        friend class Plan;
        typename detail::CoreSweep<T, B>::Tape between_;
        Index batch_ = -1;
    };
    /// As apply; the intermediates are kept in `tape` where max_workspace_bytes holds them, and not
    /// otherwise.
    void apply(const Tensor<T>& X, Tensor<T>& Y, Tape& tape) const;

    /// Gradients of a real loss L with respect to the input and to every core.
    ///
    /// X, dY    (B, in), (B, out); dY = dL/dRe Y + i dL/dIm Y, the results alike
    /// dX       (B, in), overwritten: dY conj(W)
    /// dcores   dcores[k] has the shape of core k and is added to: of dW = dY^T conj(X) what the core
    ///          takes part in
    /// tape     of the apply to the same X, or nullptr
    /// cost     of a sweep 2 B multiply_adds_per_token() with a tape that holds something; else the way forth
    ///          without its last step besides. By way of W: out in (2 B + 3 D), D the bond that is cut
    /// throws   ShapeError (extents), ArgumentError (a plan made without with_gradient)
    void gradient(const Tensor<T>& X, const Tensor<T>& dY, Tensor<T>& dX,
                  std::vector<Tensor<T>>& dcores, const Tape* tape = nullptr) const;

  private:
    void check(const TensorView<const T>& X, const TensorView<const T>& Y, const char* who) const;
    /// Calls run(x, y) with both in backend memory; y is downloaded where memory is not the host's.
    template <class Run>
    void run_on_host(const TensorView<const T>& X, const TensorView<T>& Y, const Run& run) const;
    /// sum += the numbers at `from` in backend memory.
    void add_on_host(const T* from, Tensor<T>& sum) const;

    const B* backend_;
    Index rows_, cols_;
    Layout layout_;
    Shape bonds_;
    PlanQuestion question_;
    MachineTable table_;
    std::vector<PlanCandidate> candidates_;
    std::vector<SweepStep> steps_;
    std::vector<Shape> cores_;                                 // shapes, where gradients are wanted
    std::optional<detail::CoreSweep<T, B>> sweep_;             // this one
    std::optional<detail::Tiles<T, B>> tiles_;                 // or that one
    std::optional<detail::TileGradient<T, B>> tile_gradient_;  // of tiles
};

namespace detail {

/// What the options ask of plan_candidates.
[[nodiscard]] PlanQuestion question_of(const PlanOptions& options, Index element_size);

/// The candidates of a question; throws ArgumentError where none is admissible.
[[nodiscard]] std::vector<PlanCandidate> admissible_candidates(const Layout& layout,
                                                               const Shape& bonds,
                                                               const PlanQuestion& question,
                                                               const MachineTable& table);

/// The table of the options, for as many threads as the backend has.
[[nodiscard]] MachineTable table_of(const PlanOptions& options, int threads);

}  // namespace detail

template <Scalar T, BackendFor<T> B>
Plan<T, B>::Plan(const Mpo<T>& mpo, std::vector<PlanCandidate> candidates,
                 const PlanOptions& options, const B& backend)
    : backend_(&backend),
      rows_(mpo.rows()),
      cols_(mpo.cols()),
      layout_(mpo.layout()),
      bonds_(mpo.bond_dims()),
      question_(detail::question_of(options, static_cast<Index>(sizeof(T)))),
      table_(detail::table_of(options, backend.concurrency())),
      candidates_(std::move(candidates)) {
    const auto& groups = choice().groups;
    const Index limit = options.max_workspace_bytes - choice().added_bytes;
    if (choice().form == PlanForm::tiles) {
        tiles_.emplace(mpo, groups.front(), limit, backend);
        if (options.with_gradient) tile_gradient_.emplace(mpo, groups.front(), limit, backend);
    } else {
        const bool merged = static_cast<Index>(groups.size()) < mpo.num_sites();
        sweep_.emplace(merged ? merge_sites(mpo, groups, backend) : mpo, choice().direction,
                       options.batch, limit, options.with_gradient, backend);
        steps_ = sweep_->steps();
    }
    for (Index k = 0; options.with_gradient && k < mpo.num_sites(); ++k)
        cores_.push_back(mpo.core(k).shape());
}

// defined here, so that mpo::compiled has them once
template <Scalar T, BackendFor<T> B>
Plan<T, B>::Plan(Plan&& other) noexcept = default;
template <Scalar T, BackendFor<T> B>
Plan<T, B>& Plan<T, B>::operator=(Plan&& other) noexcept = default;
template <Scalar T, BackendFor<T> B>
Plan<T, B>::~Plan() = default;

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::check(const TensorView<const T>& X, const TensorView<const T>& Y,
                       const char* who) const {
    if (X.rank() != 2 || Y.rank() != 2 || X.extent(1) != cols_ || Y.extent(1) != rows_ ||
        X.extent(0) != Y.extent(0))
        detail::raise<ShapeError>({who, ": need X (B, ", cols_, ") and Y (B, ", rows_, "), got X ",
                                   to_string(X.shape), " and Y ", to_string(Y.shape)});
    if (!X.is_contiguous() || !Y.is_contiguous())
        detail::raise<ArgumentError>({who,
                                      ": X and Y must be row-major without gaps, got strides (",
                                      to_string(X.strides), ") and (", to_string(Y.strides), ")"});
}

template <Scalar T, BackendFor<T> B>
template <class Run>
void Plan<T, B>::run_on_host(const TensorView<const T>& X, const TensorView<T>& Y,
                             const Run& run) const {
    if constexpr (B::memory_is_host) {
        run(X.data, Y.data);
    } else {
        auto x = backend_->template allocate<T>(X.size());
        auto y = backend_->template allocate<T>(Y.size());
        backend_->template upload<T>(X, x.data());
        run(x.data(), y.data());
        backend_->download(y.data(), Y);
    }
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::apply(const TensorView<const T>& X, const TensorView<T>& Y) const {
    check(X, Y, "Plan::apply");
    run_on_host(X, Y, [&](const T* x, T* y) { apply_resident(x, y, X.extent(0)); });
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::apply_resident(const T* X, T* Y, Index batch) const {
    if (sweep_)
        sweep_->apply(X, Y, batch, nullptr);
    else
        tiles_->apply(X, Y, batch);
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::apply(const Tensor<T>& X, Tensor<T>& Y, Tape& tape) const {
    check(X.view(), Y.view(), "Plan::apply");
    const Index batch = X.extent(0);
    const Index most = question_.max_workspace_bytes / question_.element_size;
    const Index one = sweep_ ? sweep_->tape_elements() : 0;
    tape.batch_ = batch;
    tape.between_.clear();
    run_on_host(X.view(), Y.view(), [&](const T* x, T* y) {
        if (one > 0 && batch <= most / one)
            sweep_->apply(x, y, batch, &tape.between_);
        else
            apply_resident(x, y, batch);
    });
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::gradient(const Tensor<T>& X, const Tensor<T>& dY, Tensor<T>& dX,
                          std::vector<Tensor<T>>& dcores, const Tape* tape) const {
    if (cores_.empty())
        throw ArgumentError("Plan::gradient: the plan was made without with_gradient = true");
    check(X.view(), dY.view(), "Plan::gradient");
    bool fits = dX.shape() == X.shape() && dcores.size() == cores_.size();
    for (std::size_t k = 0; fits && k < cores_.size(); ++k) fits = dcores[k].shape() == cores_[k];
    if (!fits)
        detail::raise<ShapeError>({"Plan::gradient: dX must be ", to_string(X.shape()), ", got ",
                                   to_string(dX.shape()), ", and dcores be ", cores_.size(),
                                   " tensors of the shapes of the cores, got ", dcores.size()});
    const Index batch = X.extent(0);
    if (tape != nullptr && tape->batch_ != batch)
        detail::raise<ArgumentError>(
            {"Plan::gradient: the tape is of ", tape->batch_, " tokens, X has ", batch});
    if (batch == 0) return;
    auto dy = backend_->template allocate<T>(B::memory_is_host ? 0 : dY.size());
    if constexpr (!B::memory_is_host) backend_->template upload<T>(dY.view(), dy.data());
    const T* dy_data = B::memory_is_host ? dY.data() : dy.data();
    run_on_host(X.view(), dX.view(), [&](const T* x, T* dx) {
        if (tile_gradient_) {
            const auto gradients = tile_gradient_->run(x, dy_data, dx, batch);
            for (std::size_t k = 0; k < cores_.size(); ++k)
                add_on_host(gradients[k].data(), dcores[k]);
            return;
        }
        const auto gradient =
            sweep_->gradient(x, dy_data, dx, batch, tape != nullptr ? &tape->between_ : nullptr);
        for (std::size_t k = 0; k < cores_.size(); ++k) {
            const auto part =
                sweep_->gradient_of_core(gradient.data(), static_cast<Index>(k), cores_[k]);
            auto ordered = backend_->template allocate<T>(part.size());
            backend_->template permute<T>(part, ordered.data());
            add_on_host(ordered.data(), dcores[k]);
        }
    });
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::add_on_host(const T* from, Tensor<T>& sum) const {
    Tensor<T> part(sum.shape());
    backend_->download(from, part.view());
    for (Index i = 0; i < part.size(); ++i) sum.data()[i] += part.data()[i];
}

/// Makes an MPO ready to be applied: prices every way (see plan_candidates), takes the fastest one that
/// the options admit, moves and packs its factors.
///
/// cost     some 50 us for two sites, besides packing; with autotune two plans and three applies of each
/// throws   ArgumentError (batch below 1, a workspace that holds not even one slice of a token)
template <Scalar T, BackendFor<T> B>
[[nodiscard]] Plan<T, B> make_plan(const Mpo<T>& mpo, const PlanOptions& options,
                                   const B& backend) {
    auto candidates = detail::admissible_candidates(
        mpo.layout(), mpo.bond_dims(), detail::question_of(options, static_cast<Index>(sizeof(T))),
        detail::table_of(options, backend.concurrency()));
    Plan<T, B> best(mpo, candidates, options, backend);
    if (!options.autotune || candidates.size() < 2 || !candidates[1].admissible) return best;
    std::swap(candidates[0], candidates[1]);
    Plan<T, B> second(mpo, std::move(candidates), options, backend);
    const Tensor<T> X({options.batch, mpo.cols()});
    Tensor<T> Y({options.batch, mpo.rows()});
    const auto seconds = [&](const Plan<T, B>& plan) {
        plan.apply(X, Y);
        return detail::least_seconds(3, [&] { plan.apply(X, Y); });
    };
    return seconds(second) < seconds(best) ? std::move(second) : std::move(best);
}
/// The plan keeps a pointer to its backend: a temporary one is refused at compile time.
template <Scalar T, BackendFor<T> B>
Plan<T, B> make_plan(const Mpo<T>& mpo, const PlanOptions& options, const B&& backend) = delete;

/// Plans of one MPO for several batches. Movable; apply is const and safe from many threads at once.
template <Scalar T, BackendFor<T> B>
class PlanSet {
  public:
    /// One plan for every batch that needs another way; `options.batch` does not matter. Throws as
    /// make_plan, and ArgumentError without batches.
    PlanSet(const Mpo<T>& mpo, std::vector<Index> batches, PlanOptions options, const B& backend) {
        if (batches.empty()) throw ArgumentError("PlanSet: need at least one batch");
        std::sort(batches.begin(), batches.end(), std::greater<>());
        for (const Index batch :
             batches) {  // the plan of a larger batch serves a smaller one alike
            options.batch = batch;
            auto plan = make_plan(mpo, options, backend);
            const bool same = !plans_.empty() &&
                              plans_.back().choice().form == plan.choice().form &&
                              plans_.back().choice().groups == plan.choice().groups &&
                              plans_.back().direction() == plan.direction();
            if (!same) plans_.push_back(std::move(plan));
            smallest_.resize(plans_.size());
            smallest_.back() = batch;
        }
    }

    /// The plan that an apply to `batch` tokens takes: that of the largest batch planned for which is not
    /// above it, or of the smallest.
    [[nodiscard]] const Plan<T, B>& plan_for(Index batch) const {
        for (std::size_t k = 0; k < plans_.size(); ++k)
            if (batch >= smallest_[k]) return plans_[k];
        return plans_.back();
    }
    /// How many plans there are.
    [[nodiscard]] Index size() const { return static_cast<Index>(plans_.size()); }
    /// As Plan::apply, with the plan for this batch.
    void apply(const Tensor<T>& X, Tensor<T>& Y) const { plan_for(X.extent(0)).apply(X, Y); }

  private:
    std::vector<Plan<T, B>> plans_;  // largest batch first
    std::vector<Index> smallest_;    // batch that each was made for
};

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/network/contract_inl.hpp"
#endif

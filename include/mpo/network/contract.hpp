// Plan: an MPO made ready to be applied, Y (B, out) = X (B, in) W^T, without forming W, and to give the
// gradients of its input and of its cores. How: network/sweep.hpp.
#pragma once

#include <algorithm>
#include <vector>

#include "mpo/network/sweep.hpp"

namespace mpo {

/// What a plan is made for.
struct PlanOptions {
    Index batch = 1;                             // tokens expected in one call; any number works
    Index max_workspace_bytes = Index{1} << 26;  // intermediates of one apply, all threads together
    SweepDirection direction = SweepDirection::automatic;  // automatic: fewer multiply-adds
    bool with_gradient = false;  // keeps the cores a second time, for Plan::gradient
};

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
    [[nodiscard]] SweepDirection direction() const { return sweep_.direction(); }
    /// One step per core, in the order in which they run.
    [[nodiscard]] const std::vector<SweepStep>& steps() const { return sweep_.steps(); }
    /// Sum over the steps.
    [[nodiscard]] Index multiply_adds_per_token() const {
        Index sum = 0;
        for (const auto& step : sweep_.steps()) sum += step.multiply_adds();
        return sum;
    }
    /// Intermediates that one thread holds during apply.
    [[nodiscard]] Index workspace_bytes_per_thread() const {
        return sweep_.workspace_elements() * static_cast<Index>(sizeof(T));
    }
    /// Threads that one apply uses at most; times workspace_bytes_per_thread, at most the limit.
    [[nodiscard]] Index max_workers() const { return sweep_.cut().workers; }
    /// Tokens that one thread carries through the sweep at a time.
    [[nodiscard]] Index chunk_tokens() const { return sweep_.cut().chunk; }

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
    /// cost     2 B multiply_adds_per_token() with a tape that holds something; else the way forth
    ///          without its last step besides
    /// throws   ShapeError (extents), ArgumentError (a plan made without with_gradient)
    void gradient(const Tensor<T>& X, const Tensor<T>& dY, Tensor<T>& dX,
                  std::vector<Tensor<T>>& dcores, const Tape* tape = nullptr) const;

  private:
    void check(const TensorView<const T>& X, const TensorView<const T>& Y, const char* who) const;
    /// Calls run(x, y) with both in backend memory; y is downloaded where memory is not the host's.
    template <class Run>
    void run_on_host(const TensorView<const T>& X, const TensorView<T>& Y, const Run& run) const;

    const B* backend_;
    Index rows_, cols_;
    Index max_workspace_bytes_;
    std::vector<Shape> cores_;  // shapes, where gradients are wanted
    detail::CoreSweep<T, B> sweep_;
};

namespace detail {

/// The direction with fewer multiply-adds, unless one is asked for.
[[nodiscard]] SweepDirection choose_direction(const Layout& layout, const Shape& bonds,
                                              const PlanOptions& options);

}  // namespace detail

template <Scalar T, BackendFor<T> B>
Plan<T, B>::Plan(const Mpo<T>& mpo, const PlanOptions& options, const B& backend)
    : backend_(&backend),
      rows_(mpo.rows()),
      cols_(mpo.cols()),
      max_workspace_bytes_(options.max_workspace_bytes),
      sweep_(mpo, detail::choose_direction(mpo.layout(), mpo.bond_dims(), options), options.batch,
             options.max_workspace_bytes, options.with_gradient, backend) {
    for (Index k = 0; options.with_gradient && k < mpo.num_sites(); ++k)
        cores_.push_back(mpo.core(k).shape());
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::check(const TensorView<const T>& X, const TensorView<const T>& Y,
                       const char* who) const {
    if (X.rank() != 2 || Y.rank() != 2 || X.extent(1) != cols_ || Y.extent(1) != rows_ ||
        X.extent(0) != Y.extent(0))
        throw ShapeError(detail::concat(who, ": need X (B, ", cols_, ") and Y (B, ", rows_,
                                        "), got X ", to_string(X.shape), " and Y ",
                                        to_string(Y.shape)));
    if (!X.is_contiguous() || !Y.is_contiguous())
        throw ArgumentError(
            detail::concat(who, ": X and Y must be row-major without gaps, got strides (",
                           to_string(X.strides), ") and (", to_string(Y.strides), ")"));
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
    sweep_.apply(X, Y, batch, nullptr);
}

template <Scalar T, BackendFor<T> B>
void Plan<T, B>::apply(const Tensor<T>& X, Tensor<T>& Y, Tape& tape) const {
    check(X.view(), Y.view(), "Plan::apply");
    const Index batch = X.extent(0);
    const Index most = max_workspace_bytes_ / static_cast<Index>(sizeof(T));
    const Index one = sweep_.tape_elements();
    const bool kept = one == 0 || batch <= most / one;
    tape.batch_ = batch;
    tape.between_.clear();
    run_on_host(X.view(), Y.view(), [&](const T* x, T* y) {
        sweep_.apply(x, y, batch, kept ? &tape.between_ : nullptr);
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
        throw ShapeError(detail::concat("Plan::gradient: dX must be ", to_string(X.shape()),
                                        ", got ", to_string(dX.shape()), ", and dcores be ",
                                        cores_.size(), " tensors of the shapes of the cores, got ",
                                        dcores.size()));
    const Index batch = X.extent(0);
    if (tape != nullptr && tape->batch_ != batch)
        throw ArgumentError(detail::concat("Plan::gradient: the tape is of ", tape->batch_,
                                           " tokens, X has ", batch));
    if (batch == 0) return;
    auto dy = backend_->template allocate<T>(B::memory_is_host ? 0 : dY.size());
    if constexpr (!B::memory_is_host) backend_->template upload<T>(dY.view(), dy.data());
    const T* dy_data = B::memory_is_host ? dY.data() : dy.data();
    run_on_host(X.view(), dX.view(), [&](const T* x, T* dx) {
        const auto gradient =
            sweep_.gradient(x, dy_data, dx, batch, tape != nullptr ? &tape->between_ : nullptr);
        for (std::size_t k = 0; k < cores_.size(); ++k) {
            const auto part =
                sweep_.gradient_of_core(gradient.data(), static_cast<Index>(k), cores_[k]);
            auto ordered = backend_->template allocate<T>(part.size());
            backend_->template permute<T>(part, ordered.data());
            Tensor<T> core(cores_[k]);
            backend_->download(ordered.data(), core.view());
            for (Index i = 0; i < core.size(); ++i) dcores[k].data()[i] += core.data()[i];
        }
    });
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

#ifndef MPO_COMPILED
#include "mpo/network/contract_inl.hpp"
#endif

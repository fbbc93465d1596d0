// TrainableLinear: Y = X W^T + b with the gradients of X, of W or its cores, and of b. Forms mix as in Linear.
//
//   dX = dY W,   dW = dY^T X,   db = sum of dY over the batch;   of cores: Plan::gradient
//
// A weight that is not trained keeps its bits; a dense one costs the first of these alone.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/linear.hpp"
#include "mpo/model/parameters.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo {

/// What of a model training may change. What is not named keeps its bits.
struct TrainedParts {
    bool cores = true;       // of linears that are MPOs
    bool weights = false;    // of dense linears
    bool norms = true;       // of RMSNorm
    bool biases = true;      // of linears
    bool embedding = false;  // and with it a head that is the embedding
    bool head = false;       // of its own

    /// Everything.
    [[nodiscard]] static TrainedParts all() { return {true, true, true, true, true, true}; }
};

/// How a model is trained.
struct TrainingOptions {
    Index rows = 2048;                           // tokens of one step, for which MPOs are planned
    Index max_workspace_bytes = Index{1} << 27;  // of one MPO: intermediates, kept ones included
    Index max_tape_bytes = Index{1} << 28;  // activations of whole layers kept for the way back
    TrainedParts parts = {};                // what is trained
};

namespace detail {

/// The numbers of a tensor.
template <class T>
[[nodiscard]] std::span<T> numbers(Tensor<T>& tensor) {
    return {tensor.data(), static_cast<std::size_t>(tensor.size())};
}

}  // namespace detail

/// A linear that can be trained. Movable; the views that list() gives stay valid then. One thread calls it.
/// The backend must outlive it.
template <class T>
class TrainableLinear {
  public:
    /// What an apply keeps for the gradient.
    using Tape = typename Plan<T, EigenBackend>::Tape;

    /// Throws ShapeError (bias), as make_plan.
    TrainableLinear(LinearWeight<T> weight, const TrainingOptions& options,
                    const EigenBackend& backend)
        : name_(std::move(weight.name)), bias_(std::move(weight.bias)), backend_(&backend) {
        plan_options_.batch = options.rows;
        plan_options_.max_workspace_bytes = options.max_workspace_bytes;
        plan_options_.with_gradient = true;
        if (auto* W = std::get_if<Tensor<T>>(&weight.weight)) {
            if (W->rank() != 2)
                detail::raise<ShapeError>({"TrainableLinear: ", name_,
                                           " needs a matrix, got shape ", to_string(W->shape())});
            rows_ = W->extent(0), cols_ = W->extent(1);
            arrays_.push_back(std::move(*W));
        } else {
            Mpo<T> chain = std::get<Mpo<T>>(std::move(weight.weight));
            rows_ = chain.rows(), cols_ = chain.cols();
            plan_.emplace(make_plan(chain, plan_options_, backend));
            arrays_ = std::move(chain).take_cores();
        }
        if (bias_.size() != 0 && bias_.shape() != Shape{rows_})
            detail::raise<ShapeError>({"TrainableLinear: the bias of ", name_, " must have ", rows_,
                                       " elements, got shape ", to_string(bias_.shape())});
        const bool trained = plan_ ? options.parts.cores : options.parts.weights;
        if (trained || plan_)
            for (const auto& array : arrays_) gradients_.emplace_back(array.shape());
        trains_weight_ = trained;
        if (options.parts.biases && bias_.size() > 0) bias_gradient_ = Tensor<T>(bias_.shape());
    }

    /// Name of its module.
    [[nodiscard]] const std::string& name() const { return name_; }
    /// Length of an output.
    [[nodiscard]] Index rows() const { return rows_; }
    /// Length of an input.
    [[nodiscard]] Index cols() const { return cols_; }
    /// The form of its weight.
    [[nodiscard]] WeightForm form() const { return plan_ ? WeightForm::mpo : WeightForm::dense; }
    /// Whether W or the cores are trained.
    [[nodiscard]] bool trains_weight() const { return trains_weight_; }
    /// The plan of an MPO; null for a dense weight.
    [[nodiscard]] const Plan<T, EigenBackend>* plan() const { return plan_ ? &*plan_ : nullptr; }
    /// W (out, in) alone, or the cores (D, o, i, D') of a chain. Whoever changes them calls refresh.
    [[nodiscard]] std::vector<Tensor<T>>& arrays() { return arrays_; }
    /// The same, to be read.
    [[nodiscard]] const std::vector<Tensor<T>>& arrays() const { return arrays_; }
    /// (out), or no elements.
    [[nodiscard]] const Tensor<T>& bias() const { return bias_; }
    /// Weight and bias as they are now.
    [[nodiscard]] LinearWeight<T> weight() const& {
        if (plan_) return {name_, Mpo<T>(arrays_), bias_};
        return {name_, arrays_.front(), bias_};
    }
    /// The same without a copy: the linear is of no use afterwards.
    [[nodiscard]] LinearWeight<T> weight() && {
        if (plan_) return {name_, Mpo<T>(std::move(arrays_)), std::move(bias_)};
        return {name_, std::move(arrays_.front()), std::move(bias_)};
    }

    /// Appends what is trained.
    void list(Parameters<T>& parameters) {
        for (std::size_t k = 0; trains_weight_ && k < arrays_.size(); ++k)
            parameters.add({name_ + (plan_ ? ".cores." + std::to_string(k) : ".weight"),
                            detail::numbers(arrays_[k]), detail::numbers(gradients_[k]), true});
        if (bias_gradient_.size() > 0)
            parameters.add(
                {name_ + ".bias", detail::numbers(bias_), detail::numbers(bias_gradient_), false});
    }
    /// Cores were changed: they are packed anew.
    void refresh() {
        if (plan_ && trains_weight_)
            plan_.emplace(Mpo<T>(arrays_), std::vector(plan_->candidates()), plan_options_,
                          *backend_);
    }

    /// Y (B, out) = X (B, in) W^T + b, both without gaps. Costs what the plan says, or out in multiply-adds per row.
    /// Throws ShapeError.
    void apply(const Tensor<T>& X, Tensor<T>& Y, Tape& tape) const {
        require_shapes(X, Y);
        if (plan_)
            plan_->apply(X, Y, tape);
        else
            backend_->template gemm<T>(T{1}, as_matrix(X.view()),
                                       transpose(as_matrix(arrays_.front().view())), T{0},
                                       as_matrix(Y.view()));
        if (bias_.size() == 0) return;
        parallel_for(0, Y.extent(0), (Index{1} << 15) / rows_ + 1, [&](Index first, Index last) {
            for (Index b = first; b < last; ++b)
                for (Index i = 0; i < rows_; ++i) Y.data()[b * rows_ + i] += bias_.data()[i];
        });
    }

    /// Pulls dY (B, out) back: dX (B, in) becomes dY W; the gradients of what is trained grow. X and tape are
    /// those of apply.
    ///
    /// cost     dense: 2 B out in flops for dX, as many for dW; of an MPO Plan::gradient's
    /// throws   ShapeError
    void gradient(const Tensor<T>& X, const Tensor<T>& dY, Tensor<T>& dX, const Tape& tape) {
        require_shapes(X, dY);
        require_shapes(dX, dY);
        const auto dy = as_matrix(dY.view());
        if (plan_) {
            plan_->gradient(X, dY, dX, gradients_, &tape);
        } else {
            backend_->template gemm<T>(T{1}, dy, as_matrix(std::as_const(arrays_.front()).view()),
                                       T{0}, as_matrix(dX.view()));
            if (trains_weight_)
                backend_->template gemm<T>(T{1}, transpose(dy), as_matrix(X.view()), T{1},
                                           as_matrix(gradients_.front().view()));
        }
        for (Index b = 0; bias_gradient_.size() > 0 && b < dY.extent(0); ++b)
            for (Index i = 0; i < rows_; ++i)  // in order: the same bits for any thread count
                bias_gradient_.data()[i] += dY.data()[b * rows_ + i];
    }

  private:
    void require_shapes(const Tensor<T>& X, const Tensor<T>& Y) const {
        if (X.rank() != 2 || Y.rank() != 2 || X.extent(1) != cols_ || Y.extent(1) != rows_ ||
            X.extent(0) != Y.extent(0))
            detail::raise<ShapeError>({"TrainableLinear: ", name_, " needs (B, ", cols_,
                                       ") and (B, ", rows_, "), got ", to_string(X.shape()),
                                       " and ", to_string(Y.shape())});
    }
    std::string name_;
    Index rows_ = 0, cols_ = 0;
    std::vector<Tensor<T>> arrays_, gradients_;  // W, or cores
    Tensor<T> bias_, bias_gradient_;
    bool trains_weight_ = false;
    PlanOptions plan_options_;
    std::optional<Plan<T, EigenBackend>> plan_;
    const EigenBackend* backend_;
};

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template class TrainableLinear<float>;
}  // namespace mpo
#endif

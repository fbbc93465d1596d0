// Linear: Y = X W^T + b, whatever form W has. Every linear of a model is one, and forms mix freely.
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/linalg/weight_panels.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/matrix_product.hpp"

namespace mpo {

/// The forms of a weight.
enum class WeightForm {
    dense,
    mpo
};  // mpo: low rank is the chain of two sites with legs of size 1

/// The numbers of a linear, as they are stored.
template <Scalar T>
struct LinearWeight {
    std::string name;                        // of its module: "model.layers.3.mlp.up_proj"
    std::variant<Tensor<T>, Mpo<T>> weight;  // W (out, in), or its chain
    Tensor<T> bias;                          // (out), or no elements
};

/// How a Linear is applied.
struct LinearOptions {
    std::vector<Index> batches = {1, 32, 512};    // tokens in one call that MPOs are planned for
    Index max_workspace_bytes = Index{1} << 26;   // of one apply of an MPO
    DenseCache dense_cache = DenseCache::forbid;  // allow: an MPO may keep W where that is faster
    WeightStorage dense_storage = WeightStorage::f32;  // of dense weights
};

/// One linear of a model. Movable; apply is const and safe from many threads. The backend must outlive
/// it.
class Linear {
  public:
    /// A dense weight W (out, in), any strides; it is copied.
    ///
    /// name      of its module: "model.layers.3.mlp.up_proj"
    /// bias      (out), or no elements
    /// throws    ShapeError (bias)
    Linear(std::string name, MatrixView<const float> W, Tensor<float> bias,
           const LinearOptions& options, const EigenBackend& backend)
        : name_(std::move(name)),
          bias_(std::move(bias)),
          backend_(&backend),
          weight_(WeightPanels(W, options.dense_storage)),
          num_parameters_(W.size()) {
        require_bias();
    }
    /// The same with an MPO, low rank included. Throws as make_plan, too.
    Linear(std::string name, const Mpo<float>& W, Tensor<float> bias, const LinearOptions& options,
           const EigenBackend& backend)
        : name_(std::move(name)),
          bias_(std::move(bias)),
          backend_(&backend),
          weight_(PlanSet<float, EigenBackend>(W, options.batches, plan_options(options), backend)),
          num_parameters_(W.num_parameters()) {
        require_bias();
    }

    /// Name of its module.
    [[nodiscard]] const std::string& name() const { return name_; }
    /// Length of an output.
    [[nodiscard]] Index rows() const {
        const auto* plans = std::get_if<1>(&weight_);
        return plans ? plans->plan_for(1).rows() : std::get<0>(weight_).rows();
    }
    /// Length of an input.
    [[nodiscard]] Index cols() const {
        const auto* plans = std::get_if<1>(&weight_);
        return plans ? plans->plan_for(1).cols() : std::get<0>(weight_).cols();
    }
    /// The form of its weight.
    [[nodiscard]] WeightForm form() const {
        return weight_.index() == 0 ? WeightForm::dense : WeightForm::mpo;
    }
    /// Numbers of the weight as it is stored, and of the bias.
    [[nodiscard]] Index num_parameters() const { return num_parameters_ + bias_.size(); }
    /// b, (out), or no elements.
    [[nodiscard]] const Tensor<float>& bias() const { return bias_; }
    /// The panels of a dense weight; null for an MPO.
    [[nodiscard]] const WeightPanels* panels() const { return std::get_if<0>(&weight_); }
    /// The plans of an MPO; null for a dense weight.
    [[nodiscard]] const PlanSet<float, EigenBackend>* plans() const {
        return std::get_if<1>(&weight_);
    }

    /// Y (B, out) = X (B, in) W^T + b.
    ///
    /// X, Y     row-major without gaps
    /// throws   ShapeError
    void apply(MatrixView<const float> X, MatrixView<float> Y) const {
        require_shapes(X, Y);
        if (X.rows == 0) return;
        if (const auto* plans = std::get_if<1>(&weight_))
            plans->plan_for(X.rows).apply_resident(X.data, Y.data, X.rows);
        else
            std::get<0>(weight_).apply(X, Y, *backend_);
        if (bias_.size() > 0) add_bias(Y);
    }

    /// Y[k] = X W_k^T + b_k for several linears of the same inputs: dense ones read few tokens in one
    /// parallel loop. As many Y as linears; throws ShapeError.
    static void apply_together(std::span<const Linear* const> linears, MatrixView<const float> X,
                               std::span<const MatrixView<float>> Y) {
        std::vector<const WeightPanels*> dense;
        for (std::size_t k = 0; k < linears.size(); ++k) {
            linears[k]->require_shapes(X, Y[k]);
            if (linears[k]->panels()) dense.push_back(linears[k]->panels());
        }
        if (dense.size() < linears.size()) {
            for (std::size_t k = 0; k < linears.size(); ++k) linears[k]->apply(X, Y[k]);
            return;
        }
        WeightPanels::apply_together(dense, X, Y, *linears.front()->backend_);
        for (std::size_t k = 0; k < linears.size(); ++k)
            if (linears[k]->bias_.size() > 0) linears[k]->add_bias(Y[k]);
    }

  private:
    void require_shapes(MatrixView<const float> X, MatrixView<float> Y) const {
        if (X.cols != cols() || Y.cols != rows() || X.rows != Y.rows || X.row_stride != X.cols ||
            Y.row_stride != Y.cols || X.col_stride != 1 || Y.col_stride != 1)
            detail::raise<ShapeError>({"Linear::apply: ", name_, " needs X (B, ", cols(),
                                       ") and Y (B, ", rows(), ") without gaps, got ", X.rows,
                                       " x ", X.cols, " and ", Y.rows, " x ", Y.cols});
    }
    [[nodiscard]] static PlanOptions plan_options(const LinearOptions& options) {
        PlanOptions result;
        result.max_workspace_bytes = options.max_workspace_bytes;
        result.dense_cache = options.dense_cache;
        return result;
    }
    void require_bias() const {
        if (bias_.size() != 0 && (bias_.rank() != 1 || bias_.size() != rows()))
            detail::raise<ShapeError>({"Linear: the bias of ", name_, " must have ", rows(),
                                       " elements, got shape ", to_string(bias_.shape())});
    }
    void add_bias(MatrixView<float> Y) const {
        constexpr Index grain = Index{1} << 15;  // elements worth a second thread
        parallel_for(0, Y.rows, grain / Y.cols + 1, [&](Index first, Index last) {
            for (Index b = first; b < last; ++b)
                detail::add_row(Y.cols, bias_.data(), Y.data + b * Y.cols);
        });
    }

    std::string name_;
    Tensor<float> bias_;
    const EigenBackend* backend_;
    std::variant<WeightPanels, PlanSet<float, EigenBackend>> weight_;
    Index num_parameters_ = 0;
};

}  // namespace mpo

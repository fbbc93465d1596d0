// Linear: Y = X W^T + b, whatever form W has. Every linear of a model is one, and forms mix freely.
#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
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
           const LinearOptions& options, const EigenBackend& backend);
    /// The same with an MPO, low rank included. Throws as make_plan, too.
    Linear(std::string name, const Mpo<float>& W, Tensor<float> bias, const LinearOptions& options,
           const EigenBackend& backend);

    /// Name of its module.
    [[nodiscard]] const std::string& name() const { return name_; }
    /// Length of an output.
    [[nodiscard]] Index rows() const;
    /// Length of an input.
    [[nodiscard]] Index cols() const;
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
    void apply(MatrixView<const float> X, MatrixView<float> Y) const;

    /// Y[k] = X W_k^T + b_k for several linears of the same inputs: dense ones read few tokens in one
    /// parallel loop. As many Y as linears; throws ShapeError.
    static void apply_together(std::span<const Linear* const> linears, MatrixView<const float> X,
                               std::span<const MatrixView<float>> Y);

  private:
    void require_shapes(MatrixView<const float> X, MatrixView<float> Y) const;
    [[nodiscard]] static PlanOptions plan_options(const LinearOptions& options);
    void require_bias() const;
    void add_bias(MatrixView<float> Y) const;

    std::string name_;
    Tensor<float> bias_;
    const EigenBackend* backend_;
    std::variant<WeightPanels, PlanSet<float, EigenBackend>> weight_;
    Index num_parameters_ = 0;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/linear_inl.hpp"
#endif

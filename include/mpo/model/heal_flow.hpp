// HealFlow: what the block stage of healing stands on before a layer: the states of all windows in the dense
// model and in the model that is healed, and what a layer's output shall be.
//
//   z = the dense layer's output of the dense state x;   energy of a position: |z - x|^2
//   the healed layer's output y of the healed model's state shall be near z:
//
//   loss = sum over positions of h(|y - z|) / sum of their energies
//        + sink_weight  mean over sinks and strays of |y - z|^2 / max(|z|^2, |x'|^2)
//   h(e) = e^2 up to the median length m of the dense states of the window, 2 m e - m^2 beyond (Huber's function)
//   x' = the healed model's state before the layer where that is a sink, else 0
//
// A sink is a position whose state behind the dense layer is far longer than the others' (sinks.hpp). Its error is
// measured by its state: by its update it would drown all others where a layer only passes it on, and left out it
// drifts, which costs half of what a model loses (docs/compression.md). A stray is a position that is a sink in the
// healed model before the layer, and none in the dense one behind it: no later layer can undo it, and its error would
// drown all others, too, so it counts as sinks do. So does a sink of both models that the layer takes back. The layer
// that makes a sink of its own answers for it along h: one such position among thousands has hundreds of times the
// squared error of all others together, and nothing else would be learnt. Behind the last layer no head rests on any
// of them, and whatever is spent on one word of a window the others lack: there they are left out.
#pragma once

#include <cstddef>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/kv_cache.hpp"
#include "mpo/model/trainable_block.hpp"

namespace mpo::detail {

/// The factors with which the squared errors of a batch's positions add up to its loss.
struct RowWeights {
    std::vector<float>
        ordinary;  // of |y - z|^2: 1 / energy of the batch; 0 for sinks and what is left out
    std::vector<float>
        sinks;  // 1 / (max(|z|^2, |x'|^2) sinks and strays of the batch); 0 for all others
    std::vector<float> bends;  // m: the error beyond which an ordinary row counts along a line

    /// Those of rows begin .. end - 1 of others, behind those that are there.
    void append(const RowWeights& from, std::size_t begin, std::size_t end);
    /// As many rows; new ones weigh nothing.
    void resize(std::size_t rows);
};

/// A loss, and its parts.
struct BlockLossValue {
    double ordinary = 0;  // relative to the dense updates' energy
    double sinks = 0;     // mean relative error of the sinks

    [[nodiscard]] double total(double sink_weight) const { return ordinary + sink_weight * sinks; }
};

class HealFlow {
  public:
    /// Before the first layer.
    ///
    /// tokens   of windows of shape.length each, one behind the other
    HealFlow(std::span<const Index> tokens, const WindowShape& shape,
             const Tensor<float>& embedding, const TransformerConfig& config,
             const EigenBackend& backend);

    [[nodiscard]] const WindowShape& shape() const { return shape_; }
    /// States before the layer in the healed model, (rows, hidden); and after advance_dense the outputs that
    /// the layer shall have.
    [[nodiscard]] const Tensor<float>& healed() const { return healed_; }
    [[nodiscard]] const Tensor<float>& targets() const { return dense_; }
    /// Whether a row is a sink behind the layer.
    [[nodiscard]] bool is_sink(Index row) const {
        return sinks_[static_cast<std::size_t>(row)] != 0;
    }
    [[nodiscard]] Index num_sinks() const {
        return std::accumulate(sinks_.begin(), sinks_.end(), Index{0});
    }
    [[nodiscard]] Index num_strays() const {
        return std::accumulate(strays_.begin(), strays_.end(), Index{0});
    }

    /// The healed model's states become the dense ones: the layer is healed as if all before it were dense (HealInputs).
    void restart_from_dense() { healed_ = dense_; }
    /// The dense states become those of another flow over as many positions: how a test makes the two differ.
    void replace_dense(const HealFlow& other) {
        dense_ = other.dense_;
        layers_ = other.layers_;
    }
    /// Forgets all windows but some, which are counted from 0 then, in this order.
    void keep(std::span<const Index> windows);
    /// Runs the dense layer: states become outputs. Throws NumericalError for states that are not finite.
    void advance_dense(const DecoderLayer& layer, double sink_factor);
    /// Runs the healed layer, so many windows at once: its inputs become its outputs.
    void advance_healed(const TrainableBlock<float>& layer, Index at_once) {
        run_healed(layer, at_once, healed_);
    }
    /// What a layer makes of the healed model's states of some windows, one behind the other.
    [[nodiscard]] Tensor<float> outputs(const TrainableBlock<float>& layer,
                                        std::span<const Index> windows, Index at_once);
    [[nodiscard]] const RotaryAngles<float>& angles() const;

    /// Rows of some windows one behind the other: states of the healed model, and targets.
    void gather(std::span<const Index> windows, Tensor<float>& inputs,
                Tensor<float>& targets) const;
    /// Weights of the rows of some windows. Where all their updates are 0 the ordinary ones are.
    [[nodiscard]] RowWeights weights(std::span<const Index> windows, Index left_out) const;

  private:
    [[nodiscard]] MatrixView<float> window_of(Tensor<float>& states, Index w) const;
    /// Inputs of whole windows become outputs.
    void run_healed(const TrainableBlock<float>& layer, Index at_once, Tensor<float>& states);
    void measure(Index w, const Tensor<float>& before, MatrixView<const float> after,
                 const std::string& module, double sink_factor);
    [[nodiscard]] bool is_guarded(std::size_t r) const { return sinks_[r] != 0 || strays_[r] != 0; }
    /// Which positions of window w only the healed model makes long, before `module`.
    void find_strays(Index w, const std::string& module, double sink_factor);
    template <class F>
    void for_each_row(std::span<const Index> windows, F&& body) const {
        for (const Index w : windows)
            for (Index t = 0; t < shape_.length; ++t)
                body(static_cast<std::size_t>(w * shape_.length + t), t);
    }

    const TransformerConfig& config_;
    WindowShape shape_;
    const EigenBackend& backend_;
    RotaryTable table_;
    KvCache cache_;
    Index layers_ = 0;  // that the dense states have passed
    Tensor<float> dense_, healed_;
    std::vector<double> energies_,
        squares_;  // of every row: |z - x|^2, |z|^2; of strays the healed state's
    std::vector<char> sinks_, strays_;
    std::vector<double> medians_;  // of every window: |z|
    mutable std::optional<RotaryAngles<float>> angles_;
};

/// The loss of a batch, and its gradient by y.
///
/// y, z       (rows, hidden)
/// gradient   (rows, hidden), overwritten; null where it is not wanted
[[nodiscard]] BlockLossValue block_loss(const Tensor<float>& y, const Tensor<float>& z,
                                        const RowWeights& weights, double sink_weight,
                                        Tensor<float>* gradient);

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_flow_inl.hpp"
#endif

// HealFlow: what the block stage of healing stands on before a layer: the states of all windows in the dense
// model and in the model that is healed, and what a layer's output shall be.
//
//   z = the dense layer's output of the dense state x;   energy of a position: |z - x|^2
//   the healed layer's output y of the healed model's state shall be near z:
//
//   loss = sum over positions of h(|y - z|) / sum of their energies
//        + sink_weight  mean over sinks of |y - z|^2 / |z|^2
//   h(e) = e^2 up to the median length m of the dense states of the window, 2 m e - m^2 beyond (Huber's function)
//
// A sink is a position whose state is far longer than the others' (sinks.hpp). Its error is measured by its
// state: by its update it would drown all others where a layer only passes it on, and left out it drifts, which
// costs half of what a model loses (docs/compression.md). A stray is a sink that the healed model alone has before
// the layer: no later layer can undo it, and its error would drown all others, too, so it counts as sinks do, by the
// longer of the two states. The layer that makes one answers for it along h: one such position among thousands has
// hundreds of times the squared error of all others together, and nothing else would be learnt.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/kv_cache.hpp"
#include "mpo/model/sinks.hpp"
#include "mpo/model/trainable_block.hpp"

namespace mpo::detail {

/// The factors with which the squared errors of a batch's positions add up to its loss.
struct RowWeights {
    std::vector<float>
        ordinary;  // of |y - z|^2: 1 / energy of the batch; 0 for sinks and what is left out
    std::vector<float> sinks;  // 1 / (|z|^2 sinks of the batch); 0 for all others
    std::vector<float> bends;  // m: the error beyond which an ordinary row counts along a line

    /// Those of rows begin .. end - 1 of others, behind those that are there.
    void append(const RowWeights& from, std::size_t begin, std::size_t end) {
        for (std::size_t r = begin; r < end; ++r) {
            ordinary.push_back(from.ordinary[r]);
            sinks.push_back(from.sinks[r]);
            bends.push_back(from.bends[r]);
        }
    }
    /// As many rows; new ones weigh nothing.
    void resize(std::size_t rows) {
        ordinary.resize(rows);
        sinks.resize(rows);
        bends.resize(rows);
    }
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
             const EigenBackend& backend)
        : config_(config),
          shape_(shape),
          backend_(backend),
          table_(config.rotary, 0, shape.length),
          cache_(1, config.num_kv_heads, config.head_dim, shape.length),
          dense_({shape.rows(), config.hidden_size}),
          energies_(static_cast<std::size_t>(shape.rows())),
          squares_(energies_.size()),
          sinks_(energies_.size()),
          strays_(energies_.size()),
          medians_(static_cast<std::size_t>(shape.windows)) {
        const Index n = config.hidden_size;
        for (std::size_t r = 0; r < tokens.size(); ++r)
            std::copy_n(embedding.data() + tokens[r] * n, n,
                        dense_.data() + static_cast<Index>(r) * n);
        healed_ = dense_;
    }

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
    /// The dense states become those of another flow over as many positions.
    void replace_dense(const HealFlow& other) { dense_ = other.dense_; }
    /// Runs the dense layer: states become outputs. Throws NumericalError for states that are not finite.
    void advance_dense(const DecoderLayer& layer, double sink_factor) {
        const Index n = config_.hidden_size;
        Activations a(config_, shape_.length);
        Tensor<float> before({shape_.length, n});
        for (Index w = 0; w < shape_.windows; ++w) {
            auto x = window_of(dense_, w);
            std::copy_n(x.data, before.size(), before.data());
            cache_.truncate(0);
            run_block(layer, config_, {table_, cache_, 0}, a, x, backend_, {});
            measure(w, before, x, layer.down.name(), sink_factor);
            find_strays(w, layer.q.name(), sink_factor);
        }
    }
    /// Runs the healed layer: its inputs become its outputs.
    void advance_healed(const TrainableBlock<float>& layer) {
        const Index batch = (std::min)(Index{4}, shape_.windows);
        for (Index w = 0; w < shape_.windows; w += batch) {
            const WindowShape part{(std::min)(batch, shape_.windows - w), shape_.length};
            if (!tape_ || tape_->normed.extent(0) != part.rows()) {
                tape_.emplace(config_, part.rows());
                in_ = Tensor<float>({part.rows(), config_.hidden_size});
                out_ = in_;
            }
            float* states = healed_.data() + w * shape_.length * config_.hidden_size;
            std::copy_n(states, in_.size(), in_.data());
            layer.apply(part, angles(), in_, out_, *tape_);
            std::copy_n(out_.data(), out_.size(), states);
        }
    }
    [[nodiscard]] const RotaryAngles<float>& angles() const {
        if (!angles_) angles_.emplace(config_.rotary, 0, shape_.length);
        return *angles_;
    }

    /// Rows of some windows one behind the other: states of the healed model, and targets.
    void gather(std::span<const Index> windows, Tensor<float>& inputs,
                Tensor<float>& targets) const {
        const Index size = shape_.length * config_.hidden_size;
        for (std::size_t k = 0; k < windows.size(); ++k) {
            const Index to = static_cast<Index>(k) * size;
            std::copy_n(healed_.data() + windows[k] * size, size, inputs.data() + to);
            std::copy_n(dense_.data() + windows[k] * size, size, targets.data() + to);
        }
    }
    /// Weights of the rows of some windows. Where all their updates are 0 the ordinary ones are.
    [[nodiscard]] RowWeights weights(std::span<const Index> windows, Index left_out) const {
        RowWeights result;
        double energy = 0;
        Index sinks = 0;
        for_each_row(windows, [&](std::size_t r, Index position) {
            if (is_guarded(r))
                ++sinks;
            else if (position >= left_out)
                energy += energies_[r];
        });
        for_each_row(windows, [&](std::size_t r, Index position) {
            const bool sink = is_guarded(r), counts = !sink && position >= left_out && energy > 0;
            result.ordinary.push_back(counts ? static_cast<float>(1 / energy) : 0);
            result.sinks.push_back(
                sink ? static_cast<float>(1 / (squares_[r] * static_cast<double>(sinks))) : 0);
            result.bends.push_back(
                static_cast<float>(medians_[r / static_cast<std::size_t>(shape_.length)]));
        });
        return result;
    }

  private:
    [[nodiscard]] MatrixView<float> window_of(Tensor<float>& states, Index w) const {
        const Index n = config_.hidden_size;
        return matrix(states.data() + w * shape_.length * n, shape_.length, n);
    }
    void measure(Index w, const Tensor<float>& before, MatrixView<const float> after,
                 const std::string& module, double sink_factor) {
        const auto norms = state_norms(after, nullptr, sink_factor, module);
        medians_[static_cast<std::size_t>(w)] = norms.median;
        for (Index t = 0; t < after.rows; ++t) {
            const auto r = static_cast<std::size_t>(w * shape_.length + t);
            double energy = 0;
            for (Index i = t * after.cols; i < (t + 1) * after.cols; ++i) {
                const double d = static_cast<double>(after.data[i]) - before.data()[i];
                energy += d * d;
            }
            const double norm = norms.norms[static_cast<std::size_t>(t)];
            energies_[r] = energy;
            squares_[r] = norm * norm;
            sinks_[r] = 0;
        }
        for (const Index t : norms.sinks)
            sinks_[static_cast<std::size_t>(w * shape_.length + t)] = 1;
    }
    [[nodiscard]] bool is_guarded(std::size_t r) const { return sinks_[r] != 0 || strays_[r] != 0; }
    /// Which positions of window w only the healed model makes long, before `module`.
    void find_strays(Index w, const std::string& module, double sink_factor) {
        const auto norms = state_norms(window_of(healed_, w), nullptr, sink_factor, module);
        const auto row = [&](Index t) { return static_cast<std::size_t>(w * shape_.length + t); };
        for (Index t = 0; t < shape_.length; ++t) strays_[row(t)] = 0;
        for (const Index t : norms.sinks) {
            const double norm = norms.norms[static_cast<std::size_t>(t)];
            strays_[row(t)] = sinks_[row(t)] == 0 ? 1 : 0;
            squares_[row(t)] = (std::max)(squares_[row(t)], norm * norm);
        }
    }
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
    Tensor<float> dense_, healed_;
    std::vector<double> energies_,
        squares_;  // of every row: |z - x|^2, |z|^2; of strays the healed state's
    std::vector<char> sinks_, strays_;
    std::vector<double> medians_;  // of every window: |z|
    mutable std::optional<RotaryAngles<float>> angles_;
    std::optional<BlockTape<float>> tape_;
    Tensor<float> in_, out_;
};

/// The loss of a batch, and its gradient by y.
///
/// y, z       (rows, hidden)
/// gradient   (rows, hidden), overwritten; null where it is not wanted
[[nodiscard]] inline BlockLossValue block_loss(const Tensor<float>& y, const Tensor<float>& z,
                                               const RowWeights& weights, double sink_weight,
                                               Tensor<float>* gradient) {
    const Index rows = y.extent(0), n = y.extent(1);
    std::vector<double> errors(static_cast<std::size_t>(rows));
    parallel_for(0, rows, (Index{1} << 14) / n + 1, [&](Index first, Index last) {
        for (Index r = first; r < last; ++r) {
            const auto at = static_cast<std::size_t>(r);
            const float *a = y.data() + r * n, *b = z.data() + r * n;
            double sum = 0;
            for (Index i = 0; i < n; ++i) {
                const double d = static_cast<double>(a[i]) - b[i];
                sum += d * d;
            }
            errors[at] = sum;
            if (gradient == nullptr) continue;
            const double length = std::sqrt(sum), bend = weights.bends[at];
            const double ordinary = weights.ordinary[at] * (length > bend ? bend / length : 1);
            const auto factor =
                static_cast<float>(2 * (ordinary + sink_weight * weights.sinks[at]));
            for (Index i = 0; i < n; ++i) gradient->data()[r * n + i] = factor * (a[i] - b[i]);
        }
    });
    BlockLossValue loss;
    for (std::size_t r = 0; r < errors.size(); ++r) {
        const double length = std::sqrt(errors[r]), bend = weights.bends[r];
        loss.ordinary +=
            weights.ordinary[r] * (length > bend ? bend * (2 * length - bend) : errors[r]);
        loss.sinks += errors[r] * weights.sinks[r];
    }
    return loss;
}

}  // namespace mpo::detail

// TrainableBlock: one layer of a decoder with the way back. Forward as decoder_block.hpp says it, over windows
// of one length each with nothing before it; a tape keeps what the way back reads:
//
//   n = rmsnorm(x);  q, k, v = rotated linears of n;  a = attention(q, k, v);  m = x + o(a)
//   n' = rmsnorm(m); g, u = linears of n';            h = silu(g) u;           y = m + down(h)
#pragma once

#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/attention_training.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/parameters.hpp"
#include "mpo/model/row_gradients.hpp"
#include "mpo/model/trainable_linear.hpp"
#include "mpo/model/transformer_config.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo {

/// The numbers of one layer.
template <Scalar T>
struct LayerWeights {
    Tensor<T> input_norm;                  // (hidden), before attention
    Tensor<T> post_attention_norm;         // (hidden), before the MLP
    std::vector<LinearWeight<T>> linears;  // q, k, v, o, gate, up, down
};

/// Windows that are trained on together: each begins at position 0.
struct WindowShape {
    Index windows = 0;  // sequences
    Index length = 0;   // tokens of each

    /// Tokens of all.
    [[nodiscard]] Index rows() const { return windows * length; }
};

namespace detail {

/// A scale of RMSNorm that can be trained.
template <class T>
class TrainableNorm {
  public:
    TrainableNorm(std::string name, Tensor<T> weight, bool trained, double epsilon)
        : name_(std::move(name)), weight_(std::move(weight)), epsilon_(epsilon) {
        if (trained) gradient_ = Tensor<T>(weight_.shape());
    }
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const Tensor<T>& weight() const { return weight_; }
    [[nodiscard]] Tensor<T>& weight() { return weight_; }
    void list(Parameters<T>& parameters) {
        if (gradient_.size() > 0)
            parameters.add({name_, numbers(weight_), numbers(gradient_), false});
    }

    void apply(const Tensor<T>& x, Tensor<T>& y) const {
        normalize_rows_t<T>(x.extent(0), weight_.size(), x.data(), weight_.data(),
                            static_cast<T>(epsilon_), y.data());
    }
    /// dx += what dy is before the norm.
    void gradient(const Tensor<T>& x, const Tensor<T>& dy, Tensor<T>& dx) {
        normalize_rows_backward<T>(x.extent(0), weight_.size(), x.data(), weight_.data(),
                                   static_cast<T>(epsilon_), dy.data(), dx.data(),
                                   gradient_.size() > 0 ? gradient_.data() : nullptr);
    }

  private:
    std::string name_;
    Tensor<T> weight_, gradient_;
    double epsilon_;
};

}  // namespace detail

/// Activations of one layer that the way back reads, for a number of tokens; about
/// rows (6 hidden + 2 keys + 3 inner) numbers, and what the plans keep.
template <class T>
struct BlockTape {
    /// Room for so many tokens.
    BlockTape(const TransformerConfig& config, Index rows)
        : normed({rows, config.hidden_size}),
          queries({rows, config.num_heads * config.head_dim}),
          keys({rows, config.num_kv_heads * config.head_dim}),
          values(keys.shape()),
          attended(queries.shape()),
          log_sums({config.num_heads, rows}),
          middle(normed.shape()),
          normed_middle(normed.shape()),
          gate({rows, config.intermediate_size}),
          up(gate.shape()),
          inner(gate.shape()),
          update(normed.shape()) {}

    /// Bytes of one, the plans' tapes aside.
    [[nodiscard]] static Index num_bytes(const TransformerConfig& config, Index rows) {
        const Index heads = 2 * config.num_heads + 2 * config.num_kv_heads;
        return static_cast<Index>(sizeof(T)) * rows *
               (4 * config.hidden_size + heads * config.head_dim + config.num_heads +
                3 * config.intermediate_size);
    }

    Tensor<T> normed;         // (rows, hidden): n
    Tensor<T> queries;        // (rows, heads d): q, rotated and scaled
    Tensor<T> keys;           // (rows, kv_heads d): k, rotated
    Tensor<T> values;         // (rows, kv_heads d): v
    Tensor<T> attended;       // (rows, heads d): a
    Tensor<T> log_sums;       // (heads, rows), of the scores
    Tensor<T> middle;         // (rows, hidden): m
    Tensor<T> normed_middle;  // (rows, hidden): n'
    Tensor<T> gate;           // (rows, intermediate): g
    Tensor<T> up;             // (rows, intermediate): u
    Tensor<T> inner;          // (rows, intermediate): h
    Tensor<T> update;         // (rows, hidden): scratch
    std::array<typename TrainableLinear<T>::Tape, 7> linears;  // of the linears, in their order
};

/// Gradients of the activations of one layer, shared by all layers of a model.
template <class T>
struct BlockGradients {
    /// Room for so many tokens.
    BlockGradients(const TransformerConfig& config, Index rows)
        : hidden({rows, config.hidden_size}),
          pulled(hidden.shape()),
          queries({rows, config.num_heads * config.head_dim}),
          attended(queries.shape()),
          keys({rows, config.num_kv_heads * config.head_dim}),
          values(keys.shape()),
          gate({rows, config.intermediate_size}),
          up(gate.shape()),
          inner(gate.shape()) {}

    Tensor<T> hidden;    // (rows, hidden): of what a linear read
    Tensor<T> pulled;    // (rows, hidden): the same of another one that read it
    Tensor<T> queries;   // (rows, heads d)
    Tensor<T> attended;  // (rows, heads d)
    Tensor<T> keys;      // (rows, kv_heads d)
    Tensor<T> values;    // (rows, kv_heads d)
    Tensor<T> gate;      // (rows, intermediate)
    Tensor<T> up;        // (rows, intermediate)
    Tensor<T> inner;     // (rows, intermediate)
};

/// One layer. Movable; one thread calls it. The backend must outlive it.
template <class T>
class TrainableBlock {
  public:
    /// Throws ShapeError unless there are seven linears of the shapes that the config states; as make_plan.
    ///
    /// at   what names begin with: "model.layers.3."
    TrainableBlock(const std::string& at, LayerWeights<T> weights, const TransformerConfig& config,
                   const TrainingOptions& options, const EigenBackend& backend)
        : config_(&config),
          backend_(&backend),
          input_norm_(at + "input_layernorm.weight", std::move(weights.input_norm),
                      options.parts.norms, config.rms_norm_eps),
          post_norm_(at + "post_attention_layernorm.weight", std::move(weights.post_attention_norm),
                     options.parts.norms, config.rms_norm_eps) {
        const Index hidden = config.hidden_size;
        const auto shapes = detail::layer_linears(config);
        if (weights.linears.size() != shapes.size())
            detail::raise<ShapeError>(
                {"TrainableBlock: need 7 linears, got ", weights.linears.size()});
        for (std::size_t k = 0; k < shapes.size(); ++k) {
            linears_.emplace_back(std::move(weights.linears[k]), options, backend);
            const auto& made = linears_.back();
            if (made.rows() != shapes[k].out || made.cols() != shapes[k].in)
                detail::raise<ShapeError>({"TrainableBlock: ", made.name(), " must be ",
                                           shapes[k].out, " x ", shapes[k].in, ", got ",
                                           made.rows(), " x ", made.cols()});
        }
        if (input_norm_.weight().size() != hidden || post_norm_.weight().size() != hidden)
            detail::raise<ShapeError>({"TrainableBlock: norms of ", at, " must have ", hidden,
                                       " numbers, got ", input_norm_.weight().size(), " and ",
                                       post_norm_.weight().size()});
    }

    /// q, k, v, o, gate, up, down.
    [[nodiscard]] std::vector<TrainableLinear<T>>& linears() { return linears_; }
    /// The same, to be read.
    [[nodiscard]] const std::vector<TrainableLinear<T>>& linears() const { return linears_; }
    /// The numbers as they are now.
    [[nodiscard]] LayerWeights<T> weights() const& {
        LayerWeights<T> result{input_norm_.weight(), post_norm_.weight(), {}};
        for (const auto& linear : linears_) result.linears.push_back(linear.weight());
        return result;
    }
    /// The same without a copy: the layer is of no use afterwards.
    [[nodiscard]] LayerWeights<T> weights() && {
        LayerWeights<T> result{std::move(input_norm_.weight()), std::move(post_norm_.weight()), {}};
        for (auto& linear : linears_) result.linears.push_back(std::move(linear).weight());
        return result;
    }

    /// Appends what is trained.
    void list(Parameters<T>& parameters) {
        input_norm_.list(parameters);
        for (std::size_t k = 0; k < linears_.size(); ++k) {
            if (k == 4) post_norm_.list(parameters);
            linears_[k].list(parameters);
        }
    }
    /// Parameters were changed.
    void refresh() {
        for (auto& linear : linears_) linear.refresh();
    }

    /// y = the layer's output for x, both (rows, hidden); y may not be x.
    ///
    /// angles   of at least shape.length positions
    /// tape     of as many tokens; overwritten
    /// cost     the linears', and 2 heads d length multiply-adds per row in attention
    /// throws   ShapeError
    void apply(const WindowShape& shape, const RotaryAngles<T>& angles, const Tensor<T>& x,
               Tensor<T>& y, BlockTape<T>& tape) const {
        input_norm_.apply(x, tape.normed);
        linears_[0].apply(tape.normed, tape.queries, tape.linears[0]);
        linears_[1].apply(tape.normed, tape.keys, tape.linears[1]);
        linears_[2].apply(tape.normed, tape.values, tape.linears[2]);
        rotate(shape, angles, tape.queries, config_->num_heads, query_scale(), false);
        rotate(shape, angles, tape.keys, config_->num_kv_heads, T{1}, false);
        attend_windows<T>(attention(shape), tape.queries.data(), tape.keys.data(),
                          tape.values.data(), tape.attended.data(), tape.log_sums.data(),
                          *backend_);
        linears_[3].apply(tape.attended, tape.update, tape.linears[3]);
        sum(x, tape.update, tape.middle);
        post_norm_.apply(tape.middle, tape.normed_middle);
        linears_[4].apply(tape.normed_middle, tape.gate, tape.linears[4]);
        linears_[5].apply(tape.normed_middle, tape.up, tape.linears[5]);
        detail::silu_multiply_rows_t<T>(tape.gate.size(), tape.gate.data(), tape.up.data(),
                                        tape.inner.data());
        linears_[6].apply(tape.inner, tape.update, tape.linears[6]);
        sum(tape.middle, tape.update, y);
    }

    /// dx of dy, in the same tensor (rows, hidden): dL/dy becomes dL/dx. Gradients of parameters grow.
    ///
    /// x, tape   those of apply; the tape is used up
    /// g         of as many tokens; overwritten
    /// cost      that of the linears' gradients, and in attention 5/2 of apply's: scores are made again
    /// throws    ShapeError
    void gradient(const WindowShape& shape, const RotaryAngles<T>& angles, const Tensor<T>& x,
                  BlockTape<T>& tape, BlockGradients<T>& g, Tensor<T>& dy) {
        linears_[6].gradient(tape.inner, dy, g.inner, tape.linears[6]);
        detail::silu_multiply_rows_backward<T>(tape.gate.size(), tape.gate.data(), tape.up.data(),
                                               g.inner.data(), g.gate.data(), g.up.data());
        linears_[4].gradient(tape.normed_middle, g.gate, g.hidden, tape.linears[4]);
        linears_[5].gradient(tape.normed_middle, g.up, g.pulled, tape.linears[5]);
        add(g.pulled, g.hidden);
        post_norm_.gradient(tape.middle, g.hidden, dy);  // dy: now of m
        linears_[3].gradient(tape.attended, dy, g.attended, tape.linears[3]);
        attend_windows_backward<T>(attention(shape), tape.queries.data(), tape.keys.data(),
                                   tape.values.data(), tape.attended.data(), tape.log_sums.data(),
                                   g.attended.data(), g.queries.data(), g.keys.data(),
                                   g.values.data(), *backend_);
        rotate(shape, angles, g.queries, config_->num_heads, query_scale(), true);
        rotate(shape, angles, g.keys, config_->num_kv_heads, T{1}, true);
        linears_[0].gradient(tape.normed, g.queries, g.hidden, tape.linears[0]);
        linears_[1].gradient(tape.normed, g.keys, g.pulled, tape.linears[1]);
        add(g.pulled, g.hidden);
        linears_[2].gradient(tape.normed, g.values, g.pulled, tape.linears[2]);
        add(g.pulled, g.hidden);
        input_norm_.gradient(x, g.hidden, dy);
    }

  private:
    [[nodiscard]] T query_scale() const {
        return T{1} / std::sqrt(static_cast<T>(config_->head_dim));
    }
    [[nodiscard]] AttentionShape attention(const WindowShape& shape) const {
        return {shape.windows, shape.length, config_->num_heads, config_->num_kv_heads,
                config_->head_dim};
    }
    void rotate(const WindowShape& shape, const RotaryAngles<T>& angles, Tensor<T>& x, Index heads,
                T scale, bool back) const {
        const Index width = heads * config_->head_dim;
        parallel_for(0, shape.rows(), (Index{1} << 14) / width + 1, [&](Index first, Index last) {
            for (Index r = first; r < last; ++r) {
                T* row = x.data() + r * width;
                if (back)
                    angles.rotate_back(r % shape.length, heads, scale, row);
                else
                    angles.rotate(r % shape.length, heads, scale, row);
            }
        });
    }
    static void sum(const Tensor<T>& a, const Tensor<T>& b, Tensor<T>& to) {
        parallel_for(0, a.size(), Index{1} << 15, [&](Index first, Index last) {
            for (Index i = first; i < last; ++i) to.data()[i] = a.data()[i] + b.data()[i];
        });
    }
    void add(const Tensor<T>& from, Tensor<T>& to) const {
        backend_->axpy(to.size(), T{1}, from.data(), to.data());
    }

    const TransformerConfig* config_;
    const EigenBackend* backend_;
    detail::TrainableNorm<T> input_norm_, post_norm_;
    std::vector<TrainableLinear<T>> linears_;
};

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template class TrainableBlock<float>;
}  // namespace mpo
#endif

// TrainableTransformer: a decoder with the way back through all of it. Between forward and backward stands the
// loss at the head (head_loss.hpp), which this header does not know.
//
//   const auto& hidden = model.forward(tokens, {windows, length});
//   ... dhidden = dL/dhidden, and the head's gradient into model.head_gradient() ...
//   model.backward(dhidden);
//   optimizer.step();  model.refresh();            // AdamW<float> optimizer(model.parameters())
//
// Every layer's input is kept, (rows, hidden); its activations are kept where max_tape_bytes holds them, the
// last layers' first, and made again on the way back where it does not.
#pragma once

#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/parameters.hpp"
#include "mpo/model/trainable_block.hpp"
#include "mpo/model/transformer_config.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo {

/// All numbers of a decoder.
template <Scalar T>
struct ModelWeights {
    Tensor<T> embedding;                  // (vocab, hidden)
    Tensor<T> norm;                       // (hidden), before the head
    std::vector<LayerWeights<T>> layers;  // from the input to the head
    std::optional<Tensor<T>> head;        // (vocab, hidden); none: the embedding is the head
};

namespace detail {

/// The numbers of one layer of a checkpoint.
[[nodiscard]] LayerWeights<float> read_layer_weights(WeightReader& reader,
                                                     const TransformerConfig& config, Index layer);

}  // namespace detail

/// The numbers of a checkpoint, dense or compressed, as float. Throws as the constructor of Transformer.
[[nodiscard]] std::pair<TransformerConfig, ModelWeights<float>> read_model_weights(
    const std::filesystem::path& path, const EigenBackend& backend);

/// A decoder that is trained. Not to be copied or moved; one thread calls it. The backend must outlive it.
template <class T>
class TrainableTransformer {
  public:
    /// Takes the numbers over.
    ///
    /// options   rows is the number of tokens that forward takes
    /// throws    ShapeError where they do not have the shapes that the config states; as make_plan
    TrainableTransformer(TransformerConfig config, ModelWeights<T> weights,
                         const TrainingOptions& options, const EigenBackend& backend)
        : config_(std::move(config)),
          options_(options),
          embedding_(std::move(weights.embedding)),
          head_(std::move(weights.head)),
          norm_("model.norm.weight", std::move(weights.norm), options.parts.norms,
                config_.rms_norm_eps),
          gradients_(config_, options.rows) {
        require_shapes(weights);
        const auto& parts = options.parts;
        if (parts.embedding || (parts.head && !head_))
            embedding_gradient_ = Tensor<T>(embedding_.shape());
        if (parts.head && head_) head_gradient_ = Tensor<T>(head_->shape());
        for (Index k = 0; k < config_.num_layers; ++k)
            layers_.emplace_back(detail::concat("model.layers.", k, "."),
                                 std::move(weights.layers[static_cast<std::size_t>(k)]), config_,
                                 options, backend);
        states_.assign(layers_.size() + 1, Tensor<T>({options.rows, config_.hidden_size}));
        const Index each = BlockTape<T>::num_bytes(config_, options.rows);
        const Index kept = std::clamp(options.max_tape_bytes / each, Index{1}, config_.num_layers);
        for (Index k = 0; k < kept; ++k) tapes_.emplace_back(config_, options.rows);
        for (auto& layer : layers_) layer.list(parameters_);
        norm_.list(parameters_);
        if (embedding_gradient_.size() > 0)
            parameters_.add({"model.embed_tokens.weight", detail::numbers(embedding_),
                             detail::numbers(embedding_gradient_), true});
        if (head_gradient_.size() > 0)
            parameters_.add(
                {"lm_head.weight", detail::numbers(*head_), detail::numbers(head_gradient_), true});
    }
    TrainableTransformer(const TrainableTransformer&) = delete;
    TrainableTransformer& operator=(const TrainableTransformer&) = delete;
    ~TrainableTransformer() = default;

    /// Its shapes and numbers.
    [[nodiscard]] const TransformerConfig& config() const { return config_; }
    /// What is trained.
    [[nodiscard]] const Parameters<T>& parameters() const { return parameters_; }
    /// Its layers.
    [[nodiscard]] std::vector<TrainableBlock<T>>& layers() { return layers_; }
    /// What hidden states are multiplied with: (vocab, hidden).
    [[nodiscard]] const Tensor<T>& head() const { return head_ ? *head_ : embedding_; }
    /// Where the gradient of the head adds up; null where it is not trained.
    [[nodiscard]] Tensor<T>* head_gradient() {
        Tensor<T>& gradient = head_ ? head_gradient_ : embedding_gradient_;
        return gradient.size() > 0 ? &gradient : nullptr;
    }
    /// A copy of all numbers as they are now.
    [[nodiscard]] ModelWeights<T> weights() const& {
        ModelWeights<T> result{embedding_, norm_.weight(), {}, head_};
        for (const auto& layer : layers_) result.layers.push_back(layer.weights());
        return result;
    }
    /// The same without a copy: the model is of no use afterwards.
    [[nodiscard]] ModelWeights<T> weights() && {
        ModelWeights<T> result{
            std::move(embedding_), std::move(norm_.weight()), {}, std::move(head_)};
        for (auto& layer : layers_) result.layers.push_back(std::move(layer).weights());
        return result;
    }
    /// Parameters were changed.
    void refresh() {
        for (auto& layer : layers_) layer.refresh();
    }

    /// What the head reads, (rows, hidden), normalised; valid until the next call.
    ///
    /// tokens   shape.rows() ids; rows() must be TrainingOptions::rows
    /// throws   ArgumentError (an id, a window longer than the context), ShapeError
    const Tensor<T>& forward(std::span<const Index> tokens, const WindowShape& shape) {
        require_tokens(tokens, shape);
        tokens_.assign(tokens.begin(), tokens.end());
        shape_ = shape;
        if (!angles_ || angles_length_ != shape.length) {
            angles_.emplace(config_.rotary, 0, shape.length);
            angles_length_ = shape.length;
        }
        const Index n = config_.hidden_size;
        for (std::size_t r = 0; r < tokens_.size(); ++r)
            std::copy_n(embedding_.data() + tokens_[r] * n, n,
                        states_.front().data() + static_cast<Index>(r) * n);
        for (std::size_t k = 0; k < layers_.size(); ++k)
            layers_[k].apply(shape_, *angles_, states_[k], states_[k + 1], tape_of(k));
        if (hidden_.shape() != states_.back().shape()) hidden_ = Tensor<T>(states_.back().shape());
        norm_.apply(states_.back(), hidden_);
        return hidden_;
    }

    /// Pulls dhidden = dL/dhidden of the last forward back; gradients of parameters grow.
    ///
    /// cost     of dense layers twice forward's, a third of that less where weights are frozen; and forward's
    ///          once more for layers without a tape
    /// throws   ShapeError
    void backward(const Tensor<T>& dhidden) {
        if (dhidden.shape() != hidden_.shape() || hidden_.size() == 0)
            detail::raise<ShapeError>({"TrainableTransformer::backward: need a gradient of shape ",
                                       to_string(hidden_.shape()), ", got ",
                                       to_string(dhidden.shape())});
        if (flowing_.shape() != hidden_.shape()) flowing_ = Tensor<T>(hidden_.shape());
        std::fill_n(flowing_.data(), flowing_.size(), T{0});
        norm_.gradient(states_.back(), dhidden, flowing_);
        for (std::size_t k = layers_.size(); k-- > 0;) {
            auto& tape = tape_of(k);
            if (k + tapes_.size() < layers_.size())
                layers_[k].apply(shape_, *angles_, states_[k], gradients_.hidden, tape);
            layers_[k].gradient(shape_, *angles_, states_[k], tape, gradients_, flowing_);
        }
        if (embedding_gradient_.size() == 0 || !options_.parts.embedding) return;
        const Index n = config_.hidden_size;
        for (std::size_t r = 0; r < tokens_.size(); ++r)
            for (Index i = 0; i < n; ++i)
                embedding_gradient_.data()[tokens_[r] * n + i] +=
                    flowing_.data()[static_cast<Index>(r) * n + i];
    }

  private:
    void require_shapes(const ModelWeights<T>& weights) const {
        const Shape table{config_.vocab_size, config_.hidden_size};
        if (embedding_.shape() != table || (head_ && head_->shape() != table) ||
            head_.has_value() == config_.tied_head ||
            norm_.weight().size() != config_.hidden_size ||
            static_cast<Index>(weights.layers.size()) != config_.num_layers)
            detail::raise<ShapeError>(
                {"TrainableTransformer: the config states an embedding ", to_string(table), ", ",
                 config_.tied_head ? "no head of its own" : "a head", " and ", config_.num_layers,
                 " layers, got ", to_string(embedding_.shape()), ", ",
                 head_ ? to_string(head_->shape()) : "none", " and ", weights.layers.size()});
        if (options_.rows < 1)
            detail::raise<ArgumentError>(
                {"TrainableTransformer: need at least one row, got ", options_.rows});
    }
    void require_tokens(std::span<const Index> tokens, const WindowShape& shape) const {
        if (shape.windows < 1 || shape.length < 1 || shape.rows() != options_.rows ||
            static_cast<Index>(tokens.size()) != options_.rows)
            detail::raise<ShapeError>({"TrainableTransformer::forward: need ", options_.rows,
                                       " tokens in windows, got ", tokens.size(), " in ",
                                       shape.windows, " of ", shape.length});
        if (shape.length > config_.max_positions)
            detail::raise<ArgumentError>({"TrainableTransformer::forward: a window of ",
                                          shape.length, " is longer than the context, ",
                                          config_.max_positions});
        for (std::size_t k = 0; k < tokens.size(); ++k)
            if (tokens[k] < 0 || tokens[k] >= config_.vocab_size)
                detail::raise<ArgumentError>({"TrainableTransformer::forward: token ", k, " is ",
                                              tokens[k], ", the vocabulary has ",
                                              config_.vocab_size});
    }
    /// The last layers have one of their own; all before them use the first.
    [[nodiscard]] BlockTape<T>& tape_of(std::size_t layer) {
        const std::size_t first = layers_.size() - tapes_.size();
        return tapes_[layer > first ? layer - first : 0];
    }

    TransformerConfig config_;
    TrainingOptions options_;
    Tensor<T> embedding_, embedding_gradient_;
    std::optional<Tensor<T>> head_;
    Tensor<T> head_gradient_;
    detail::TrainableNorm<T> norm_;
    std::vector<TrainableBlock<T>> layers_;
    Parameters<T> parameters_;
    std::vector<Tensor<T>> states_;  // before every layer, and behind the last
    std::vector<BlockTape<T>> tapes_;
    BlockGradients<T> gradients_;
    std::vector<Index> tokens_;
    WindowShape shape_;
    std::optional<RotaryAngles<T>> angles_;
    Index angles_length_ = 0;
    Tensor<T> hidden_, flowing_;
};

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template class TrainableTransformer<float>;
}  // namespace mpo
#else
#include "mpo/model/trainable_transformer_inl.hpp"
#endif

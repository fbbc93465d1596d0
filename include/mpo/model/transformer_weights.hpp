// The weights of a decoder, read from a checkpoint, dense or compressed: every tensor is there, has its
// shape and finite numbers, and none is left over.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/linear.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo {

/// Storage of dense weights: as_stored keeps BF16 as it is and makes float of everything else.
enum class WeightPrecision { as_stored, f32, bf16 };

/// How a decoder is made.
struct TransformerOptions {
    WeightPrecision precision = WeightPrecision::as_stored;  // of dense weights in memory
    Index max_workspace_bytes = Index{1}
                                << 26;  // of activations of one pass, and of one MPO's apply
    DenseCache dense_cache = DenseCache::forbid;  // allow: MPOs may keep W where that is faster
    std::vector<Index> batches = {1, 32, 512};    // tokens in one call that MPOs are planned for
    ReadMode read_mode = ReadMode::mapped;        // of the files
};

/// One layer of a decoder.
struct DecoderLayer {
    Tensor<float> input_norm;           // (hidden), before attention
    Tensor<float> post_attention_norm;  // (hidden), before the MLP
    Linear q;                           // self_attn.q_proj: queries
    Linear k;                           // self_attn.k_proj: keys
    Linear v;                           // self_attn.v_proj: values
    Linear o;                           // self_attn.o_proj: from heads to the residual stream
    Linear gate;                        // mlp.gate_proj
    Linear up;                          // mlp.up_proj
    Linear down;                        // mlp.down_proj
};

/// All weights of a decoder.
struct TransformerWeights {
    WeightPanels embedding;            // (vocab, hidden)
    Tensor<float> norm;                // (hidden), before the head
    std::vector<DecoderLayer> layers;  // from the input to the head
    std::optional<Linear> head;        // (vocab, hidden); none: the embedding is the head
};

namespace detail {

/// A checkpoint from which tensors are taken one by one.
class WeightReader {
  public:
    WeightReader(const std::filesystem::path& path, const TransformerOptions& options,
                 const EigenBackend& backend);

    [[nodiscard]] const Checkpoint& checkpoint() const {
        return compressed_ ? compressed_->checkpoint() : *dense_;
    }
    /// The same where it is a compressed one; null where it is dense.
    [[nodiscard]] const CompressedCheckpoint* compressed() const {
        return compressed_ ? &*compressed_ : nullptr;
    }
    [[nodiscard]] bool contains(const std::string& name) const {
        return checkpoint().contains(name);
    }

    /// Says that a tensor is wanted, which must be there with this shape; nothing of it is read.
    void take(const std::string& name, const Shape& shape);
    /// The same of a linear and its bias; the chain that it is stored as, null where it is a matrix.
    const CompressedLinear* take_linear(const std::string& module, Index out, Index in,
                                        bool needs_bias);

    /// A tensor of this shape, all numbers finite.
    [[nodiscard]] Tensor<float> read(const std::string& name, const Shape& shape);

    /// What is stored of a linear.
    [[nodiscard]] LinearWeight<float> weight(const std::string& module, Index out, Index in,
                                             bool needs_bias);
    /// The linear of a module, in the form in which it is stored.
    [[nodiscard]] Linear linear(const std::string& module, Index out, Index in, bool needs_bias);

    [[nodiscard]] WeightStorage storage(const std::string& name) const;

    /// A tensor that nobody asked for belongs to another model.
    void require_all_taken(bool tied) const;

  private:
    [[noreturn]] void fail(const std::string& name, const std::string& what) const;
    void require_finite(const std::string& name, const Tensor<float>& tensor) const;

    TransformerOptions options_;
    const EigenBackend& backend_;
    std::optional<Checkpoint> dense_;
    std::optional<CompressedCheckpoint> compressed_;
    std::unordered_map<std::string, const CompressedLinear*> by_name_;
    std::unordered_set<std::string> taken_;
};

/// A linear of a layer: its module within the layer, its weight (out, in), whether it must have a bias.
struct LayerLinear {
    const char* module;
    Index out, in;
    bool needs_bias;
};

/// q, k, v, o, gate, up, down.
[[nodiscard]] std::array<LayerLinear, 7> layer_linears(const TransformerConfig& config);

/// Throws FormatError unless a checkpoint has all tensors of a decoder in their shapes, and no others. Reads no number.
void require_decoder(WeightReader& reader, const TransformerConfig& config);

[[nodiscard]] DecoderLayer read_layer(WeightReader& reader, const TransformerConfig& config,
                                      Index layer);

[[nodiscard]] TransformerWeights read_weights(WeightReader& reader,
                                              const TransformerConfig& config);

/// Throws ShapeError where the weights do not have the shapes that the config states.
void require_shapes(const TransformerConfig& config, const TransformerWeights& weights);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/transformer_weights_inl.hpp"
#endif

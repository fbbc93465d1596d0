// A healed model on its way to the disk: a compressed checkpoint with other numbers in its cores, norms and biases,
// everything else as it was, bit for bit. Cores are stored in the form and the type that they had, the gauge fixed
// anew. Layers of another compressed checkpoint may take the place of its own: then they are those tensors that are
// healed.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/compressed_writer.hpp"
#include "mpo/model/trainable_block.hpp"

namespace mpo::detail {

/// The numbers of one layer of a healed model; asked for layer by layer, seldom twice.
using HealedLayers = std::function<LayerWeights<float>(Index layer)>;

/// Layers that another checkpoint gives, in ascending order.
struct RivalLayers {
    const CompressedCheckpoint* rival = nullptr;
    std::vector<Index> layers = {};
};

class HealedWriter {
  public:
    /// teacher   of the errors in mpo_config.json
    HealedWriter(const CompressedCheckpoint& student, const Checkpoint& teacher,
                 HealedLayers layers, const EigenBackend& backend, RivalLayers rival = {})
        : student_(student),
          teacher_(teacher),
          layers_(std::move(layers)),
          backend_(backend),
          rival_(std::move(rival)) {}

    /// Writes the folder.
    ///
    /// parts    that were trained
    /// outside  arrays outside the layers that were trained, by name
    /// throws   as OutputFolder; NumericalError where a number becomes too large for its stored type
    void write(const std::filesystem::path& folder, const TrainedParts& parts,
               const std::map<std::string, const Tensor<float>*>& outside);

  private:
    /// "model.layers.3." of "model.layers.3.mlp.up_proj": 3.
    [[nodiscard]] static std::optional<Index> layer_of(std::string_view name);
    /// A tensor as it was, and where.
    struct Source {
        const CompressedCheckpoint* checkpoint;
        const CheckpointTensor* tensor;
    };
    /// The student's tensors; the rival's of a layer of his stand where the first of the student's was.
    [[nodiscard]] std::vector<Source> sources() const;
    [[nodiscard]] const LayerWeights<float>& layer(Index k);
    [[nodiscard]] const LinearWeight<float>& linear(const std::string& name);
    /// A norm or bias that was trained.
    [[nodiscard]] const Tensor<float>* array_of(const std::string& name, const TrainedParts& parts);
    void append(const CompressedLinear& was, CompressedWriter& writer);
    /// Cores and pivots as they lie in the file.
    void keep(const Checkpoint& source, const CompressedLinear& was,
              CompressedWriter& writer) const;

    const CompressedCheckpoint& student_;
    const Checkpoint& teacher_;
    HealedLayers layers_;
    const EigenBackend& backend_;
    RivalLayers rival_;
    Index at_ = -1;
    LayerWeights<float> current_;
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/healed_writer_inl.hpp"
#endif

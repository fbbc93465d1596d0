// What the block stage of healing keeps on the disk: "layer_<k>.snapshot" of a finished layer, "layer_<k>.unfinished"
// of one in the making, as of its last look; "layer_<k>.choice" where one of two forms was chosen by divergence;
// "model.written" when the stage's model was, with the courses of all layers.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/heal_block.hpp"
#include "mpo/model/heal_choice.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/training_windows.hpp"

namespace mpo::detail {

[[nodiscard]] nlohmann::ordered_json to_json(const LearningRate& rate);
[[nodiscard]] nlohmann::ordered_json to_json(const TrainedParts& parts);

/// "divergence" or "loss".
[[nodiscard]] std::string_view name_of(HealChoice choice);

/// What a stage is told of training; seed and memory aside.
[[nodiscard]] nlohmann::ordered_json settings_json(const HealBlocksOptions& options);

/// What a snapshot of the block stage belongs to.
///
/// processes   that share the windows of a step
/// rival       empty: none
[[nodiscard]] nlohmann::ordered_json configuration(const HealBlocksOptions& options,
                                                   const std::string& student,
                                                   const std::string& teacher,
                                                   const TrainingWindows& windows,
                                                   const TrainingWindows& held_out, int processes,
                                                   const std::string& rival = {});

[[nodiscard]] nlohmann::ordered_json to_json(const BlockHealing& healing);
[[nodiscard]] BlockHealing block_healing(const nlohmann::json& json,
                                         const std::string& where = "healing");
/// Layers from the first one on, and back. A text of such JSON is what processes tell each other.
[[nodiscard]] nlohmann::ordered_json to_json(const std::vector<BlockHealing>& layers);
[[nodiscard]] std::vector<BlockHealing> block_healings(const nlohmann::json& json,
                                                       const std::string& where = "healing");

/// Snapshots of the block stage.
class BlockSnapshots {
  public:
    BlockSnapshots(std::filesystem::path folder, nlohmann::ordered_json configuration);
    /// Those of the rival's layers, in the same run: a folder in this one.
    [[nodiscard]] BlockSnapshots of_rival() const { return {folder_ / "rival", configuration_}; }
    [[nodiscard]] std::filesystem::path path_of(Index layer) const {
        return folder_ / concat("layer_", layer, ".snapshot");
    }
    [[nodiscard]] bool has(Index layer) const { return std::filesystem::exists(path_of(layer)); }

    /// A finished layer: its parameters' numbers.
    void save(const BlockHealing& healing, const Parameters<float>& parameters) const;
    /// Its numbers into the parameters. Throws as Snapshot does.
    [[nodiscard]] BlockHealing load(Index layer, const Parameters<float>& parameters) const;

    /// A layer in the making, as of a look.
    void save(const BlockHealState& state, const AdamW<float>& optimizer) const;
    /// Whether a layer is in the making.
    [[nodiscard]] bool has_unfinished(Index layer) const {
        return std::filesystem::exists(unfinished(layer));
    }
    /// Its state, into its parameters and the optimizer, too. Throws as Snapshot does.
    [[nodiscard]] BlockHealState load_unfinished(Index layer, const HealBlocksOptions& options,
                                                 AdamW<float>& optimizer) const;

    /// Says that a model was written of all layers, and what became of them. Throws as SnapshotWriter does.
    void save_written(const std::vector<BlockHealing>& layers,
                      const std::filesystem::path& model) const;
    /// The same; none where no model was written. Throws as Snapshot does, FormatError where it is not of so many layers, or
    /// the model's files are not those that were written.
    [[nodiscard]] std::optional<std::vector<BlockHealing>> written_layers(
        Index num_layers, const std::filesystem::path& model) const;

    /// Divergences of a layer's two forms.
    void save(Index layer, const FormDivergences& divergences) const;
    /// The same; none where they were not saved. Throws as Snapshot does.
    [[nodiscard]] std::optional<FormDivergences> divergences(Index layer) const;

  private:
    [[nodiscard]] std::filesystem::path written() const { return folder_ / "model.written"; }
    [[nodiscard]] std::filesystem::path choice(Index layer) const {
        return folder_ / concat("layer_", layer, ".choice");
    }
    [[nodiscard]] std::filesystem::path unfinished(Index layer) const {
        return folder_ / concat("layer_", layer, ".unfinished");
    }
    std::filesystem::path folder_;
    nlohmann::ordered_json configuration_;
};

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_snapshots_inl.hpp"
#endif

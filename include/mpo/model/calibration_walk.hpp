// CalibrationWalk: a dense decoder, layer by layer and stage by stage, over all texts at once, and beside it the
// same decoder with the linears that were compressed so far. At every stage it has the moments of what the
// stage's linears read in both flows; a linear that is replaced changes the second flow from there on.
//
//   CalibrationWalk walk(path, windows, {}, backend);
//   for (; !walk.done(); walk.advance()) {
//       const auto moments = walk.moments();
//       for (const auto& name : walk.linears()) walk.replace(compress(walk.weight(name), moments));
//   }
//
// Layers are read when the walk reaches them. Of every text it keeps the states, (tokens, hidden) floats for
// each flow, one update of the dense flow, (tokens, hidden), and between two stages what attention gave,
// (tokens, heads head_dim) for each flow; the wide activations of the MLP are made window by window,
// those of the compressed flow twice. Beside these there are the weights of one layer, the activations of one
// window and one moment. Until a linear is replaced there is one flow.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/calibration_flow.hpp"
#include "mpo/model/calibration_run.hpp"
#include "mpo/model/calibration_windows.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/moments.hpp"
#include "mpo/model/sinks.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo {

/// How moments are accumulated.
struct CalibrationOptions {
    double sink_factor = 20;  // a sink's norm exceeds this many medians
    double reader_sink_weight =
        1;  // of sinks where a linear reads normalised states: all are alike there
    TransformerOptions model = {};  // how weights are read
};

/// The walk. Not to be copied or moved; one thread calls it.
class CalibrationWalk {
  public:
    /// Before the first stage of the first layer.
    ///
    /// path      a checkpoint, dense where weight() is to be had
    /// windows   at least one, of 2 or more tokens each
    /// backend   must outlive the walk
    /// throws    ArgumentError (windows, options); as the constructor of Transformer, later calls too
    CalibrationWalk(const std::filesystem::path& path, std::vector<CalibrationWindow> windows,
                    CalibrationOptions options, const EigenBackend& backend);
    CalibrationWalk(const CalibrationWalk&) = delete;
    CalibrationWalk& operator=(const CalibrationWalk&) = delete;
    ~CalibrationWalk() = default;
    /// The walk keeps a pointer to its backend: a temporary one is refused at compile time.
    CalibrationWalk(const std::filesystem::path&, std::vector<CalibrationWindow>,
                    CalibrationOptions, const EigenBackend&&) = delete;

    /// Shapes and numbers of the decoder.
    [[nodiscard]] const TransformerConfig& config() const { return config_; }
    /// The texts.
    [[nodiscard]] const std::vector<CalibrationWindow>& windows() const { return windows_; }
    /// Whether all layers lie behind.
    [[nodiscard]] bool done() const { return layer_ == config_.num_layers; }
    /// The layer it stands at.
    [[nodiscard]] Index layer() const { return layer_; }
    /// The stage it stands before.
    [[nodiscard]] BlockStage stage() const { return stage_; }
    /// Modules that the stage applies; none behind the last layer.
    [[nodiscard]] std::vector<std::string> linears() const;
    /// The dense weight (out, in) of one of them. Throws ArgumentError for others, FormatError.
    [[nodiscard]] Tensor<float> weight(const std::string& linear);
    /// Its bias (out), or no elements. Throws as weight.
    [[nodiscard]] const Tensor<float>& bias(const std::string& linear) const {
        return find(linear).bias();
    }
    /// Positions that became sinks so far, in order of appearance.
    [[nodiscard]] const std::vector<SinkPosition>& sinks() const { return sinks_; }
    /// One for every layer that lies behind.
    [[nodiscard]] const std::vector<BlockDeviation>& deviations() const { return deviations_; }
    /// Whether a linear was replaced: there are two flows.
    [[nodiscard]] bool diverged() const { return diverged_; }
    /// States of a window in the dense flow, (tokens, hidden), before the stage's linears are applied.
    [[nodiscard]] const Tensor<float>& state(Index window) const {
        return dense_.states.at(static_cast<std::size_t>(window));
    }
    /// The same in the compressed flow.
    [[nodiscard]] const Tensor<float>& compressed_state(Index window) const {
        return (diverged_ ? compressed_ : dense_).states.at(static_cast<std::size_t>(window));
    }

    /// Moments of what the stage's linears read, of both flows where they have diverged.
    ///
    /// weights   those of the windows. Where outputs are added to the state, positions that are sinks behind it
    ///           have the term of their own that moments.hpp describes
    /// cost      that of InputMoments::add, and the stage's products in the dense flow
    /// throws    ArgumentError behind the last layer, NumericalError, naming linear, window and position,
    ///           for NaN or Inf
    [[nodiscard]] InputMoments moments();

    /// Puts another form of one of the stage's linears into the compressed flow, from this stage on.
    ///
    /// linear   has the name and the shape of the one that it replaces, and its bias
    /// throws   ArgumentError where the stage has no such linear, ShapeError
    void replace(Linear linear);

    /// Applies the stage's linears in both flows. Throws as moments does, where it was not called; the walk
    /// must not go on then.
    void advance();

    /// One flow again from this layer on: the compressed one becomes the dense one. Throws ArgumentError inside a
    /// layer.
    void rejoin();

  private:
    void require_options() const;
    void require_stage(const char* call) const;
    [[nodiscard]] detail::BlockContext context() {
        return {config_, *block_, table_, cache_, backend_};
    }
    [[nodiscard]] std::vector<const Linear*> stage_linears() const;
    [[nodiscard]] const Linear& find(const std::string& name) const;
    [[nodiscard]] detail::BlockLinears compressed_linears() const;

    void embed();
    void read_layer() {
        if (!done()) block_.emplace(detail::read_layer(reader_, config_, layer_));
    }

    /// One pass over the windows: moments where they are wanted; updates, norms and sinks of the dense flow
    /// where the stage writes to it.
    void run_stage(InputMoments* moments);
    void add_moments(InputMoments& moments, std::size_t w, const Tensor<float>& X);
    [[nodiscard]] static std::span<const float> row(const Tensor<float>& X, Index t) {
        return {X.data() + t * X.extent(1), static_cast<std::size_t>(X.extent(1))};
    }
    /// sum of w_t norm(y_t)^2.
    [[nodiscard]] double energy(const Tensor<float>& Y, const std::vector<double>& weights) const;
    /// Norms of the dense states behind what `made` names, and the sinks that are new among them.
    void note_norms(std::size_t w, const float* update, SinkPosition made);

    /// The flows behind the layer.
    [[nodiscard]] BlockDeviation deviation() const;
    void finish_layer();

    CalibrationOptions options_;
    const EigenBackend& backend_;
    detail::WeightReader reader_;
    TransformerConfig config_;
    std::vector<CalibrationWindow> windows_;
    Index longest_;  // of the windows, tokens
    RotaryTable table_;
    KvCache cache_;
    Index layer_ = 0;
    BlockStage stage_ = BlockStage::attention;
    std::optional<DecoderLayer> block_;  // the layer it stands at
    std::map<std::string, Linear> replaced_;
    detail::CalibrationFlow dense_, compressed_;
    bool diverged_ = false, updated_ = false;  // updated: updates_ and norms_ are this stage's
    std::vector<Tensor<float>> updates_;       // of the dense flow, not added yet
    std::vector<detail::StateNorms> norms_;    // of the dense states behind the last update
    std::vector<SinkPosition> sinks_;
    std::vector<BlockDeviation> deviations_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/calibration_walk_inl.hpp"
#endif

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

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
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
                    CalibrationOptions options, const EigenBackend& backend)
        : options_(std::move(options)),
          backend_(backend),
          reader_(path, options_.model, backend),
          config_(transformer_config(reader_.checkpoint())),
          windows_(std::move(windows)),
          longest_(detail::require_windows(windows_, config_)),
          table_(config_.rotary, 0, longest_),
          cache_(1, config_.num_kv_heads, config_.head_dim, longest_) {
        require_options();
        embed();
        read_layer();
    }
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
    [[nodiscard]] std::vector<std::string> linears() const {
        std::vector<std::string> names;
        if (!done())
            for (const Linear* linear : stage_linears()) names.push_back(linear->name());
        return names;
    }
    /// The dense weight (out, in) of one of them. Throws ArgumentError for others, FormatError.
    [[nodiscard]] Tensor<float> weight(const std::string& linear) {
        const Linear& dense = find(linear);
        return reader_.read(linear + ".weight", {dense.rows(), dense.cols()});
    }
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
    [[nodiscard]] InputMoments moments() {
        require_stage("moments");
        InputMoments result(linears(), stage_linears().front()->cols(),
                            diverged_ ? MomentFlows::both : MomentFlows::dense);
        run_stage(&result);
        result.release_workspace();
        return result;
    }

    /// Puts another form of one of the stage's linears into the compressed flow, from this stage on.
    ///
    /// linear   has the name and the shape of the one that it replaces, and its bias
    /// throws   ArgumentError where the stage has no such linear, ShapeError
    void replace(Linear linear) {
        const Linear& dense = find(linear.name());
        if (linear.rows() != dense.rows() || linear.cols() != dense.cols())
            detail::raise<ShapeError>({"CalibrationWalk: ", dense.name(), " is ", dense.rows(),
                                       " x ", dense.cols(), ", its replacement ", linear.rows(),
                                       " x ", linear.cols()});
        if (!diverged_) compressed_.copy(dense_);
        diverged_ = true;
        const std::string name = linear.name();
        replaced_.insert_or_assign(name, std::move(linear));
    }

    /// Applies the stage's linears in both flows. Throws as moments does, where it was not called; the walk
    /// must not go on then.
    void advance() {
        require_stage("advance");
        if (writes_residual(stage_) && !updated_) run_stage(nullptr);
        updated_ = false;
        const auto at = context();
        if (stage_ == BlockStage::attention) {
            dense_.attend(at, detail::BlockLinears(*block_));
            if (diverged_) compressed_.attend(at, compressed_linears());
        } else if (writes_residual(stage_)) {
            if (diverged_) compressed_.add_updates(stage_, at, compressed_linears());
            for (std::size_t w = 0; w < windows_.size(); ++w)
                detail::add_rows(updates_[w], detail::rows_of(dense_.states[w]));
            dense_.forget_attended();
        }
        if (stage_ == BlockStage::down) return finish_layer();
        stage_ = static_cast<BlockStage>(static_cast<int>(stage_) + 1);
    }

    /// One flow again from this layer on: the compressed one becomes the dense one. Throws ArgumentError inside a
    /// layer.
    void rejoin() {
        if (stage_ != BlockStage::attention)
            detail::raise<ArgumentError>(
                {"CalibrationWalk::rejoin: the walk stands inside layer ", layer_});
        replaced_.clear();
        diverged_ = false;
    }

  private:
    void require_options() const {
        if (!(options_.sink_factor > 1) || !(options_.reader_sink_weight >= 0))
            detail::raise<ArgumentError>({"CalibrationWalk: sink_factor must be > 1 and ",
                                          "reader_sink_weight >= 0, got ", options_.sink_factor,
                                          " and ", options_.reader_sink_weight});
    }
    void require_stage(const char* call) const {
        if (done())
            detail::raise<ArgumentError>(
                {"CalibrationWalk::", call, ": all ", config_.num_layers, " layers lie behind"});
    }
    [[nodiscard]] detail::BlockContext context() {
        return {config_, *block_, table_, cache_, backend_};
    }
    [[nodiscard]] std::vector<const Linear*> stage_linears() const {
        const auto& b = *block_;
        if (stage_ == BlockStage::attention) return {&b.q, &b.k, &b.v};
        if (stage_ == BlockStage::output) return {&b.o};
        if (stage_ == BlockStage::mlp) return {&b.gate, &b.up};
        return {&b.down};
    }
    [[nodiscard]] const Linear& find(const std::string& name) const {
        if (!done())
            for (const Linear* linear : stage_linears())
                if (linear->name() == name) return *linear;
        detail::raise<ArgumentError>({"CalibrationWalk: ", detail::in_quotes(name),
                                      " is no linear of the stage",
                                      done() ? "; all layers lie behind" : " before ",
                                      done() ? "" : stage_linears().front()->name().c_str()});
    }
    [[nodiscard]] detail::BlockLinears compressed_linears() const {
        detail::BlockLinears result(*block_);
        for (const Linear** linear :
             {&result.q, &result.k, &result.v, &result.o, &result.gate, &result.up, &result.down})
            if (const auto found = replaced_.find((*linear)->name()); found != replaced_.end())
                *linear = &found->second;
        return result;
    }

    void embed() {
        const std::string name = "model.embed_tokens.weight";
        const auto E = reader_.read(name, {config_.vocab_size, config_.hidden_size});
        const WeightPanels embedding(as_matrix(E.view()), reader_.storage(name));
        for (const auto& window : windows_) {
            const auto& tokens = window.tokens;
            Tensor<float> x({static_cast<Index>(tokens.size()), config_.hidden_size});
            for (std::size_t t = 0; t < tokens.size(); ++t)
                embedding.read_row(tokens[t],
                                   x.data() + static_cast<Index>(t) * config_.hidden_size);
            dense_.states.push_back(std::move(x));
        }
        norms_.resize(windows_.size());
        updates_.resize(windows_.size());
        for (std::size_t w = 0; w < windows_.size(); ++w) note_norms(w, nullptr, SinkPosition{});
    }
    void read_layer() {
        if (!done()) block_.emplace(detail::read_layer(reader_, config_, layer_));
    }

    /// One pass over the windows: moments where they are wanted; updates, norms and sinks of the dense flow
    /// where the stage writes to it.
    void run_stage(InputMoments* moments) {
        const detail::BlockLinears linears(*block_);
        for (std::size_t w = 0; w < windows_.size(); ++w) try {
                const auto& X = dense_.inputs(stage_, context(), linears, w);
                if (writes_residual(stage_) && !updated_) {
                    const Linear& writer = *stage_linears().front();
                    updates_[w] = dense_.update(writer, X, context());
                    note_norms(w, updates_[w].data(), {layer_, stage_});
                }
                if (moments) add_moments(*moments, w, X);
            } catch (const NumericalError& error) {
                detail::raise<NumericalError>({"calibrate: in window ", w, " ", error.what()});
            }
        updated_ = writes_residual(stage_);
    }
    void add_moments(InputMoments& moments, std::size_t w, const Tensor<float>& X) {
        const Tensor<float>* Z = nullptr;
        if (diverged_) Z = &compressed_.inputs(stage_, context(), compressed_linears(), w);
        const double weight = windows_[w].weight;
        const bool writes = writes_residual(stage_);
        std::vector<double> weights(windows_[w].tokens.size(), weight);
        for (const Index t : norms_[w].sinks)
            weights[static_cast<std::size_t>(t)] =
                writes ? 0 : weight * options_.reader_sink_weight;
        if (Z)
            moments.add(as_matrix(X.view()), as_matrix(Z->view()), weights, backend_);
        else
            moments.add(as_matrix(X.view()), weights, backend_);
        if (!writes) return;
        moments.add_output_energy(energy(updates_[w], weights));
        for (const Index t : norms_[w].sinks) {
            const double norm = norms_[w].norms[static_cast<std::size_t>(t)];
            moments.add_sink(row(X, t), Z ? row(*Z, t) : std::span<const float>(), weight,
                             norm * norm);
        }
    }
    [[nodiscard]] static std::span<const float> row(const Tensor<float>& X, Index t) {
        return {X.data() + t * X.extent(1), static_cast<std::size_t>(X.extent(1))};
    }
    /// sum of w_t norm(y_t)^2.
    [[nodiscard]] double energy(const Tensor<float>& Y, const std::vector<double>& weights) const {
        double sum = 0;
        for (Index t = 0; t < Y.extent(0); ++t) {
            double norm = 0;
            backend_.dot(Y.extent(1), Y.data() + t * Y.extent(1), Y.data() + t * Y.extent(1),
                         &norm);
            sum += weights[static_cast<std::size_t>(t)] * norm;
        }
        return sum;
    }
    /// Norms of the dense states behind what `made` names, and the sinks that are new among them.
    void note_norms(std::size_t w, const float* update, SinkPosition made) {
        norms_[w] = detail::state_norms(detail::rows_of(dense_.states[w]), update,
                                        options_.sink_factor, made.module());
        made.window = static_cast<Index>(w);
        made.median = norms_[w].median;
        for (const Index t : norms_[w].sinks) {
            const bool known = std::any_of(sinks_.begin(), sinks_.end(), [&](const auto& sink) {
                return sink.window == made.window && sink.position == t;
            });
            if (known) continue;
            made.position = t;
            made.norm = norms_[w].norms[static_cast<std::size_t>(t)];
            sinks_.push_back(made);
        }
    }

    /// The flows behind the layer.
    [[nodiscard]] BlockDeviation deviation() const {
        BlockDeviation result{layer_, 0, 0, 0};
        double lost = 0, total = 0;
        for (std::size_t w = 0; w < windows_.size(); ++w) {
            const auto& sinks = norms_[w].sinks;
            const auto &x = state(static_cast<Index>(w)),
                       &z = compressed_state(static_cast<Index>(w));
            result.sinks += static_cast<Index>(sinks.size());
            for (Index t = 0; diverged_ && t < x.extent(0); ++t) {
                double error = 0, size = 0;
                for (Index i = 0; i < x.extent(1); ++i) {
                    const double value = x(t, i), difference = z(t, i) - value;
                    error += difference * difference;
                    size += value * value;
                }
                if (std::binary_search(sinks.begin(), sinks.end(), t)) {
                    result.worst_sink = (std::max)(result.worst_sink, std::sqrt(error / size));
                } else {
                    lost += error;
                    total += size;
                }
            }
        }
        if (total > 0) result.ordinary = std::sqrt(lost / total);
        return result;
    }
    void finish_layer() {
        deviations_.push_back(deviation());
        replaced_.clear();
        stage_ = BlockStage::attention;
        ++layer_;
        block_.reset();
        read_layer();
    }

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

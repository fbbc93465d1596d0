// The bodies of model/calibration_walk.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/calibration_walk.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE CalibrationWalk::CalibrationWalk(const std::filesystem::path& path,
                                                         std::vector<CalibrationWindow> windows,
                                                         CalibrationOptions options,
                                                         const EigenBackend& backend)
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

MPO_DETAIL_MODEL_INLINE std::vector<std::string> CalibrationWalk::linears() const {
    std::vector<std::string> names;
    if (!done())
        for (const Linear* linear : stage_linears()) names.push_back(linear->name());
    return names;
}

MPO_DETAIL_MODEL_INLINE Tensor<float> CalibrationWalk::weight(const std::string& linear) {
    const Linear& dense = find(linear);
    return reader_.read(linear + ".weight", {dense.rows(), dense.cols()});
}

MPO_DETAIL_MODEL_INLINE InputMoments CalibrationWalk::moments() {
    require_stage("moments");
    InputMoments result(linears(), stage_linears().front()->cols(),
                        diverged_ ? MomentFlows::both : MomentFlows::dense);
    run_stage(&result);
    result.release_workspace();
    return result;
}

MPO_DETAIL_MODEL_INLINE void CalibrationWalk::replace(Linear linear) {
    const Linear& dense = find(linear.name());
    if (linear.rows() != dense.rows() || linear.cols() != dense.cols())
        detail::raise<ShapeError>({"CalibrationWalk: ", dense.name(), " is ", dense.rows(), " x ",
                                   dense.cols(), ", its replacement ", linear.rows(), " x ",
                                   linear.cols()});
    if (!diverged_) compressed_.copy(dense_);
    diverged_ = true;
    const std::string name = linear.name();
    replaced_.insert_or_assign(name, std::move(linear));
}

MPO_DETAIL_MODEL_INLINE void CalibrationWalk::advance() {
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

MPO_DETAIL_MODEL_INLINE void CalibrationWalk::rejoin() {
    if (stage_ != BlockStage::attention)
        detail::raise<ArgumentError>(
            {"CalibrationWalk::rejoin: the walk stands inside layer ", layer_});
    replaced_.clear();
    diverged_ = false;
}

MPO_DETAIL_MODEL_INLINE void CalibrationWalk::require_options() const {
    if (!(options_.sink_factor > 1) || !(options_.reader_sink_weight >= 0))
        detail::raise<ArgumentError>({"CalibrationWalk: sink_factor must be > 1 and ",
                                      "reader_sink_weight >= 0, got ", options_.sink_factor,
                                      " and ", options_.reader_sink_weight});
}

MPO_DETAIL_MODEL_INLINE void CalibrationWalk::require_stage(const char* call) const {
    if (done())
        detail::raise<ArgumentError>(
            {"CalibrationWalk::", call, ": all ", config_.num_layers, " layers lie behind"});
}

MPO_DETAIL_MODEL_INLINE std::vector<const Linear*> CalibrationWalk::stage_linears() const {
    const auto& b = *block_;
    if (stage_ == BlockStage::attention) return {&b.q, &b.k, &b.v};
    if (stage_ == BlockStage::output) return {&b.o};
    if (stage_ == BlockStage::mlp) return {&b.gate, &b.up};
    return {&b.down};
}

MPO_DETAIL_MODEL_INLINE const Linear& CalibrationWalk::find(const std::string& name) const {
    if (!done())
        for (const Linear* linear : stage_linears())
            if (linear->name() == name) return *linear;
    detail::raise<ArgumentError>({"CalibrationWalk: ", detail::in_quotes(name),
                                  " is no linear of the stage",
                                  done() ? "; all layers lie behind" : " before ",
                                  done() ? "" : stage_linears().front()->name().c_str()});
}

MPO_DETAIL_MODEL_INLINE detail::BlockLinears CalibrationWalk::compressed_linears() const {
    detail::BlockLinears result(*block_);
    for (const Linear** linear :
         {&result.q, &result.k, &result.v, &result.o, &result.gate, &result.up, &result.down})
        if (const auto found = replaced_.find((*linear)->name()); found != replaced_.end())
            *linear = &found->second;
    return result;
}

MPO_DETAIL_MODEL_INLINE void CalibrationWalk::embed() {
    const std::string name = "model.embed_tokens.weight";
    const auto E = reader_.read(name, {config_.vocab_size, config_.hidden_size});
    const WeightPanels embedding(as_matrix(E.view()), reader_.storage(name));
    for (const auto& window : windows_) {
        const auto& tokens = window.tokens;
        Tensor<float> x({static_cast<Index>(tokens.size()), config_.hidden_size});
        for (std::size_t t = 0; t < tokens.size(); ++t)
            embedding.read_row(tokens[t], x.data() + static_cast<Index>(t) * config_.hidden_size);
        dense_.states.push_back(std::move(x));
    }
    norms_.resize(windows_.size());
    updates_.resize(windows_.size());
    for (std::size_t w = 0; w < windows_.size(); ++w) note_norms(w, nullptr, SinkPosition{});
}

MPO_DETAIL_MODEL_INLINE void CalibrationWalk::run_stage(InputMoments* moments) {
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

MPO_DETAIL_MODEL_INLINE void CalibrationWalk::add_moments(InputMoments& moments, std::size_t w,
                                                          const Tensor<float>& X) {
    const Tensor<float>* Z = nullptr;
    if (diverged_) Z = &compressed_.inputs(stage_, context(), compressed_linears(), w);
    const double weight = windows_[w].weight;
    const bool writes = writes_residual(stage_);
    std::vector<double> weights(windows_[w].tokens.size(), weight);
    for (const Index t : norms_[w].sinks)
        weights[static_cast<std::size_t>(t)] = writes ? 0 : weight * options_.reader_sink_weight;
    if (Z)
        moments.add(as_matrix(X.view()), as_matrix(Z->view()), weights, backend_);
    else
        moments.add(as_matrix(X.view()), weights, backend_);
    if (!writes) return;
    moments.add_output_energy(energy(updates_[w], weights));
    for (const Index t : norms_[w].sinks) {
        const double norm = norms_[w].norms[static_cast<std::size_t>(t)];
        moments.add_sink(row(X, t), Z ? row(*Z, t) : std::span<const float>(), weight, norm * norm);
    }
}

MPO_DETAIL_MODEL_INLINE double CalibrationWalk::energy(const Tensor<float>& Y,
                                                       const std::vector<double>& weights) const {
    double sum = 0;
    for (Index t = 0; t < Y.extent(0); ++t) {
        double norm = 0;
        backend_.dot(Y.extent(1), Y.data() + t * Y.extent(1), Y.data() + t * Y.extent(1), &norm);
        sum += weights[static_cast<std::size_t>(t)] * norm;
    }
    return sum;
}

MPO_DETAIL_MODEL_INLINE void CalibrationWalk::note_norms(std::size_t w, const float* update,
                                                         SinkPosition made) {
    norms_[w] = detail::state_norms(detail::rows_of(dense_.states[w]), update, options_.sink_factor,
                                    made.module());
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

MPO_DETAIL_MODEL_INLINE BlockDeviation CalibrationWalk::deviation() const {
    BlockDeviation result{layer_, 0, 0, 0};
    double lost = 0, total = 0;
    for (std::size_t w = 0; w < windows_.size(); ++w) {
        const auto& sinks = norms_[w].sinks;
        const auto &x = state(static_cast<Index>(w)), &z = compressed_state(static_cast<Index>(w));
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

MPO_DETAIL_MODEL_INLINE void CalibrationWalk::finish_layer() {
    deviations_.push_back(deviation());
    replaced_.clear();
    stage_ = BlockStage::attention;
    ++layer_;
    block_.reset();
    read_layer();
}

}  // namespace mpo

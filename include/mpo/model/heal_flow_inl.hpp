// The bodies of model/heal_flow.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/decoder_block.hpp"
#include "mpo/model/heal_flow.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/sinks.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void RowWeights::append(const RowWeights& from, std::size_t begin,
                                                std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
        ordinary.push_back(from.ordinary[r]);
        sinks.push_back(from.sinks[r]);
        bends.push_back(from.bends[r]);
    }
}

MPO_DETAIL_MODEL_INLINE void RowWeights::resize(std::size_t rows) {
    ordinary.resize(rows);
    sinks.resize(rows);
    bends.resize(rows);
}

MPO_DETAIL_MODEL_INLINE HealFlow::HealFlow(std::span<const Index> tokens, const WindowShape& shape,
                                           const Tensor<float>& embedding,
                                           const TransformerConfig& config,
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
        std::copy_n(embedding.data() + tokens[r] * n, n, dense_.data() + static_cast<Index>(r) * n);
    healed_ = dense_;
}

/// Some blocks of `size` numbers, one behind the other.
template <class R>
void copy_blocks(const R* from, std::span<const Index> blocks, Index size, R* to) {
    for (const Index block : blocks) to = std::copy_n(from + block * size, size, to);
}

MPO_DETAIL_MODEL_INLINE void HealFlow::keep(std::span<const Index> windows) {
    const auto count = static_cast<Index>(windows.size()), length = shape_.length,
               n = config_.hidden_size;
    for (auto* states : {&dense_, &healed_}) {
        Tensor<float> kept({count * length, n});
        copy_blocks(states->data(), windows, length * n, kept.data());
        *states = std::move(kept);
    }
    const auto keep_numbers = [&](auto& of, Index each) {
        std::remove_reference_t<decltype(of)> kept(static_cast<std::size_t>(count * each));
        copy_blocks(of.data(), windows, each, kept.data());
        of = std::move(kept);
    };
    for (auto* of : {&energies_, &squares_}) keep_numbers(*of, length);
    for (auto* of : {&sinks_, &strays_}) keep_numbers(*of, length);
    keep_numbers(medians_, 1);
    shape_.windows = count;
}

MPO_DETAIL_MODEL_INLINE void HealFlow::advance_dense(const DecoderLayer& layer,
                                                     double sink_factor) {
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
    ++layers_;
}

MPO_DETAIL_MODEL_INLINE Tensor<float> HealFlow::outputs(const TrainableBlock<float>& layer,
                                                        std::span<const Index> windows,
                                                        Index at_once) {
    const Index n = config_.hidden_size, rows = static_cast<Index>(windows.size()) * shape_.length;
    Tensor<float> states({rows, n});
    copy_blocks(healed_.data(), windows, shape_.length * n, states.data());
    run_healed(layer, at_once, states);
    return states;
}

MPO_DETAIL_MODEL_INLINE void HealFlow::run_healed(const TrainableBlock<float>& layer, Index at_once,
                                                  Tensor<float>& states) {
    const Index windows = states.extent(0) / shape_.length, batch = (std::min)(at_once, windows);
    std::optional<BlockTape<float>> tape;  // while steps are taken theirs is enough
    Tensor<float> in, out;
    for (Index w = 0; w < windows; w += batch) {
        const WindowShape part{(std::min)(batch, windows - w), shape_.length};
        if (!tape || tape->normed.extent(0) != part.rows()) {
            tape.emplace(config_, part.rows());
            in = Tensor<float>({part.rows(), config_.hidden_size});
            out = in;
        }
        float* rows = states.data() + w * shape_.length * config_.hidden_size;
        std::copy_n(rows, in.size(), in.data());
        layer.apply(part, angles(), in, out, *tape);
        std::copy_n(out.data(), out.size(), rows);
    }
}

MPO_DETAIL_MODEL_INLINE const RotaryAngles<float>& HealFlow::angles() const {
    if (!angles_) angles_.emplace(config_.rotary, 0, shape_.length);
    return *angles_;
}

MPO_DETAIL_MODEL_INLINE void HealFlow::gather(std::span<const Index> windows, Tensor<float>& inputs,
                                              Tensor<float>& targets) const {
    const Index size = shape_.length * config_.hidden_size;
    copy_blocks(healed_.data(), windows, size, inputs.data());
    copy_blocks(dense_.data(), windows, size, targets.data());
}

MPO_DETAIL_MODEL_INLINE RowWeights HealFlow::weights(std::span<const Index> windows,
                                                     Index left_out) const {
    RowWeights result;
    const bool is_last = layers_ == config_.num_layers;
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
            sink && !is_last ? static_cast<float>(1 / (squares_[r] * static_cast<double>(sinks)))
                             : 0);
        result.bends.push_back(
            static_cast<float>(medians_[r / static_cast<std::size_t>(shape_.length)]));
    });
    return result;
}

MPO_DETAIL_MODEL_INLINE MatrixView<float> HealFlow::window_of(Tensor<float>& states,
                                                              Index w) const {
    const Index n = config_.hidden_size;
    return matrix(states.data() + w * shape_.length * n, shape_.length, n);
}

MPO_DETAIL_MODEL_INLINE void HealFlow::measure(Index w, const Tensor<float>& before,
                                               MatrixView<const float> after,
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
    for (const Index t : norms.sinks) sinks_[static_cast<std::size_t>(w * shape_.length + t)] = 1;
}

MPO_DETAIL_MODEL_INLINE void HealFlow::find_strays(Index w, const std::string& module,
                                                   double sink_factor) {
    const auto norms = state_norms(window_of(healed_, w), nullptr, sink_factor, module);
    const auto row = [&](Index t) { return static_cast<std::size_t>(w * shape_.length + t); };
    for (Index t = 0; t < shape_.length; ++t) strays_[row(t)] = 0;
    for (const Index t : norms.sinks) {
        const double norm = norms.norms[static_cast<std::size_t>(t)];
        strays_[row(t)] = sinks_[row(t)] == 0 ? 1 : 0;
        squares_[row(t)] = (std::max)(squares_[row(t)], norm * norm);
    }
}

MPO_DETAIL_MODEL_INLINE BlockLossValue block_loss(const Tensor<float>& y, const Tensor<float>& z,
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

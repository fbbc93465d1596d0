// The block stage of healing: layer after layer, front to back, each trained towards the outputs that the dense
// model has there, with the inputs that the healed layers before it give. One layer is in memory at a time, and
// the states of all windows.
//
// What is done is in the work folder (heal_snapshots.hpp). Killed at any moment, a run goes on from the last look, and
// ends with the same bits.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/heal_block.hpp"
#include "mpo/model/heal_flow.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/heal_snapshots.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/model/trainable_transformer.hpp"
#include "mpo/model/training_windows.hpp"
#include "mpo/model/transformer_weights.hpp"

namespace mpo {

/// What a run of healing works on.
struct HealSources {
    std::filesystem::path student;              // a compressed checkpoint
    std::filesystem::path teacher;              // the dense one that it was made of
    std::filesystem::path work;                 // folder of snapshots; made where it is not there
    const TrainingWindows* windows = nullptr;   // to train on
    const TrainingWindows* held_out = nullptr;  // to look at, of the same length; at least one
};

/// What a run of healing is at: layer after layer, the teacher's pass over the windows, or all layers together.
enum class HealStage { blocks, teacher, distillation };

/// Where a run is: told after every look, and after every window that the teacher has read. Members that a stage
/// does not know are 0.
struct HealProgress {
    Index layer = -1;      // that is being healed; -1: all of them, by distillation
    Index num_layers = 0;  // of the model
    Index step =
        0;  // steps done of the layer, or of distillation; windows that the teacher has read
    Index steps = 0;                      // of all
    double loss = 0;                      // mean since the last look
    double held_out = 0;                  // loss of the held-out windows
    double tokens_per_second = 0;         // over all processes, mean
    double seconds_left = 0;              // of the stage, at the rate so far
    HealStage stage = HealStage::blocks;  // which
};

/// Hears of progress, and may end the run: what the work folder has stays.
using HealCallback = std::function<ProgressReply(const HealProgress&)>;

namespace detail {

inline void require_heal_windows(const HealSources& sources, const TransformerConfig& config,
                                 Index batch_windows, int processes) {
    const auto &train = *sources.windows, &held_out = *sources.held_out;
    if (train.count() < 1 || held_out.count() < 1 || train.length != held_out.length)
        raise<ArgumentError>({"heal: need windows to train on and to look at, of one length, got ",
                              train.count(), " of ", train.length, " and ", held_out.count(),
                              " of ", held_out.length});
    if (train.length > config.max_positions)
        raise<ArgumentError>({"heal: a window has ", train.length,
                              " tokens, the context of the model ", config.max_positions});
    if (batch_windows % processes != 0)
        raise<ArgumentError>({"heal: ", processes, " processes cannot share ", batch_windows,
                              " windows of a step evenly"});
    for (const auto* windows : {&train, &held_out})
        for (const Index id : windows->tokens)
            if (id < 0 || id >= config.vocab_size)
                raise<ArgumentError>(
                    {"heal: token ", id, " is outside the vocabulary of ", config.vocab_size});
}

/// Throws ShapeError where a student is not its teacher's size.
inline void require_same_decoder(const TransformerConfig& student,
                                 const TransformerConfig& teacher) {
    const auto require = [](const char* what, Index of_student, Index of_teacher) {
        if (of_student != of_teacher)
            raise<ShapeError>(
                {"heal: the student's ", what, " is ", of_student, ", the teacher's ", of_teacher});
    };
    require("vocabulary", student.vocab_size, teacher.vocab_size);
    require("hidden size", student.hidden_size, teacher.hidden_size);
    require("number of layers", student.num_layers, teacher.num_layers);
    require("intermediate size", student.intermediate_size, teacher.intermediate_size);
    require("number of heads", student.num_heads, teacher.num_heads);
    require("number of key-value heads", student.num_kv_heads, teacher.num_kv_heads);
    require("size of a head", student.head_dim, teacher.head_dim);
}

/// One layer of a run.
struct LayerRun {
    Index layer, num_layers;
    Index tokens;  // of a step, over all processes
    const HealBlocksOptions& options;
};

/// What a look says to the caller.
[[nodiscard]] inline HealProgress progress_of(const BlockHealState& state, const LayerRun& run) {
    const auto& point = state.healing.curve.back();
    const double steps = static_cast<double>(state.step);
    HealProgress progress{run.layer,
                          run.num_layers,
                          state.step,
                          run.options.steps,
                          point.training,
                          point.held_out + run.options.sink_weight * point.sinks,
                          0,
                          0};
    if (state.step == 0) return progress;
    progress.tokens_per_second = static_cast<double>(run.tokens) * steps / state.seconds;
    const Index left = (run.num_layers - run.layer) * run.options.steps - state.step;
    progress.seconds_left = static_cast<double>(left) * state.seconds / steps;
    return progress;
}

/// A layer as an earlier run left it, finished or not, or healed from its beginning.
template <Communicator Group>
[[nodiscard]] BlockHealing heal_or_load(TrainableBlock<float>& layer, const HealFlow& flow,
                                        const HealSplit& split, const LayerRun& run,
                                        BlockTrainer& trainer, Group& group,
                                        const BlockSnapshots& snapshots,
                                        const HealCallback& progress) {
    Parameters<float> parameters;
    layer.list(parameters);
    if (snapshots.has(run.layer)) {
        auto healing = snapshots.load(run.layer, parameters);
        layer.refresh();
        return healing;
    }
    BlockHealState state;
    state.healing.layer = run.layer;
    state.healing.sinks = flow.num_sinks();
    if (parameters.num_values() == 0) {  // nothing to train, but something to say
        look_at(layer, flow, split, run.options, trainer, parameters, state);
        return state.healing;
    }
    AdamW<float> optimizer(parameters, adam_of(run.options));
    if (auto unfinished = snapshots.load_unfinished(run.layer, optimizer))
        state = std::move(*unfinished);
    else
        balance(layer);
    layer.refresh();
    group.barrier();  // all have read what rank 0 is about to replace
    const auto observer = [&](const BlockHealState& now, const AdamW<float>& memory) {
        if (group.rank() != 0) return;
        snapshots.save(now, memory);
        if (progress && progress(progress_of(now, run)) == ProgressReply::cancel)
            throw Cancelled(concat("heal: cancelled in layer ", run.layer, " after step ", now.step,
                                   "; the work folder has all until there"));
    };
    heal_block(layer, flow, split, run.options, trainer, group, optimizer, state, observer);
    if (group.rank() == 0) snapshots.save(state.healing, parameters);
    group.barrier();
    return state.healing;
}

/// All windows one behind the other, and which of them are which.
struct HealWindows {
    std::vector<Index> tokens;
    WindowShape shape;
    HealSplit split;

    explicit HealWindows(const HealSources& sources) {
        for (const auto* windows : {sources.windows, sources.held_out})
            tokens.insert(tokens.end(), windows->tokens.begin(), windows->tokens.end());
        const Index train = sources.windows->count();
        shape = {train + sources.held_out->count(), sources.windows->length};
        for (Index w = 0; w < shape.windows; ++w)
            (w < train ? split.training : split.held_out).push_back(w);
    }
};

}  // namespace detail

/// Heals layer after layer. What it makes of them lies in sources.work afterwards; healed_weights reads it.
///
/// group      processes that share the windows of every step; all of them call, with the same arguments. The work
///            folder is written by rank 0, and must be seen by all
/// progress   called by rank 0 alone; may be empty
/// cost       per layer: the dense layer once for all windows; steps times forward and backward of batch_windows
///            of them; the healed layer once for all
/// memory     two states of all windows, (tokens, hidden) floats each; one layer with gradients, moments and tape
/// throws     ShapeError, ArgumentError where student, teacher, windows or options do not fit, or the work folder
///            is another run's; NumericalError, naming layer and step; Cancelled; FileError
template <Communicator Group>
std::vector<BlockHealing> heal_blocks(const HealSources& sources, const HealBlocksOptions& options,
                                      const EigenBackend& backend, Group& group,
                                      const HealCallback& progress = {}) {
    detail::require_heal_options(options);
    const TransformerOptions read;
    detail::WeightReader student(sources.student, read, backend);
    detail::WeightReader teacher(sources.teacher, read, backend);
    const auto config = transformer_config(student.checkpoint());
    detail::require_same_decoder(config, transformer_config(teacher.checkpoint()));
    detail::require_heal_windows(sources, config, options.batch_windows, group.size());
    const detail::HealWindows windows(sources);
    const detail::BlockSnapshots snapshots(
        sources.work, detail::configuration(options, detail::fingerprint(student.checkpoint()),
                                            detail::fingerprint(teacher.checkpoint()),
                                            *sources.windows, *sources.held_out, group.size()));
    const auto embedding =
        teacher.read("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
    detail::HealFlow flow(windows.tokens, windows.shape, embedding, config, backend);
    const WindowShape batch{options.batch_windows / group.size(), windows.shape.length};
    detail::BlockTrainer trainer(config, batch);
    TrainingOptions training;
    training.rows = batch.rows();
    training.max_workspace_bytes = options.max_workspace_bytes;
    training.parts = options.parts;
    std::vector<BlockHealing> healed;
    for (Index k = 0; k < config.num_layers; ++k) {
        flow.advance_dense(detail::read_layer(teacher, config, k), options.sink_factor);
        TrainableBlock<float> layer(detail::concat("model.layers.", k, "."),
                                    detail::read_layer_weights(student, config, k), config,
                                    training, backend);
        const detail::LayerRun run{k, config.num_layers, batch.rows() * group.size(), options};
        healed.push_back(detail::heal_or_load(layer, flow, windows.split, run, trainer, group,
                                              snapshots, progress));
        flow.advance_healed(layer);
    }
    return healed;
}

}  // namespace mpo

// The bodies of model/heal_blocks.hpp that are no templates.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/heal_blocks.hpp"
#include "mpo/model/trainable_transformer.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void require_dense(const std::filesystem::path& teacher) {
    if (is_compressed(teacher))
        raise<ArgumentError>({"heal: the teacher ", teacher.string(),
                              " is a compressed checkpoint; mpo reconstruct makes it whole"});
}

MPO_DETAIL_MODEL_INLINE void require_context(Index length, const TransformerConfig& config) {
    if (length > config.max_positions)
        raise<ArgumentError>({"heal: a window has ", length, " tokens, the context of the model ",
                              config.max_positions});
}

MPO_DETAIL_MODEL_INLINE void require_window_length(const HealBlocksOptions& options, Index length) {
    require_batch(options.batch_windows, length, "heal");
    if (options.left_out >= length)
        raise<ArgumentError>({"heal: left_out is ", options.left_out, ", a window has ", length,
                              " tokens: nothing is left to train on"});
}

inline void require_heal_windows(const HealSources& sources, const TransformerConfig& config,
                                 const HealBlocksOptions& options, int processes) {
    const auto &train = *sources.windows, &held_out = *sources.held_out;
    for (const auto* windows : {&train, &held_out})
        require_tokens(*windows, config.vocab_size, "heal");
    if (train.count() < 1 || held_out.count() < 1 || train.length != held_out.length)
        raise<ArgumentError>({"heal: need windows to train on and to look at, of one length, got ",
                              train.count(), " of ", train.length, " and ", held_out.count(),
                              " of ", held_out.length});
    require_context(train.length, config);
    require_window_length(options, train.length);
    if (options.batch_windows % processes != 0)
        raise<ArgumentError>({"heal: ", processes, " processes cannot share ",
                              options.batch_windows, " windows of a step evenly"});
}

MPO_DETAIL_MODEL_INLINE void require_same_decoder(const TransformerConfig& student,
                                                  const TransformerConfig& teacher,
                                                  const char* who) {
    const auto require = [&](const char* what, Index of_student, Index of_teacher) {
        if (of_student != of_teacher)
            raise<ShapeError>({"heal: the ", who, "'s ", what, " is ", of_student,
                               ", the teacher's ", of_teacher});
    };
    require("vocabulary", student.vocab_size, teacher.vocab_size);
    require("hidden size", student.hidden_size, teacher.hidden_size);
    require("number of layers", student.num_layers, teacher.num_layers);
    require("intermediate size", student.intermediate_size, teacher.intermediate_size);
    require("number of heads", student.num_heads, teacher.num_heads);
    require("number of key-value heads", student.num_kv_heads, teacher.num_kv_heads);
    require("size of a head", student.head_dim, teacher.head_dim);
    // the block stage runs the teacher's weights by the student's numbers: these are the same
    const auto fail = [&](const char* what, double of_student, double of_teacher) {
        raise<ArgumentError>(
            {"heal: the ", who, "'s ", what, " is ", of_student, ", the teacher's ", of_teacher});
    };
    if (student.rms_norm_eps != teacher.rms_norm_eps)
        fail("rms_norm_eps", student.rms_norm_eps, teacher.rms_norm_eps);
    for (std::size_t j = 0; j < teacher.rotary.size(); ++j)
        if (student.rotary[j] != teacher.rotary[j])
            fail(concat("rotary frequency ", j).c_str(), student.rotary[j], teacher.rotary[j]);
    require("tied head", student.tied_head, teacher.tied_head);
}

MPO_DETAIL_MODEL_INLINE void require_compressed(const std::filesystem::path& folder) {
    if (!is_compressed(folder))
        raise<ArgumentError>({"heal: ", folder.string(), " is no compressed checkpoint: it has no ",
                              compressed_config_file});
}

MPO_DETAIL_MODEL_INLINE void require_student(WeightReader& reader,
                                             const TransformerConfig& config) {
    if (const auto* chains = reader.compressed())
        for (const auto& linear : chains->linears())
            if (!linear.name.starts_with("model.layers."))
                raise<FormatError>({"heal: ", reader.checkpoint().path().string(), ": ",
                                    in_quotes(linear.name),
                                    " is a chain; those of the layers alone can be healed"});
    require_decoder(reader, config);
}

MPO_DETAIL_MODEL_INLINE void require_rival(const std::filesystem::path& rival,
                                           const TransformerConfig& teacher) {
    require_compressed(rival);
    const EigenBackend backend;
    WeightReader reader(rival, {}, backend);
    const auto config = transformer_config(reader.checkpoint());
    require_same_decoder(config, teacher, "rival");
    require_student(reader, config);
}

MPO_DETAIL_MODEL_INLINE bool is_healed(const WeightReader& reader, Index layer,
                                       const TrainedParts& parts) {
    return parts.weights || !layouts_below(reader, concat("model.layers.", layer, ".")).empty();
}

MPO_DETAIL_MODEL_INLINE std::vector<Index> layers_left(const WeightReader& student,
                                                       const WeightReader* rival, Index num_layers,
                                                       const TrainedParts& parts) {
    std::vector<Index> left(static_cast<std::size_t>(num_layers));
    Index sum = 0;
    for (Index k = num_layers; k-- > 0;) {
        const bool healed =
            is_healed(student, k, parts) || (rival != nullptr && is_healed(*rival, k, parts));
        left[static_cast<std::size_t>(k)] = sum += healed ? 1 : 0;
    }
    return left;
}

MPO_DETAIL_MODEL_INLINE HealProgress progress_of(const BlockHealState& state, const LayerRun& run) {
    const auto& point = state.healing.curve.back();
    const double steps = static_cast<double>(state.step);
    HealProgress progress{run.layer,
                          run.num_layers,
                          state.step,
                          run.options.steps,
                          point.training,
                          point.total(run.options.sink_weight),
                          0,
                          0};
    progress.form = run.attempt.form;
    if (state.step == 0) return progress;
    progress.tokens_per_second = static_cast<double>(run.tokens) * steps / state.seconds;
    const Index layers = (run.left + run.at_once - 1) / run.at_once;
    const Index left = layers * run.attempt.steps - run.attempt.before - state.step;
    progress.seconds_left = static_cast<double>(left) * state.seconds / steps;
    return progress;
}

MPO_DETAIL_MODEL_INLINE void report_look(const HealProgress& now, const HealCallback& progress,
                                         const std::string& cancelled) {
    if (progress && progress(now) == ProgressReply::cancel)
        throw Cancelled(
            concat(cancelled, " after step ", now.step, "; the work folder has all until there"));
}

MPO_DETAIL_MODEL_INLINE HealWindows::HealWindows(const HealSources& sources) {
    for (const auto* windows : {sources.windows, sources.held_out})
        tokens.insert(tokens.end(), windows->tokens.begin(), windows->tokens.end());
    const Index train = sources.windows->count();
    shape = {train + sources.held_out->count(), sources.windows->length};
    for (Index w = 0; w < shape.windows; ++w)
        (w < train ? split.training : split.held_out).push_back(w);
}

MPO_DETAIL_MODEL_INLINE BlockSnapshots snapshots_of(const HealSources& sources,
                                                    const HealBlocksOptions& options,
                                                    int processes) {
    const auto of = [](const std::filesystem::path& path) {
        return decoder_fingerprint(Checkpoint(path));
    };
    return {sources.work, configuration(options, of(sources.student), of(sources.teacher),
                                        *sources.windows, *sources.held_out, processes,
                                        sources.rival.empty() ? std::string() : of(sources.rival))};
}

MPO_DETAIL_MODEL_INLINE BlockStageRun::BlockStageRun(const HealSources& sources,
                                                     const HealBlocksOptions& options,
                                                     const EigenBackend& backend, int processes)
    : options_(options),
      backend_(backend),
      read_{.read_mode = ReadMode::buffered},
      student_(sources.student, read_, backend),
      teacher_(sources.teacher, read_, backend),
      config_(fitting(sources, processes)),
      windows_(sources),
      snapshots_(snapshots_of(sources, options, processes)),
      flow_(windows_.tokens, windows_.shape,
            teacher_.read("model.embed_tokens.weight", {config_.vocab_size, config_.hidden_size}),
            config_, backend),
      batch_{part_windows(options, processes), windows_.shape.length},
      trainer_(config_, batch_),
      held_out_(*sources.held_out) {
    training_.rows = batch_.rows();
    training_.max_workspace_bytes = options.max_workspace_bytes;
    training_.parts = options.parts;
    if (!sources.rival.empty()) {
        rival_.emplace(sources.rival, read_, backend);
        rival_snapshots_.emplace(snapshots_.of_rival());
    }
    left_ = layers_left(student_, rival_ ? &*rival_ : nullptr, config_.num_layers, options.parts);
}

MPO_DETAIL_MODEL_INLINE TransformerConfig BlockStageRun::fitting(const HealSources& sources,
                                                                 int processes) {
    auto config = transformer_config(student_.checkpoint());
    const auto dense = transformer_config(teacher_.checkpoint());
    require_same_decoder(config, dense);
    require_dense(sources.teacher);
    require_decoder(teacher_, dense);
    require_student(student_, config);
    if (!sources.rival.empty()) require_rival(sources.rival, dense);
    require_heal_windows(sources, config, options_, processes);
    return config;
}

MPO_DETAIL_MODEL_INLINE TrainableBlock<float> BlockStageRun::layer_of(Index k, LayerForm form) {
    return {concat("model.layers.", k, "."), read_layer_weights(reader_of(form), config_, k),
            config_, training_, backend_};
}

}  // namespace mpo::detail

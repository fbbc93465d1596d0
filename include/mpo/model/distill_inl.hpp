// The bodies of model/distill.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "mpo/io/inline.hpp"
#include "mpo/model/distill.hpp"
#include "mpo/model/json_object.hpp"
#include "mpo/model/snapshot.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE void require_distill_options(const DistillOptions& options, int processes) {
    options.learning_rate.require_valid("distill");
    if (options.max_tape_bytes < 0)
        raise<ArgumentError>(
            {"distill: max_tape_bytes must not be negative, got ", options.max_tape_bytes});
    if (options.steps < 1 || options.batch_windows < 1 || options.evaluate_every < 1 ||
        options.accumulate < 1 || options.batch_windows % (options.accumulate * processes) != 0)
        raise<ArgumentError>(
            {"distill: need steps, batch_windows, accumulate and evaluate_every >= 1 ",
             "and windows that ", processes, " processes share evenly in ", options.accumulate,
             " parts, got ", options.steps, ", ", options.batch_windows, ", ", options.accumulate,
             " and ", options.evaluate_every});
    if (!(options.alpha >= 0 && options.alpha <= 1))
        raise<ArgumentError>({"distill: alpha must lie in [0, 1], got ", options.alpha});
    require_trainable(options, "distill");
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json settings_json(const DistillOptions& options) {
    return {{"steps", options.steps},
            {"batch_windows", options.batch_windows},
            {"accumulate", options.accumulate},
            {"learning_rate", to_json(options.learning_rate)},
            {"weight_decay", options.weight_decay},
            {"clip_norm", options.clip_norm},
            {"alpha", options.alpha},
            {"top", options.top},
            {"evaluate_every", options.evaluate_every},
            {"parts", to_json(options.parts)}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json configuration(const DistillOptions& options,
                                                             const std::string& student,
                                                             const TaughtWindows& taught,
                                                             const TaughtWindows& held_out,
                                                             int processes) {
    const auto& run = taught.teacher.run();
    auto json = settings_json(options);
    json.update({{"stage", "distillation"},
                 {"student", student},
                 {"teacher", run.teacher},
                 {"windows", described(taught.windows, loss_fingerprint(taught.windows))},
                 {"held_out", described(held_out.windows, loss_fingerprint(held_out.windows))},
                 {"top", run.top},  // what the caches have
                 {"seed", options.seed},
                 {"max_workspace_bytes", options.max_workspace_bytes},  // another plan, other bits
                 {"processes", processes}});
    return json;
}

MPO_DETAIL_MODEL_INLINE void require_taught(const TaughtWindows& taught,
                                            const TransformerConfig& config, double alpha) {
    const auto& run = taught.teacher.run();
    const auto& windows = taught.windows;
    require_complete(windows, config.vocab_size, "distill");
    require_loss(windows, alpha, "distill");
    if (run.vocab_size != config.vocab_size)
        raise<ArgumentError>({"distill: the teacher's vocabulary has ", run.vocab_size,
                              " tokens, the student's ", config.vocab_size});
    if (windows.count() < 1 || run.windows != windows.count() || run.window != windows.length ||
        run.tokens != fingerprint(windows))
        raise<ArgumentError>({"distill: the teacher's cache is of ", run.windows, " windows of ",
                              run.window, " tokens with the fingerprint ", run.tokens,
                              ", the text of ", windows.count(), " of ", windows.length, " with ",
                              fingerprint(windows)});
}

MPO_DETAIL_MODEL_INLINE DistillTrainer::DistillTrainer(TransformerConfig config,
                                                       ModelWeights<float> weights,
                                                       Index part_windows, Index length,
                                                       const DistillOptions& options,
                                                       const EigenBackend& backend)
    : options_(options),
      backend_(backend),
      shape_{part_windows, length},
      model_(std::move(config), std::move(weights), training_options(options, shape_.rows()),
             backend),
      head_(model_.head_gradient() != nullptr
                ? HeadWeight<float>(as_matrix(std::as_const(model_).head().view()))
                : HeadWeight<float>(as_matrix(std::as_const(model_).head().view()), backend)),
      gradient_({shape_.rows(), model_.config().hidden_size}) {}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json begin_distillation(
    const std::filesystem::path& student, const TaughtWindows& taught,
    const TaughtWindows& held_out, const DistillOptions& options, int processes,
    const EigenBackend& backend, std::optional<DistillTrainer>& trainer) {
    auto [config, weights] = read_model_weights(student, backend);
    require_taught(taught, config, options.alpha);
    require_taught(held_out, config, options.alpha);
    require_batch(options.batch_windows, taught.windows.length, "distill");
    const Index part = options.batch_windows / (options.accumulate * processes);
    trainer.emplace(std::move(config), std::move(weights), part, taught.windows.length, options,
                    backend);
    balance_layers(trainer->model(), nullptr);
    return configuration(options, decoder_fingerprint(Checkpoint(student)), taught, held_out,
                         processes);
}

MPO_DETAIL_MODEL_INLINE HeadLossSums DistillTrainer::run(const TaughtWindows& taught,
                                                         std::span<const Index> windows,
                                                         std::span<const float> counts,
                                                         double scale) {
    std::vector<Index> tokens, next;
    std::vector<float> weights;
    for (std::size_t k = 0; k < windows.size(); ++k) {
        const auto& all = taught.windows;
        const auto t = all.tokens_of(windows[k]);
        const auto n = all.next_of(windows[k]);
        tokens.insert(tokens.end(), t.begin(), t.end());
        next.insert(next.end(), n.begin(), n.end());
        for (const float w : all.weights_of(windows[k])) weights.push_back(w * counts[k]);
    }
    const auto teacher = taught.teacher.targets(windows);
    const auto& hidden = model_.forward(tokens, shape_);
    HeadTargets targets;
    targets.next = next;
    targets.weights = weights;
    targets.teacher = teacher.view();
    HeadLossOptions options;
    options.alpha = options_.alpha;
    options.scale = scale;
    options.max_workspace_bytes = options_.max_workspace_bytes;
    if (scale == 0)
        return head_loss<float>(as_matrix(hidden.view()), head_, targets, options, backend_);
    auto* dW = model_.head_gradient();
    const auto sums = head_loss<float>(as_matrix(hidden.view()), head_, targets, options, backend_,
                                       as_matrix(gradient_.view()),
                                       dW != nullptr ? as_matrix(dW->view()) : MatrixView<float>{});
    model_.backward(gradient_);
    return sums;
}

MPO_DETAIL_MODEL_INLINE HeadLossSums look_at(DistillTrainer& trainer,
                                             const TaughtWindows& held_out) {
    const Index size = trainer.shape().windows, count = held_out.windows.count();
    HeadLossSums sums;
    for (Index begin = 0; begin < count; begin += size) {
        std::vector<Index> part;
        std::vector<float> counts;
        for (Index k = begin; k < begin + size; ++k) {
            part.push_back((std::min)(k, count - 1));
            counts.push_back(k < count ? 1.0f : 0.0f);
        }
        sums += trainer.run(held_out, part, counts, 0);
    }
    return sums;
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const Distillation& report) {
    nlohmann::ordered_json curve = nlohmann::ordered_json::array();
    for (const auto& point : report.curve)
        curve.push_back({{"step", point.step},
                         {"training", point.training},
                         {"divergence", point.divergence},
                         {"cross_entropy", point.cross_entropy},
                         {"agreement", point.agreement}});
    return {{"best_step", report.best_step},
            {"seconds_per_step", report.seconds_per_step},
            {"curve", std::move(curve)}};
}

MPO_DETAIL_MODEL_INLINE void save_distillation(const std::filesystem::path& path,
                                               const nlohmann::ordered_json& configuration,
                                               const DistillState& state,
                                               const AdamW<float>& optimizer) {
    save_state(path, configuration, to_json(state.report), state, optimizer);
}

MPO_DETAIL_MODEL_INLINE void load_distillation(const std::filesystem::path& path,
                                               const nlohmann::ordered_json& configuration,
                                               Index steps, DistillState& state,
                                               AdamW<float>& optimizer) {
    const Snapshot snapshot(path, configuration);
    read_header(snapshot, [&](const nlohmann::json& json) {
        const auto where = snapshot.path().string();
        state.report.best_step = JsonObject(json, where).integer("best_step");
        for (const auto& point : json.at("curve"))
            state.report.curve.push_back({JsonObject(point, where).integer("step"),
                                          point.at("training"), point.at("divergence"),
                                          point.at("cross_entropy"), point.at("agreement")});
    });
    require_looks(snapshot, looks_of(state.report.curve), state.report.best_step, steps);
    load_state(snapshot, steps, state, optimizer);
}

MPO_DETAIL_MODEL_INLINE HeadLossSums finite_look_at(DistillTrainer& trainer,
                                                    const TaughtWindows& held_out, double alpha) {
    const auto sums = look_at(trainer, held_out);
    if (const double loss = sums.loss(alpha) / sums.weight; !std::isfinite(loss))
        raise<NumericalError>({"the loss is ", loss});
    return sums;
}

MPO_DETAIL_MODEL_INLINE double record(const HeadLossSums& sums, double alpha,
                                      const Parameters<float>& parameters, DistillState& state) {
    const double count = sums.weight, loss = sums.loss(alpha) / count;
    auto& curve = state.report.curve;
    const double training = state.take_training_loss(curve.empty() ? 0 : curve.back().step);
    curve.push_back({state.step, training, sums.divergence / count, sums.cross_entropy / count,
                     static_cast<double>(sums.agreements) / static_cast<double>(sums.positions)});
    if (state.keep_if_best(loss, parameters)) state.report.best_step = state.step;
    return loss;
}

MPO_DETAIL_MODEL_INLINE HealProgress progress_of(const DistillState& state,
                                                 const DistillOptions& options, double loss,
                                                 Index window, Index num_layers) {
    const double each = state.seconds / static_cast<double>((std::max)(state.step, Index{1}));
    const double tokens = static_cast<double>(options.batch_windows * window);
    return {-1,
            num_layers,
            state.step,
            options.steps,
            state.report.curve.back().training,
            loss,
            each > 0 ? tokens / each : 0,
            each * static_cast<double>(options.steps - state.step),
            HealStage::distillation};
}

MPO_DETAIL_MODEL_INLINE void balance_layers(TrainableTransformer<float>& model,
                                            AdamW<float>* optimizer) {
    for (auto& layer : model.layers()) balance(layer, optimizer);
    model.refresh();
}

}  // namespace mpo::detail

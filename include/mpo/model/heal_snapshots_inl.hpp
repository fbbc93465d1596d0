// The bodies of model/heal_snapshots.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "mpo/core/printable.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/heal_snapshots.hpp"
#include "mpo/model/heal_work.hpp"
#include "mpo/model/json_object.hpp"
#include "mpo/model/snapshot.hpp"
#include "mpo/model/training_state.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const LearningRate& rate) {
    constexpr const char* decays[] = {"constant", "linear", "cosine"};
    return {{"peak", rate.peak},
            {"warm_up_steps", rate.warm_up_steps},
            {"decay", decays[static_cast<int>(rate.decay)]},
            {"floor_ratio", rate.floor_ratio}};
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const TrainedParts& parts) {
    return {{"cores", parts.cores},   {"weights", parts.weights},     {"norms", parts.norms},
            {"biases", parts.biases}, {"embedding", parts.embedding}, {"head", parts.head}};
}

MPO_DETAIL_MODEL_INLINE std::string_view name_of(HealChoice choice) {
    return choice == HealChoice::loss ? "loss" : "divergence";
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json settings_json(const HealBlocksOptions& options) {
    nlohmann::ordered_json json{{"steps", options.steps},
                                {"batch_windows", options.batch_windows},
                                {"learning_rate", to_json(options.learning_rate)},
                                {"weight_decay", options.weight_decay},
                                {"clip_norm", options.clip_norm},
                                {"sink_weight", options.sink_weight},
                                {"sink_factor", options.sink_factor},
                                {"left_out", options.left_out},
                                {"evaluate_every", options.evaluate_every},
                                {"patience", options.patience},
                                {"parts", to_json(options.parts)}};
    if (options.trial_steps > 0) json["trial_steps"] = options.trial_steps;
    return json;
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json configuration(
    const HealBlocksOptions& options, const std::string& student, const std::string& teacher,
    const TrainingWindows& windows, const TrainingWindows& held_out, int processes,
    const std::string& rival) {
    auto json = settings_json(options);
    json.update({{"stage", "blocks"},
                 {"student", student},
                 {"teacher", teacher},
                 {"windows", described(windows, fingerprint(windows))},
                 {"held_out", described(held_out, fingerprint(held_out))},
                 {"seed", options.seed},
                 {"max_workspace_bytes", options.max_workspace_bytes},  // another plan, other bits
                 {"processes", processes}});
    if (options.inputs == HealInputs::dense) {
        json["inputs"] = "dense";
        json["processes"] = 1;  // a layer is one process' own: how many there are leaves no trace
    }
    if (rival.empty()) return json;
    json["rival"] = rival;
    // members are compared in the order of their names: of another rival it is the rival that is told
    json["rival_chosen_by"] = name_of(options.choose_by);
    return json;
}

/// Throws FormatError where a healing is of another layer, or has a course that none can have had.
inline void require_healing(const Snapshot& snapshot, const BlockHealing& healing, Index layer,
                            Index steps) {
    if (healing.layer != layer)
        raise<FormatError>(
            {snapshot.path().string(), ": is of layer ", healing.layer, ", not of ", layer});
    const auto require = [&](const HealCourse& course) {
        const auto looks = looks_of(course.curve);
        require_looks(snapshot, looks, course.best_step, steps);
        Index last = 0;  // a fall follows a look, and the first one is what the others fall below
        for (const Index step : course.fell_back) {
            if (step <= last || !std::binary_search(looks.begin(), looks.end(), step))
                raise<FormatError>({snapshot.path().string(), ": 'fell_back' has ", step,
                                    "; it ascends, over steps of the curve"});
            last = step;
        }
    };
    require(healing);
    if (healing.other) require(*healing.other);
}

[[nodiscard]] inline nlohmann::ordered_json curve_json(const std::vector<HealPoint>& points) {
    nlohmann::ordered_json curve = nlohmann::ordered_json::array();
    for (const auto& point : points)
        curve.push_back({{"step", point.step},
                         {"training", point.training},
                         {"held_out", point.held_out},
                         {"sinks", point.sinks}});
    return curve;
}

[[nodiscard]] inline HealCourse heal_course(const nlohmann::json& json, const std::string& where) {
    const JsonObject from(json, where);
    HealCourse course;
    course.best_step = from.integer("best_step");
    course.fell_back = from.integers("fell_back");
    course.seconds_per_step = json.at("seconds_per_step");
    for (const auto& point : json.at("curve"))
        course.curve.push_back({JsonObject(point, where).integer("step"), point.at("training"),
                                point.at("held_out"), point.at("sinks")});
    if (json.contains("divergence")) course.divergence = json.at("divergence").get<double>();
    return course;
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const BlockHealing& healing) {
    nlohmann::ordered_json json{{"layer", healing.layer},
                                {"best_step", healing.best_step},
                                {"fell_back", healing.fell_back},
                                {"sinks", healing.sinks},
                                {"seconds_per_step", healing.seconds_per_step},
                                {"curve", curve_json(healing.curve)}};
    if (healing.divergence) json["divergence"] = *healing.divergence;
    if (healing.divergence_error) json["divergence_error"] = *healing.divergence_error;
    if (!healing.other) return json;
    json["form"] = healing.form == LayerForm::rival ? "rival" : "student";
    json["other"] = {{"best_step", healing.other->best_step},
                     {"fell_back", healing.other->fell_back},
                     {"seconds_per_step", healing.other->seconds_per_step},
                     {"curve", curve_json(healing.other->curve)}};
    if (healing.other->divergence) json["other"]["divergence"] = *healing.other->divergence;
    return json;
}

MPO_DETAIL_MODEL_INLINE BlockHealing block_healing(const nlohmann::json& json,
                                                   const std::string& where) {
    const JsonObject from(json, where);
    BlockHealing healing;
    static_cast<HealCourse&>(healing) = heal_course(json, where);
    healing.layer = from.integer("layer");
    healing.sinks = from.integer("sinks");
    if (json.contains("divergence_error"))
        healing.divergence_error = json.at("divergence_error").get<double>();
    if (!json.contains("other")) return healing;
    healing.form = json.at("form") == "rival" ? LayerForm::rival : LayerForm::student;
    healing.other = heal_course(json.at("other"), where);
    return healing;
}

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json to_json(const std::vector<BlockHealing>& layers) {
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const auto& layer : layers) json.push_back(to_json(layer));
    return json;
}

MPO_DETAIL_MODEL_INLINE std::vector<BlockHealing> block_healings(const nlohmann::json& json,
                                                                 const std::string& where) {
    std::vector<BlockHealing> layers;
    for (const auto& layer : json) layers.push_back(block_healing(layer, where));
    return layers;
}

MPO_DETAIL_MODEL_INLINE BlockSnapshots::BlockSnapshots(std::filesystem::path folder,
                                                       nlohmann::ordered_json configuration)
    : folder_(std::move(folder)), configuration_(std::move(configuration)) {
    make_folder(folder_);
}

MPO_DETAIL_MODEL_INLINE void BlockSnapshots::save(const BlockHealing& healing,
                                                  const Parameters<float>& parameters) const {
    SnapshotWriter writer(path_of(healing.layer), configuration_, to_json(healing));
    for (const auto& parameter : parameters.all())
        writer.add(parameter.name, std::span<const float>(parameter.values));
    writer.finish();
    std::error_code ignored;
    std::filesystem::remove(unfinished(healing.layer), ignored);
}

MPO_DETAIL_MODEL_INLINE BlockHealing
BlockSnapshots::load(Index layer, const Parameters<float>& parameters) const {
    const Snapshot snapshot(path_of(layer), configuration_);
    for (const auto& parameter : parameters.all()) snapshot.read(parameter.name, parameter.values);
    BlockHealing healing;
    read_header(snapshot,
                [&](const auto& json) { healing = block_healing(json, snapshot.path().string()); });
    require_healing(snapshot, healing, layer, configuration_.at("steps").get<Index>());
    return healing;
}

MPO_DETAIL_MODEL_INLINE void BlockSnapshots::save(const BlockHealState& state,
                                                  const AdamW<float>& optimizer) const {
    save_state(unfinished(state.healing.layer), configuration_, to_json(state.healing), state,
               optimizer);
}

MPO_DETAIL_MODEL_INLINE void BlockSnapshots::save(Index layer,
                                                  const FormDivergences& divergences) const {
    SnapshotWriter(choice(layer), configuration_,
                   {{"student", divergences.student},
                    {"rival", divergences.rival},
                    {"error", divergences.error}})
        .finish();
}

MPO_DETAIL_MODEL_INLINE std::optional<FormDivergences> BlockSnapshots::divergences(
    Index layer) const {
    if (!std::filesystem::exists(choice(layer))) return std::nullopt;
    const Snapshot snapshot(choice(layer), configuration_);
    FormDivergences divergences;
    read_header(snapshot, [&](const auto& json) {
        divergences = {json.at("student"), json.at("rival"), json.at("error")};
    });
    return divergences;
}

MPO_DETAIL_MODEL_INLINE void BlockSnapshots::save_written(
    const std::vector<BlockHealing>& layers, const std::filesystem::path& model) const {
    SnapshotWriter(written(), configuration_,
                   {{"layers", to_json(layers)}, {"model", folder_fingerprint(model)}})
        .finish();
}

MPO_DETAIL_MODEL_INLINE std::optional<std::vector<BlockHealing>> BlockSnapshots::written_layers(
    Index num_layers, const std::filesystem::path& model) const {
    if (!std::filesystem::exists(written())) return std::nullopt;
    const Snapshot snapshot(written(), configuration_);
    std::vector<BlockHealing> layers;
    std::string fingerprint;
    read_header(snapshot, [&](const auto& json) {
        layers = block_healings(json.at("layers"), snapshot.path().string());
        fingerprint = json.at("model");
    });
    if (static_cast<Index>(layers.size()) != num_layers)
        raise<FormatError>({snapshot.path().string(), ": has ", layers.size(),
                            " layers, the model has ", num_layers});
    for (std::size_t k = 0; k < layers.size(); ++k)
        require_healing(snapshot, layers[k], static_cast<Index>(k),
                        configuration_.at("steps").get<Index>());
    if (const auto is = folder_fingerprint(model); is != fingerprint)
        raise<FormatError>(
            {model.string(), ": is not what the block stage wrote: its fingerprint is ", is,
             ", was ", printable(fingerprint), "; removed, it is made again of the snapshots"});
    return layers;
}

MPO_DETAIL_MODEL_INLINE BlockHealState BlockSnapshots::load_unfinished(
    Index layer, const HealBlocksOptions& options, AdamW<float>& optimizer) const {
    const Snapshot snapshot(unfinished(layer), configuration_);
    BlockHealState state;
    read_header(snapshot, [&](const auto& json) {
        state.healing = block_healing(json, snapshot.path().string());
    });
    require_healing(snapshot, state.healing, layer, options.steps);
    optimizer = optimizer_of(optimizer.parameters(), options, state.healing);
    load_state(snapshot, options.steps, state, optimizer);
    return state;
}

}  // namespace mpo::detail

// The bodies of model/training_state.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>

#include "mpo/io/inline.hpp"
#include "mpo/model/json_object.hpp"
#include "mpo/model/training_snapshot.hpp"
#include "mpo/model/training_state.hpp"

namespace mpo::detail {

/// Numbers of all parameters, in the place of others.
inline void copy_values(const Parameters<float>& parameters, std::vector<float>& values) {
    values.resize(static_cast<std::size_t>(parameters.num_values()));
    auto to = values.begin();
    for (const auto& parameter : parameters.all())
        to = std::copy(parameter.values.begin(), parameter.values.end(), to);
}

MPO_DETAIL_MODEL_INLINE void paste_values(const std::vector<float>& values,
                                          const Parameters<float>& parameters) {
    auto from = values.begin();
    for (const auto& parameter : parameters.all()) {
        std::copy_n(from, parameter.values.size(), parameter.values.begin());
        from += static_cast<std::ptrdiff_t>(parameter.values.size());
    }
}

MPO_DETAIL_MODEL_INLINE double TrainingState::take_training_loss(Index last) {
    const double sum = std::exchange(training, 0.0);
    return step > last ? sum / static_cast<double>(step - last) : 0;
}

MPO_DETAIL_MODEL_INLINE bool TrainingState::keep_if_best(double loss,
                                                         const Parameters<float>& parameters) {
    if (step > 0 && !(loss < best_loss)) return false;
    copy_values(parameters, best);
    best_loss = loss;
    return true;
}

MPO_DETAIL_MODEL_INLINE void save_state(const std::filesystem::path& path,
                                        const nlohmann::ordered_json& configuration,
                                        nlohmann::ordered_json header, const TrainingState& state,
                                        const AdamW<float>& optimizer) {
    header["step"] = state.step;
    header["seconds"] = state.seconds;
    SnapshotWriter writer(path, configuration, header);
    writer.add("best", state.best);
    writer.add("best_loss", std::vector<double>{state.best_loss});
    add_training(writer, optimizer);
    writer.finish();
}

MPO_DETAIL_MODEL_INLINE void load_state(const Snapshot& snapshot, Index steps, TrainingState& state,
                                        AdamW<float>& optimizer) {
    read_header(snapshot, [&](const nlohmann::json& json) {
        state.step = JsonObject(json, snapshot.path().string()).integer("step");
        state.seconds = json.at("seconds");
    });
    if (state.step > steps)
        raise<FormatError>(
            {snapshot.path().string(), ": 'step' is ", state.step, ", must be 0 to ", steps});
    state.best.resize(static_cast<std::size_t>(optimizer.parameters().num_values()));
    snapshot.read("best", std::span<float>(state.best));
    snapshot.read("best_loss", std::span<double>(&state.best_loss, 1));
    restore_training(snapshot, optimizer);
}

MPO_DETAIL_MODEL_INLINE void require_looks(const Snapshot& snapshot,
                                           const std::vector<Index>& looks, Index best,
                                           Index steps) {
    const auto fail = [&](const std::string& problem) {
        raise<FormatError>({snapshot.path().string(), ": ", problem});
    };
    if (looks.empty()) fail("the curve is empty");
    for (std::size_t k = 0; k < looks.size(); ++k)
        if (looks[k] > steps || (k == 0 ? looks[k] != 0 : looks[k] <= looks[k - 1]))
            fail(concat("point ", k, " of the curve has the step ", looks[k],
                        "; they ascend from 0 to ", steps, " at most"));
    if (std::find(looks.begin(), looks.end(), best) == looks.end())
        fail(concat("'best_step' is ", best, ", where the curve has no point"));
}

}  // namespace mpo::detail

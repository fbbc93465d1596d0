// Where training stands between two looks at held-out data, besides its parameters and what an optimizer remembers;
// and all three in a snapshot.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/optimizer.hpp"
#include "mpo/model/parameters.hpp"
#include "mpo/model/snapshot.hpp"
#include "mpo/model/training_snapshot.hpp"

namespace mpo::detail {

/// Numbers of all parameters.
[[nodiscard]] inline std::vector<float> copy_values(const Parameters<float>& parameters) {
    std::vector<float> values;
    values.reserve(static_cast<std::size_t>(parameters.num_values()));
    for (const auto& parameter : parameters.all())
        values.insert(values.end(), parameter.values.begin(), parameter.values.end());
    return values;
}
inline void paste_values(const std::vector<float>& values, const Parameters<float>& parameters) {
    auto from = values.begin();
    for (const auto& parameter : parameters.all()) {
        std::copy_n(from, parameter.values.size(), parameter.values.begin());
        from += static_cast<std::ptrdiff_t>(parameter.values.size());
    }
}

/// What every stage keeps between its looks.
struct TrainingState {
    Index step = 0;                // steps done
    std::vector<float> best = {};  // numbers of the parameters at the best look
    double best_loss = 0;          // of that look
    double training = 0;           // sum of losses since the last look
    double seconds = 0;            // of all steps

    /// The mean loss of the steps since a look at step `last`; the sum begins anew.
    [[nodiscard]] double take_training_loss(Index last) {
        const double sum = std::exchange(training, 0.0);
        return step > last ? sum / static_cast<double>(step - last) : 0;
    }
    /// A look's loss: whether it is the least so far. Then the numbers of the parameters are kept.
    [[nodiscard]] bool keep_if_best(double loss, const Parameters<float>& parameters) {
        if (step > 0 && !(loss < best_loss)) return false;
        best = copy_values(parameters);
        best_loss = loss;
        return true;
    }
};

/// What training of any stage tells AdamW. Rates are relative: the arrays of a model differ in scale by far (the norm in
/// front of SmolLM2's first layer has numbers ten times smaller than those behind it).
template <class Options>
[[nodiscard]] AdamWOptions adam_of(const Options& options) {
    AdamWOptions adam;
    adam.learning_rate = options.learning_rate;
    adam.total_steps = options.steps;
    adam.weight_decay = options.weight_decay;
    adam.clip_norm = options.clip_norm;
    adam.relative_rate = true;
    return adam;
}

/// What `read` makes of a snapshot's header. Throws FormatError where that lacks something.
template <class Read>
void read_header(const Snapshot& snapshot, const Read& read) {
    try {
        read(snapshot.header());
    } catch (const nlohmann::json::exception& error) {
        raise<FormatError>({snapshot.path().string(), ": ", error.what()});
    }
}

/// State, parameters and the optimizer's memory; the header gains "step" and "seconds".
inline void save_state(const std::filesystem::path& path,
                       const nlohmann::ordered_json& configuration, nlohmann::ordered_json header,
                       const TrainingState& state, const AdamW<float>& optimizer) {
    header["step"] = state.step;
    header["seconds"] = state.seconds;
    SnapshotWriter writer(path, configuration, header);
    writer.add("best", state.best);
    writer.add("best_loss", std::vector<double>{state.best_loss});
    add_training(writer, optimizer);
    writer.finish();
}
/// The same back. Throws as Snapshot and restore_training.
inline void load_state(const Snapshot& snapshot, TrainingState& state, AdamW<float>& optimizer) {
    read_header(snapshot, [&](const nlohmann::json& json) {
        state.step = json.at("step");
        state.seconds = json.at("seconds");
    });
    state.best = snapshot.read<float>("best");
    state.best_loss = snapshot.read<double>("best_loss").at(0);
    restore_training(snapshot, optimizer);
}

}  // namespace mpo::detail

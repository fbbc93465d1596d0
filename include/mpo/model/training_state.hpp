// Where training stands between two looks at held-out data, besides its parameters and what an optimizer remembers;
// and all three in a snapshot.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/model/optimizer.hpp"
#include "mpo/model/parameters.hpp"
#include "mpo/model/snapshot.hpp"

namespace mpo::detail {

void paste_values(const std::vector<float>& values, const Parameters<float>& parameters);

/// What every stage keeps between its looks.
struct TrainingState {
    Index step = 0;                // steps done
    std::vector<float> best = {};  // numbers of the parameters at the best look
    double best_loss = 0;          // of that look
    double training = 0;           // sum of losses since the last look
    double seconds = 0;            // of all steps

    /// The mean loss of the steps since a look at step `last`; the sum begins anew.
    [[nodiscard]] double take_training_loss(Index last);
    /// A look's loss: whether it is the least so far. Then the numbers of the parameters are kept.
    [[nodiscard]] bool keep_if_best(double loss, const Parameters<float>& parameters);
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
    adam.rate_scale = RateScale::relative;
    return adam;
}

/// Throws ArgumentError for what AdamW would throw at, and where no part is trained, before anything has run.
template <class Options>
void require_trainable(const Options& options, const char* who) {
    require_valid<float>(adam_of(options), who);
    const auto& parts = options.parts;
    if (!parts.cores && !parts.weights && !parts.norms && !parts.biases && !parts.embedding &&
        !parts.head)
        raise<ArgumentError>({who, ": none of the parts of a model is to be trained"});
    if (options.max_workspace_bytes < 1)
        raise<ArgumentError>(
            {who, ": max_workspace_bytes must be at least 1, got ", options.max_workspace_bytes});
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
void save_state(const std::filesystem::path& path, const nlohmann::ordered_json& configuration,
                nlohmann::ordered_json header, const TrainingState& state,
                const AdamW<float>& optimizer);
/// The same back, after at most `steps` steps. Throws as Snapshot and restore_training, and FormatError for a step
/// outside its range.
void load_state(const Snapshot& snapshot, Index steps, TrainingState& state,
                AdamW<float>& optimizer);

/// Throws FormatError where no training of at most `steps` steps has looked after these, the best of them `best`.
void require_looks(const Snapshot& snapshot, const std::vector<Index>& looks, Index best,
                   Index steps);

/// The steps of a curve.
template <class Point>
[[nodiscard]] std::vector<Index> looks_of(const std::vector<Point>& curve) {
    std::vector<Index> steps;
    steps.reserve(curve.size());
    for (const auto& point : curve) steps.push_back(point.step);
    return steps;
}

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/training_state_inl.hpp"
#endif

// Texts and options of a healing that takes a moment.
#pragma once

#include <filesystem>
#include <vector>

#include "mpo/core/random.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/heal.hpp"
#include "mpo/model/training_windows.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo::test {

/// 24 windows of 8 tokens that the model knows.
[[nodiscard]] inline TrainingWindows heal_texts(const std::filesystem::path& model) {
    TrainingWindows texts;
    texts.length = 8;
    Random random(5);
    const Index vocab = transformer_config(Checkpoint(model)).vocab_size;
    std::vector<Index> text(8 * 24 + 1);
    for (auto& id : text) id = random.below(vocab);
    append_training_windows(text, 1, 0, "text", texts);
    return texts;
}

/// Both stages, 12 steps of 2 windows each, four looks.
[[nodiscard]] inline HealOptions heal_settings() {
    HealOptions options;
    options.held_out_every = 6;
    options.blocks->steps = 12;
    options.blocks->batch_windows = 2;
    options.blocks->evaluate_every = 4;
    options.blocks->learning_rate = {5e-2, 2, LearningRateDecay::linear, 0};
    options.distillation->steps = 12;
    options.distillation->batch_windows = 2;
    options.distillation->evaluate_every = 4;
    options.distillation->top = 8;
    options.distillation->learning_rate = {1e-2, 2, LearningRateDecay::cosine, 0};
    return options;
}

}  // namespace mpo::test

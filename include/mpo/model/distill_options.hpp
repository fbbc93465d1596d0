// What distillation is told, and what it says of itself.
#pragma once

#include <cstdint>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/learning_rate.hpp"
#include "mpo/model/trainable_linear.hpp"

namespace mpo {

/// Distillation.
struct DistillOptions {
    Index steps = 200;        // of batch_windows windows each
    Index batch_windows = 4;  // of one step, over all processes
    Index accumulate = 1;  // parts that a step's windows are taken in, one behind the other: memory
    LearningRate learning_rate = {1e-3, 20, LearningRateDecay::cosine, 0.05};  // relative
    double weight_decay = 0;                                                   // of cores
    double clip_norm = 1;                        // of all gradients of a step together; 0: any
    double alpha = 0.9;                          // share of the divergence
    Index top = 64;                              // K
    Index evaluate_every = 25;                   // steps between two looks at the held-out windows
    std::uint64_t seed = 1;                      // of the order of the windows
    TrainedParts parts = {};                     // what is trained
    Index max_workspace_bytes = Index{1} << 27;  // of one MPO; of logits
    Index max_tape_bytes = Index{1} << 29;       // see TrainingOptions
};

/// A look at a model that is being distilled.
struct DistillPoint {
    Index step = 0;            // steps done
    double training = 0;       // mean loss of the steps since the last look; 0 at the first
    double divergence = 0;     // of the held-out windows, in nats per token
    double cross_entropy = 0;  // the same
    double agreement = 0;      // share of them whose most probable token is the teacher's
};

/// What became of it.
struct Distillation {
    std::vector<DistillPoint> curve = {};  // the first point: before the first step
    Index best_step = 0;                   // whose numbers were kept: of the least held-out loss
    double seconds_per_step = 0;           // mean
};

}  // namespace mpo

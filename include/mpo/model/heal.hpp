// heal: what truncation removed is brought back. Layer after layer is trained towards the dense model's outputs
// (heal_blocks.hpp), then all layers together towards what the dense model says of the next token (distill.hpp).
// Either stage alone is possible. What is frozen keeps its bits.
//
// The work folder makes a run resumable:
//
//   blocks/          snapshots of the block stage
//   blocks_model/    the model behind it, a compressed checkpoint, where distillation follows
//   teacher/, teacher_held_out/   what the teacher says of the windows
//   distillation/    snapshot of distillation
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/stopwatch.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/agree.hpp"
#include "mpo/model/cache_teacher.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/distill.hpp"
#include "mpo/model/heal_blocks.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/healed_writer.hpp"
#include "mpo/model/training_windows.hpp"

namespace mpo {

/// What heal is told.
struct HealOptions {
    std::optional<HealBlocksOptions> blocks = HealBlocksOptions{};  // none: no block stage
    std::optional<DistillOptions> distillation = DistillOptions{};  // none: no distillation
    Index held_out_every =
        16;                   // of the windows the k-th of so many is looked at, and not trained on
    Index max_held_out = 16;  // windows that are looked at, at most
    HealCallback progress = {};  // may be empty
};

/// What heal did.
struct HealReport {
    Index windows = 0;                              // trained on
    Index held_out = 0;                             // looked at
    Index tokens_per_window = 0;                    // their length
    std::vector<BlockHealing> blocks = {};          // none where there was no block stage
    std::optional<Distillation> distillation = {};  // none where there was none
    double seconds = 0;  // of this run, what was there already not counted
};

namespace detail {

/// Windows that are trained on, and those that are looked at: spread evenly.
struct DividedWindows {
    TrainingWindows training, held_out;
};

[[nodiscard]] inline DividedWindows divided(const TrainingWindows& all,
                                            const HealOptions& options) {
    if (options.held_out_every < 2 || options.max_held_out < 1)
        raise<ArgumentError>({"heal: need held_out_every >= 2 and max_held_out >= 1, got ",
                              options.held_out_every, " and ", options.max_held_out});
    if (all.count() < 2)
        raise<ArgumentError>({"heal: the texts have ", all.count(),
                              " windows; one to train on and one to look at are the least"});
    const Index wanted =
        std::clamp(all.count() / options.held_out_every, Index{1}, options.max_held_out);
    DividedWindows result;
    result.training.length = result.held_out.length = all.length;
    for (Index w = 0; w < all.count(); ++w) {
        // window w is looked at where a multiple of count / wanted falls on it
        const bool looked_at = w * wanted / all.count() != (w + 1) * wanted / all.count();
        auto& to = looked_at ? result.held_out : result.training;
        const auto put = [](const auto& from, auto& vector) {
            vector.insert(vector.end(), from.begin(), from.end());
        };
        put(all.tokens_of(w), to.tokens);
        put(all.next_of(w), to.next);
        put(all.weights_of(w), to.weights);
    }
    return result;
}

/// Throws what a stage would throw of its options and of the models' sizes, before the stages in front of it have
/// run for hours.
inline void require_healable(const std::filesystem::path& student,
                             const std::filesystem::path& teacher, const HealOptions& options,
                             int processes) {
    if (!options.blocks && !options.distillation)
        throw ArgumentError("heal: neither the block stage nor distillation is asked for");
    if (options.blocks) require_heal_options(*options.blocks);
    if (options.distillation) require_distill_options(*options.distillation, processes);
    if (!is_compressed(student))
        raise<ArgumentError>({"heal: ", student.string(),
                              " is no compressed checkpoint: it has no ", compressed_config_file});
    const auto dense = transformer_config(Checkpoint(teacher));
    require_same_decoder(transformer_config(Checkpoint(student)), dense);
    if (!options.distillation) return;
    if (const Index top = options.distillation->top; top < 1 || top > dense.vocab_size)
        raise<ArgumentError>(
            {"heal: top must be 1 to ", dense.vocab_size, ", the vocabulary, got ", top});
}

/// What the teacher says of windows, in a folder.
inline void cache_taught(const std::filesystem::path& folder, const std::filesystem::path& teacher,
                         const TrainingWindows& windows, CacheTeacherOptions caching,
                         const HealCallback& progress, const EigenBackend& backend) {
    const double begin = seconds_now();
    Index before = -1;  // windows that an earlier run left
    if (progress)
        caching.progress = [&](Index done, Index count) {
            if (before < 0) before = done - 1;
            const double each = (seconds_now() - begin) / static_cast<double>(done - before);
            HealProgress now;
            now.step = done;
            now.steps = count;
            now.tokens_per_second = static_cast<double>(windows.length) / each;
            now.seconds_left = each * static_cast<double>(count - done);
            now.stage = HealStage::teacher;
            return progress(now);
        };
    (void)cache_teacher(folder, teacher, windows, caching, backend);
}

/// The layers that a block stage left, written as a model.
inline void write_healed_blocks(const HealSources& sources, const HealBlocksOptions& options,
                                int processes, const std::filesystem::path& folder,
                                const EigenBackend& backend) {
    const TransformerOptions read;
    WeightReader reader(sources.student, read, backend);
    const auto config = transformer_config(reader.checkpoint());
    const CompressedCheckpoint student(sources.student);
    const Checkpoint teacher(sources.teacher);
    const BlockSnapshots snapshots(
        sources.work,
        configuration(options, fingerprint(student.checkpoint()), fingerprint(teacher),
                      *sources.windows, *sources.held_out, processes));
    TrainingOptions training;
    training.parts = options.parts;
    HealedWriter writer(
        student, teacher,
        [&](Index k) {
            TrainableBlock<float> layer(concat("model.layers.", k, "."),
                                        read_layer_weights(reader, config, k), config, training,
                                        backend);
            Parameters<float> parameters;
            layer.list(parameters);
            if (snapshots.has(k)) (void)snapshots.load(k, parameters);
            return layer.weights();
        },
        backend);
    writer.write(folder, options.parts, {});
}

}  // namespace detail

/// Heals a compressed checkpoint.
///
/// student    of compress
/// teacher    the dense checkpoint that it was made of
/// texts      windows of them: training_windows
/// folder     the healed checkpoint; must not exist; appears when all of it is written
/// work       folder of what makes the run resumable; the same call with the same folder goes on
/// group      processes that share the work, as in heal_blocks and distill; all call with the same arguments, and
///            see the same folders. What one throws at its work all throw: nobody waits for one that has left
/// cost       as heal_blocks and distill, and the teacher once over all windows
/// throws     as heal_blocks, distill and cache_teacher; ArgumentError where there is no stage to run
template <Communicator Group>
HealReport heal(const std::filesystem::path& student, const std::filesystem::path& teacher,
                const TrainingWindows& texts, const std::filesystem::path& folder,
                const std::filesystem::path& work, const HealOptions& options,
                const EigenBackend& backend, Group& group) {
    detail::require_healable(student, teacher, options, group.size());
    if (std::filesystem::exists(folder))
        detail::raise<ArgumentError>(
            {"heal: ", folder.string(), " exists already; nothing was done"});
    const double begin = detail::seconds_now();
    const auto windows = detail::divided(texts, options);
    HealReport report;
    report.windows = windows.training.count();
    report.held_out = windows.held_out.count();
    report.tokens_per_window = texts.length;
    const auto at_root = [&](const auto& body) {
        detail::all_or_none(group, [&] {
            if (group.rank() == 0) body();
        });
    };
    at_root([&] { detail::make_folder(work); });
    auto start = student;
    if (options.blocks) {
        const HealSources sources{student, teacher, work / "blocks", &windows.training,
                                  &windows.held_out};
        report.blocks = heal_blocks(sources, *options.blocks, backend, group, options.progress);
        start = options.distillation ? work / "blocks_model" : folder;
        at_root([&] {
            if (!std::filesystem::exists(start))
                detail::write_healed_blocks(sources, *options.blocks, group.size(), start, backend);
        });
    }
    if (options.distillation) {
        CacheTeacherOptions caching;
        caching.top = options.distillation->top;
        at_root([&] {
            for (const auto& [name, part] : {std::pair{"teacher", &windows.training},
                                             std::pair{"teacher_held_out", &windows.held_out}})
                detail::cache_taught(work / name, teacher, *part, caching, options.progress,
                                     backend);
            detail::make_folder(work / "distillation");
        });
        const TeacherCache taught(work / "teacher",
                                  teacher_cache_run(teacher, windows.training, caching));
        const TeacherCache looked_at(work / "teacher_held_out",
                                     teacher_cache_run(teacher, windows.held_out, caching));
        const DistillSources sources{start,   work / "distillation", &windows.training,
                                     &taught, &windows.held_out,     &looked_at};
        auto distilled = distill(sources, *options.distillation, backend, group, options.progress);
        report.distillation = std::move(distilled.report);
        at_root([&] {
            const CompressedCheckpoint before(start);
            const Checkpoint dense(teacher);
            auto& weights = distilled.weights;
            detail::HealedWriter writer(
                before, dense, [&](Index k) { return weights.layers[static_cast<std::size_t>(k)]; },
                backend);
            const auto& parts = options.distillation->parts;
            std::map<std::string, const Tensor<float>*> outside;
            if (parts.norms) outside["model.norm.weight"] = &weights.norm;
            if (parts.embedding || (parts.head && !weights.head))
                outside["model.embed_tokens.weight"] = &weights.embedding;
            if (parts.head && weights.head) outside["lm_head.weight"] = &*weights.head;
            writer.write(folder, parts, outside);
        });
    }
    report.seconds = detail::seconds_now() - begin;
    return report;
}

/// The same by one process.
inline HealReport heal(const std::filesystem::path& student, const std::filesystem::path& teacher,
                       const TrainingWindows& texts, const std::filesystem::path& folder,
                       const std::filesystem::path& work, const HealOptions& options,
                       const EigenBackend& backend) {
    SingleProcess alone;
    return heal(student, teacher, texts, folder, work, options, backend, alone);
}

}  // namespace mpo

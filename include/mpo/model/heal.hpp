// heal: what truncation removed is brought back. Layer after layer is trained towards the dense model's outputs
// (heal_blocks.hpp), then all layers together towards what the dense model says of the next token (distill.hpp).
// Either stage alone is possible. What is frozen keeps its bits.
//
// The work folder makes a run resumable:
//
//   heal_work.json   that it is one; held by the one process that works there (heal_work.hpp)
//   blocks/          snapshots of the block stage; blocks/rival/ those of the rival's layers
//   blocks_model/    the model behind it, a compressed checkpoint, where distillation follows
//   teacher/, teacher_held_out/   what the teacher says of the windows
//   distillation/    snapshot of distillation
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mpo/core/communicator.hpp"
#include "mpo/core/error.hpp"
#include "mpo/core/stopwatch.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/agree.hpp"
#include "mpo/model/cache_teacher.hpp"
#include "mpo/model/distill.hpp"
#include "mpo/model/heal_blocks.hpp"
#include "mpo/model/heal_options.hpp"
#include "mpo/model/heal_work.hpp"
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
    std::filesystem::path rival =
        {};  // another compressed checkpoint of the teacher: the block stage
             // chooses between both, layer by layer; empty: none
    /// Takes over rank 0's lock of the work folder, so that nobody comes between the end of heal and what is done with its
    /// model; null: it ends with heal.
    std::optional<WorkFolderLock>* lock = nullptr;
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

[[nodiscard]] DividedWindows divided(const TrainingWindows& all, const HealOptions& options);

/// A report that knows its windows.
[[nodiscard]] HealReport report_on(const DividedWindows& windows);

/// Throws what a stage would throw of its options, of windows, of the models' sizes and of their tensors' names and
/// shapes, before the stages in front of it have run for hours.
void require_healable(const std::filesystem::path& student, const std::filesystem::path& teacher,
                      const TrainingWindows& texts, const HealOptions& options, int processes);

/// Throws ArgumentError where the output is there, or would lie where the work folder has something else; and where a model
/// lies where the run removes or replaces what it finds.
void require_places(const std::filesystem::path& student, const std::filesystem::path& teacher,
                    const std::filesystem::path& folder, const std::filesystem::path& work,
                    const HealOptions& options);

/// What the teacher says of windows, in a folder.
void cache_taught(const std::filesystem::path& folder, const std::filesystem::path& teacher,
                  const TrainingWindows& windows, CacheTeacherOptions caching,
                  const HealCallback& progress, const EigenBackend& backend);
/// The same of both kinds, in their folders within `work`.
void cache_taught(const std::filesystem::path& work, const std::filesystem::path& teacher,
                  const DividedWindows& windows, const CacheTeacherOptions& caching,
                  const HealCallback& progress, const EigenBackend& backend);

/// What an earlier call of the same run made of the layers, where it has written their model into `folder`.
[[nodiscard]] std::optional<std::vector<BlockHealing>> written_blocks(
    const HealSources& sources, const HealBlocksOptions& options, int processes,
    const std::filesystem::path& folder);

/// The layers that a block stage left in the forms that it kept, written as a model.
///
/// in_work   whether the folder is one of the work folder: then what is there, being of no whole run, goes, and what
///           became of the layers is kept for written_blocks
void write_healed_blocks(const HealSources& sources, const HealBlocksOptions& options,
                         int processes, const std::vector<BlockHealing>& blocks,
                         const std::filesystem::path& folder, bool in_work,
                         const EigenBackend& backend);

/// A distilled model, written: what was not trained has the bytes of `before`.
void write_distilled(const std::filesystem::path& before, const std::filesystem::path& teacher,
                     const ModelWeights<float>& weights, const TrainedParts& parts,
                     const std::filesystem::path& folder, const EigenBackend& backend);

/// The first stage, with its model in `folder`; one in the work folder that this run has written stays as it is.
template <Communicator Group>
[[nodiscard]] std::vector<BlockHealing> heal_layers(const HealSources& sources,
                                                    const std::filesystem::path& folder,
                                                    bool in_work, const HealOptions& options,
                                                    const EigenBackend& backend, Group& group) {
    std::optional<std::vector<BlockHealing>> written;
    at_root(group, [&] {
        if (in_work) written = written_blocks(sources, *options.blocks, group.size(), folder);
    });
    const auto text = broadcast_text(group, written ? to_json(*written).dump() : "", 0);
    if (!text.empty()) return block_healings(nlohmann::json::parse(text));
    auto blocks = heal_blocks(sources, *options.blocks, backend, group, options.progress);
    at_root(group, [&] {
        write_healed_blocks(sources, *options.blocks, group.size(), blocks, folder, in_work,
                            backend);
    });
    return blocks;
}

/// The second stage, from the model in `start` to that in `folder`.
template <Communicator Group>
[[nodiscard]] Distillation distill_windows(const std::filesystem::path& start,
                                           const std::filesystem::path& teacher,
                                           const DividedWindows& windows,
                                           const std::filesystem::path& folder,
                                           const std::filesystem::path& work,
                                           const HealOptions& options, const EigenBackend& backend,
                                           Group& group) {
    CacheTeacherOptions caching;
    caching.top = options.distillation->top;
    at_root(group, [&] {
        cache_taught(work, teacher, windows, caching, options.progress, backend);
        make_folder(work / "distillation");
    });
    const auto cache_of = [&](const char* name, const TrainingWindows& of) {
        return all_or_none_of(group, [&] {
            return TeacherCache(work / name, teacher_cache_run(teacher, of, caching));
        });
    };
    const auto taught = cache_of("teacher", windows.training),
               looked_at = cache_of("teacher_held_out", windows.held_out);
    const DistillSources sources{start,   work / "distillation", &windows.training,
                                 &taught, &windows.held_out,     &looked_at};
    auto distilled = distill(sources, *options.distillation, backend, group, options.progress);
    at_root(group, [&] {
        write_distilled(start, teacher, distilled.weights, options.distillation->parts, folder,
                        backend);
    });
    return std::move(distilled.report);
}

}  // namespace detail

/// Heals a compressed checkpoint.
///
/// student    of compress
/// teacher    the dense checkpoint that it was made of
/// texts      windows of them: training_windows
/// folder     the healed checkpoint; must not exist; appears when all of it is written
/// work       folder of what makes the run resumable, new, empty or of another call; the same call with the same folder
///            goes on. One call at a time works there
/// group      processes that share the work, as in heal_blocks and distill; all call with the same arguments, and
///            see the same folders. What one throws at its work all throw: nobody waits for one that has left
/// cost       as heal_blocks and distill, and the teacher once over all windows; a few passes over the files of all
///            models, for their fingerprints
/// throws     as heal_blocks, distill and cache_teacher; ArgumentError where there is no stage to run, where the work
///            folder is something else, where another process is at work there, and where one of the models or the output
///            lies in a part of it that this run replaces
template <Communicator Group>
[[nodiscard]] HealReport heal(const std::filesystem::path& student,
                              const std::filesystem::path& teacher, const TrainingWindows& texts,
                              const std::filesystem::path& folder,
                              const std::filesystem::path& work, const HealOptions& options,
                              const EigenBackend& backend, Group& group) {
    detail::all_or_none(group, [&] {
        detail::require_healable(student, teacher, texts, options, group.size());
        detail::require_places(student, teacher, folder, work, options);
    });
    const double begin = detail::seconds_now();
    const auto windows = detail::divided(texts, options);
    auto report = detail::report_on(windows);
    std::optional<WorkFolderLock> own;
    detail::at_root(group, [&] {
        (options.lock != nullptr ? *options.lock : own).emplace(work);
        detail::remove_leftovers(work);
    });
    auto start = student;
    if (options.blocks) {
        const HealSources sources{student,           teacher,           work / "blocks",
                                  &windows.training, &windows.held_out, options.rival};
        start = options.distillation ? work / "blocks_model" : folder;
        report.blocks = detail::heal_layers(sources, start, options.distillation.has_value(),
                                            options, backend, group);
    }
    if (options.distillation)
        report.distillation =
            detail::distill_windows(start, teacher, windows, folder, work, options, backend, group);
    report.seconds = detail::seconds_now() - begin;
    return report;
}

/// The same by one process.
[[nodiscard]] HealReport heal(const std::filesystem::path& student,
                              const std::filesystem::path& teacher, const TrainingWindows& texts,
                              const std::filesystem::path& folder,
                              const std::filesystem::path& work, const HealOptions& options,
                              const EigenBackend& backend);

}  // namespace mpo

#ifdef MPO_MODEL_COMPILED
namespace mpo {
extern template HealReport heal<SingleProcess>(const std::filesystem::path&,
                                               const std::filesystem::path&, const TrainingWindows&,
                                               const std::filesystem::path&,
                                               const std::filesystem::path&, const HealOptions&,
                                               const EigenBackend&, SingleProcess&);
}  // namespace mpo
#else
#include "mpo/model/heal_inl.hpp"
#endif

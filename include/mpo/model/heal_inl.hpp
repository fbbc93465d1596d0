// The bodies of model/heal.hpp that are no templates.
#pragma once

#include <algorithm>
#include <map>
#include <system_error>

#include "mpo/io/inline.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/compressed.hpp"
#include "mpo/model/heal.hpp"
#include "mpo/model/healed_writer.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE DividedWindows divided(const TrainingWindows& all,
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

/// Whether distillation has an array of a student to train.
inline bool trains_something(const WeightReader& student, const TrainedParts& parts) {
    if (parts.norms || parts.embedding || parts.head) return true;
    const auto* chains = student.compressed();
    if (parts.cores && chains != nullptr && !chains->linears().empty()) return true;
    for (const auto& tensor : student.checkpoint().tensors()) {
        if (parts.weights && tensor.name.ends_with("_proj.weight")) return true;
        if (parts.biases && tensor.name.ends_with("_proj.bias")) return true;
    }
    return false;
}

/// What of it is asked of distillation.
inline void require_distillable(const WeightReader& student, const TrainingWindows& texts,
                                const TransformerConfig& dense, const DistillOptions& options) {
    if (const Index top = options.top; top < 1 || top > dense.vocab_size)
        raise<ArgumentError>(
            {"heal: top must be 1 to ", dense.vocab_size, ", the vocabulary, got ", top});
    require_batch(options.batch_windows, texts.length, "distill");
    require_loss(texts, options.alpha, "distill");
    if (!trains_something(student, options.parts))
        raise<ArgumentError>({"distill: ", student.checkpoint().path().string(),
                              " has none of the parts that are to be trained"});
}

/// Throws what reading them later would throw: the numbers outside the layers, which the block stage copies unseen.
inline void require_finite_outside(WeightReader& student, const TransformerConfig& config) {
    const Shape table{config.vocab_size, config.hidden_size};
    (void)student.read("model.embed_tokens.weight", table);
    (void)student.read("model.norm.weight", {config.hidden_size});
    if (!config.tied_head) (void)student.read("lm_head.weight", table);
}

MPO_DETAIL_MODEL_INLINE void require_healable(const std::filesystem::path& student,
                                              const std::filesystem::path& teacher,
                                              const TrainingWindows& texts,
                                              const HealOptions& options, int processes) {
    if (!options.blocks && !options.distillation)
        throw ArgumentError("heal: neither the block stage nor distillation is asked for");
    if (options.blocks) require_heal_options(*options.blocks);
    if (options.distillation) require_distill_options(*options.distillation, processes);
    require_compressed(student);
    require_dense(teacher);
    const EigenBackend backend;
    WeightReader of_teacher(teacher, {}, backend), of_student(student, {}, backend);
    const auto dense = transformer_config(of_teacher.checkpoint()),
               config = transformer_config(of_student.checkpoint());
    require_same_decoder(config, dense);
    require_decoder(of_teacher, dense);
    require_student(of_student, config);
    require_complete(texts, dense.vocab_size, "heal");
    require_context(texts.length, config);
    require_finite_outside(of_student, config);
    if (options.blocks) {
        require_window_length(*options.blocks, texts.length);
        require_trial(*options.blocks, !options.rival.empty());
    }
    if (!options.rival.empty()) {
        if (!options.blocks)
            raise<ArgumentError>({"heal: between the student and ", options.rival.string(),
                                  " the block stage chooses, which is not asked for"});
        require_rival(options.rival, dense);
    }
    if (options.distillation) require_distillable(of_student, texts, dense, *options.distillation);
}

MPO_DETAIL_MODEL_INLINE void require_places(const std::filesystem::path& student,
                                            const std::filesystem::path& teacher,
                                            const std::filesystem::path& folder,
                                            const std::filesystem::path& work,
                                            const HealOptions& options) {
    if (std::filesystem::exists(std::filesystem::symlink_status(folder)))
        raise<ArgumentError>({"heal: ", folder.string(), " exists already; nothing was done"});
    for (const char* name :
         {"blocks", "blocks_model", "teacher", "teacher_held_out", "distillation", heal_work_file})
        if (is_within(folder, work / name))
            raise<ArgumentError>({"heal: the output ", folder.string(), " lies in ",
                                  (work / name).string(), ", which is the run's own"});
    const auto replaced = work / "blocks_model";
    if (!options.blocks || !options.distillation) return;
    for (const auto& model : {student, teacher, options.rival})
        if (!model.empty() && is_within(model, replaced))
            raise<ArgumentError>({"heal: ", model.string(),
                                  " is what the block stage of this run would replace in its work "
                                  "folder; take another work folder, or move it away first"});
}

MPO_DETAIL_MODEL_INLINE void cache_taught(const std::filesystem::path& folder,
                                          const std::filesystem::path& teacher,
                                          const TrainingWindows& windows,
                                          CacheTeacherOptions caching, const HealCallback& progress,
                                          const EigenBackend& backend) {
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

MPO_DETAIL_MODEL_INLINE std::optional<std::vector<BlockHealing>> written_blocks(
    const HealSources& sources, const HealBlocksOptions& options, int processes,
    const std::filesystem::path& folder) {
    if (!std::filesystem::exists(folder)) return std::nullopt;
    const auto num_layers = transformer_config(Checkpoint(sources.student)).num_layers;
    return snapshots_of(sources, options, processes).written_layers(num_layers, folder);
}

MPO_DETAIL_MODEL_INLINE void write_healed_blocks(const HealSources& sources,
                                                 const HealBlocksOptions& options, int processes,
                                                 const std::vector<BlockHealing>& blocks,
                                                 const std::filesystem::path& folder, bool in_work,
                                                 const EigenBackend& backend) {
    const auto snapshots = snapshots_of(sources, options, processes);
    if (in_work) {
        std::error_code error;
        std::filesystem::remove_all(folder, error);
        if (error) throw file_error("remove", folder, error.value());
    }
    const TransformerOptions read;
    WeightReader reader(sources.student, read, backend);
    const auto config = transformer_config(reader.checkpoint());
    const Checkpoint teacher(sources.teacher);
    const TrainingOptions training{
        .rows = part_windows(options, processes) * sources.windows->length,
        .max_workspace_bytes = options.max_workspace_bytes,
        .parts = options.parts};
    const auto layer_of = [&](Index k, WeightReader& from, const BlockSnapshots& kept) {
        TrainableBlock<float> layer(concat("model.layers.", k, "."),
                                    read_layer_weights(from, config, k), config, training, backend);
        if (blocks.at(static_cast<std::size_t>(k)).curve.size() == 1) return layer.weights();
        Parameters<float> parameters;  // steps were taken
        layer.list(parameters);
        (void)kept.load(k, parameters);
        return layer.weights();
    };
    RivalLayers chosen;
    for (const auto& block : blocks)
        if (block.form == LayerForm::rival) chosen.layers.push_back(block.layer);
    std::optional<WeightReader> rival;
    if (!chosen.layers.empty())
        chosen.rival = rival.emplace(sources.rival, read, backend).compressed();
    const auto is_rivals = [&](Index k) {
        return blocks.at(static_cast<std::size_t>(k)).form == LayerForm::rival;
    };
    HealedWriter writer(
        *reader.compressed(), teacher,
        [&](Index k) {
            return is_rivals(k) ? layer_of(k, *rival, snapshots.of_rival())
                                : layer_of(k, reader, snapshots);
        },
        backend, chosen);
    writer.write(folder, options.parts, {});
    if (in_work) snapshots.save_written(blocks, folder);
}

MPO_DETAIL_MODEL_INLINE void cache_taught(const std::filesystem::path& work,
                                          const std::filesystem::path& teacher,
                                          const DividedWindows& windows,
                                          const CacheTeacherOptions& caching,
                                          const HealCallback& progress,
                                          const EigenBackend& backend) {
    cache_taught(work / "teacher", teacher, windows.training, caching, progress, backend);
    cache_taught(work / "teacher_held_out", teacher, windows.held_out, caching, progress, backend);
}

MPO_DETAIL_MODEL_INLINE HealReport report_on(const DividedWindows& windows) {
    HealReport report;
    report.windows = windows.training.count();
    report.held_out = windows.held_out.count();
    report.tokens_per_window = windows.training.length;
    return report;
}

MPO_DETAIL_MODEL_INLINE void write_distilled(const std::filesystem::path& before,
                                             const std::filesystem::path& teacher,
                                             const ModelWeights<float>& weights,
                                             const TrainedParts& parts,
                                             const std::filesystem::path& folder,
                                             const EigenBackend& backend) {
    const CompressedCheckpoint student(before);
    const Checkpoint dense(teacher);
    HealedWriter writer(
        student, dense, [&](Index k) { return weights.layers[static_cast<std::size_t>(k)]; },
        backend);
    std::map<std::string, const Tensor<float>*> outside;
    if (parts.norms) outside["model.norm.weight"] = &weights.norm;
    if (parts.embedding || (parts.head && !weights.head))
        outside["model.embed_tokens.weight"] = &weights.embedding;
    if (parts.head && weights.head) outside["lm_head.weight"] = &*weights.head;
    writer.write(folder, parts, outside);
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE HealReport heal(const std::filesystem::path& student,
                                        const std::filesystem::path& teacher,
                                        const TrainingWindows& texts,
                                        const std::filesystem::path& folder,
                                        const std::filesystem::path& work,
                                        const HealOptions& options, const EigenBackend& backend) {
    SingleProcess alone;
    return heal(student, teacher, texts, folder, work, options, backend, alone);
}

}  // namespace mpo

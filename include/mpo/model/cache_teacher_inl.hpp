// The bodies of model/cache_teacher.hpp that are no templates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/parallel.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "mpo/linalg/row_functions.hpp"
#include "mpo/model/cache_teacher.hpp"
#include "mpo/model/json_lines.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE TeacherCacheRun teacher_cache_run(const std::filesystem::path& teacher,
                                                          const TrainingWindows& windows,
                                                          const CacheTeacherOptions& options) {
    const Checkpoint checkpoint(teacher);
    const auto config = transformer_config(checkpoint);
    if (windows.count() == 0) throw ArgumentError("teacher cache: there are no windows");
    detail::require_whole(windows, "teacher cache");
    if (windows.length > config.max_positions)
        detail::raise<ArgumentError>({"teacher cache: a window has ", windows.length,
                                      " tokens, the context of the teacher ",
                                      config.max_positions});
    for (std::size_t k = 0; k < windows.tokens.size(); ++k)
        if (const Index id = windows.tokens[k]; id < 0 || id >= config.vocab_size)
            detail::raise<ArgumentError>({"teacher cache: token ",
                                          static_cast<Index>(k) % windows.length, " of window ",
                                          static_cast<Index>(k) / windows.length, " is ", id,
                                          ", the teacher's vocabulary has ", config.vocab_size});
    if (options.top < 1 || options.top > config.vocab_size)
        detail::raise<ArgumentError>({"teacher cache: top must be 1 to ", config.vocab_size,
                                      ", the vocabulary, got ", options.top});
    if (options.windows_per_shard < 1)
        detail::raise<ArgumentError>({"teacher cache: windows_per_shard must be at least 1, got ",
                                      options.windows_per_shard});
    return {detail::decoder_fingerprint(checkpoint),
            detail::fingerprint(windows),
            config.vocab_size,
            options.top,
            windows.length,
            windows.count(),
            options.windows_per_shard};
}

namespace detail {

/// Takes the K largest logits of a row out of it.
///
/// z       (vocab), overwritten
/// throws  NumericalError where there is no softmax
inline void teach_row(Index vocab, float* z, TopLogits& top, std::span<std::int32_t> ids,
                      std::span<float> log_p, float& log_rest) {
    constexpr float nothing = -std::numeric_limits<float>::infinity();
    if (!top.find(z, ids.data())) throw NumericalError("one is NaN");
    double lead = -std::numeric_limits<double>::infinity(), sum = 0;
    for (std::size_t k = 0; k < ids.size(); ++k) {
        log_p[k] = std::exchange(z[ids[k]], nothing);
        lead = (std::max)(lead, static_cast<double>(log_p[k]));
    }
    const bool all = static_cast<Index>(ids.size()) == vocab;
    const double rest = all ? static_cast<double>(nothing) : log_sum_exp(vocab, z);
    for (const float logit : log_p) sum += std::exp(static_cast<double>(logit) - lead);
    const double log_sum = lead + std::log(sum + std::exp(rest - lead));
    if (!std::isfinite(log_sum)) raise<NumericalError>({"log-sum-exp ", log_sum});
    for (float& one : log_p)
        one = static_cast<float>((std::min)(0.0, static_cast<double>(one) - log_sum));
    log_rest = static_cast<float>((std::min)(0.0, rest - log_sum));
}

MPO_DETAIL_MODEL_INLINE Teacher::Teacher(const std::filesystem::path& path,
                                         const TeacherCacheRun& run, Index max_bytes,
                                         const EigenBackend& backend)
    : run_(run),
      model_(path, {}, backend),
      cache_(model_.make_cache(run.window)),
      hidden_({run.window, model_.config().hidden_size}),
      logits_(
          {std::clamp(max_bytes / (4 * run.vocab_size), Index{1}, run.window), run.vocab_size}) {}

MPO_DETAIL_MODEL_INLINE void Teacher::teach(Index w, std::span<const Index> tokens,
                                            TeacherTargetRows& rows) {
    const auto begin = rows.log_rest.size();
    rows.log_rest.resize(begin + static_cast<std::size_t>(run_.window));
    rows.ids.resize(rows.log_rest.size() * static_cast<std::size_t>(run_.top));
    rows.log_probabilities.resize(rows.ids.size());
    cache_.truncate(0);
    model_.forward(tokens, cache_, rows_of(hidden_));
    const Index at_once = logits_.extent(0), width = hidden_.extent(1);
    for (Index first = 0; first < run_.window; first += at_once) {
        const Index n = (std::min)(at_once, run_.window - first);
        model_.logits(matrix<const float>(hidden_.data() + first * width, n, width),
                      matrix(logits_.data(), n, run_.vocab_size));
        parallel_for(0, n, 1, [&](Index from, Index to) {
            TopLogits top(run_.vocab_size, run_.top);
            for (Index k = from; k < to; ++k)
                teach_position(w, first + k, logits_.data() + k * run_.vocab_size, top,
                               begin + static_cast<std::size_t>(first + k), rows);
        });
    }
    rows.positions += run_.window;
    rows.top = run_.top;
}

MPO_DETAIL_MODEL_INLINE void Teacher::teach_position(Index w, Index t, float* z, TopLogits& top,
                                                     std::size_t at,
                                                     TeacherTargetRows& rows) const {
    const auto K = static_cast<std::size_t>(run_.top);
    try {
        teach_row(run_.vocab_size, z, top, {rows.ids.data() + at * K, K},
                  {rows.log_probabilities.data() + at * K, K}, rows.log_rest[at]);
    } catch (const NumericalError& error) {
        raise<NumericalError>({"teacher cache: the logits at position ", t, " of window ", w,
                               " are not finite: ", error.what()});
    }
}

MPO_DETAIL_MODEL_INLINE std::string write_shard(const std::filesystem::path& folder,
                                                const TeacherCacheRun& run, Index shard,
                                                const TeacherTargetRows& rows) {
    const Index n = windows_in(run, shard);
    SafetensorsWriter writer(folder / shard_name(shard),
                             {.metadata = {{"mpo_teacher_cache", teacher_cache_format_version},
                                           {"run", fingerprint(run)},
                                           {"shard", concat(shard)}}});
    Fingerprint result;
    const auto append = [&](const char* name, DType dtype, const Shape& shape,
                            std::span<const std::byte> bytes) {
        result.add(bytes.data(), bytes.size());
        writer.append(name, dtype, shape, bytes);
    };
    append("ids", DType::i32, {n, run.window, run.top}, std::as_bytes(std::span(rows.ids)));
    std::vector<std::byte> half(2 * rows.log_probabilities.size());
    if (const Index lost = encode(rows.log_probabilities.data(), DType::f16, half.data(),
                                  static_cast<Index>(rows.log_probabilities.size()));
        lost != 0)
        raise<NumericalError>({"teacher cache: ", lost, " log-probabilities of shard ", shard,
                               " are too large for ", to_string(DType::f16)});
    append("log_probabilities", DType::f16, {n, run.window, run.top}, half);
    append("log_rest", DType::f32, {n, run.window}, std::as_bytes(std::span(rows.log_rest)));
    writer.set_metadata("fingerprint", result.to_string());
    writer.finish();
    return result.to_string();
}

/// Begins a cache in a folder that does not exist or is unused, or goes on with the same one.
inline void begin_cache(const std::filesystem::path& folder, const TeacherCacheRun& run) {
    const auto path = folder / "run.json";
    if (std::filesystem::exists(path)) return require_same_run(folder, run);
    if (!can_begin(folder, "run.json"))
        raise<ArgumentError>(
            {"teacher cache: ", folder.string(), " holds something else than a teacher's cache"});
    std::error_code error;
    std::filesystem::create_directory(folder, error);
    if (error) throw file_error("create", folder, error.value());
    write_text_file(path, json_lines(run_json(run)));
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE TeacherCache cache_teacher(const std::filesystem::path& folder,
                                                   const std::filesystem::path& teacher,
                                                   const TrainingWindows& windows,
                                                   const CacheTeacherOptions& options,
                                                   const EigenBackend& backend) {
    auto run = teacher_cache_run(teacher, windows, options);
    detail::begin_cache(folder, run);
    if (std::filesystem::exists(folder / "index.json")) return {folder, std::move(run)};
    std::vector<std::string> shards;
    std::optional<detail::Teacher> model;
    for (Index shard = 0, w = 0; shard < detail::num_shards(run); ++shard) {
        const Index end = w + detail::windows_in(run, shard);
        if (std::filesystem::exists(folder / detail::shard_name(shard))) {
            shards.push_back(detail::TeacherShard(folder, run, shard).bytes_fingerprint());
            w = end;
            continue;
        }
        if (!model) model.emplace(teacher, run, options.max_workspace_bytes, backend);
        TeacherTargetRows rows;
        for (; w < end; ++w) {
            model->teach(w, windows.tokens_of(w), rows);
            if (w + 1 == end) shards.push_back(detail::write_shard(folder, run, shard, rows));
            if (options.progress && options.progress(w + 1, run.windows) == ProgressReply::cancel)
                throw Cancelled(detail::concat("teacher cache: cancelled after ", w + 1, " of ",
                                               run.windows, " windows; ", shards.size(), " of ",
                                               detail::num_shards(run), " shards are kept in ",
                                               folder.string()));
        }
    }
    detail::write_index(folder, run, shards);
    return {folder, std::move(run)};
}

}  // namespace mpo

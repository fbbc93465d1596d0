// cache_teacher: a teacher reads windows, and what it says of every next token goes to the disk. An interrupted
// run goes on behind the last shard that it finished, and ends with the same bytes as an unbroken one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "mpo/core/tensor.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/model/progress.hpp"
#include "mpo/model/row_softmax.hpp"
#include "mpo/model/teacher_cache.hpp"
#include "mpo/model/training_windows.hpp"
#include "mpo/model/transformer.hpp"

namespace mpo {

/// How a teacher is cached.
struct CacheTeacherOptions {
    Index top = 64;                              // K, ids of a position
    Index windows_per_shard = 8;                 // what is lost where it is interrupted
    Index max_workspace_bytes = Index{1} << 26;  // of logits; one position has its own in any case
    std::function<ProgressReply(Index done, Index windows)> progress = {};  // after every window
};

/// What a cache of these windows and options holds: what TeacherCache is opened with.
///
/// teacher   a checkpoint, read once for its fingerprint
/// throws    ArgumentError (no windows, the window, a token outside the vocabulary, top, windows_per_shard); as
///           the constructor of Checkpoint and transformer_config
[[nodiscard]] TeacherCacheRun teacher_cache_run(const std::filesystem::path& teacher,
                                                const TrainingWindows& windows,
                                                const CacheTeacherOptions& options);

namespace detail {

/// A teacher at work: memory of one window and of some rows of logits.
class Teacher {
  public:
    Teacher(const std::filesystem::path& path, const TeacherCacheRun& run, Index max_bytes,
            const EigenBackend& backend);

    /// The targets of window w, behind those that `rows` has.
    void teach(Index w, std::span<const Index> tokens, TeacherTargetRows& rows);

  private:
    void teach_position(Index w, Index t, float* z, TopLogits& top, std::size_t at,
                        TeacherTargetRows& rows) const;

    const TeacherCacheRun& run_;
    Transformer model_;
    KvCache cache_;
    Tensor<float> hidden_, logits_;
};

/// Writes one shard; returns the fingerprint of its bytes.
std::string write_shard(const std::filesystem::path& folder, const TeacherCacheRun& run,
                        Index shard, const TeacherTargetRows& rows);

}  // namespace detail

/// Writes the targets of all windows into a folder, or completes what was begun there, and opens it.
///
/// folder    does not exist, is empty, or holds this cache, complete or not
/// teacher   a checkpoint, as Transformer's; of precision as_stored
/// error     logits are those of Transformer; log-probabilities as teacher_cache.hpp says
/// cost      of the windows that are not there one forward pass and the head; choosing K of the logits of a position
///           reads them three times. Memory: the teacher, max_workspace_bytes, and one shard
/// throws    ArgumentError where another cache or something else is in the folder, naming what differs, and as
///           teacher_cache_run; Cancelled, finished shards stay; NumericalError, naming window and position, for
///           logits that are not finite; FormatError for a shard that is damaged; FileError
TeacherCache cache_teacher(const std::filesystem::path& folder,
                           const std::filesystem::path& teacher, const TrainingWindows& windows,
                           const CacheTeacherOptions& options, const EigenBackend& backend);

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/cache_teacher_inl.hpp"
#endif

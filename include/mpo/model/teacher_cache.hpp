// A teacher's targets on the disk, a folder:
//
//   1. "run.json": "format_version" 1, and what is asked for: "teacher" and "tokens", fingerprints of the checkpoint and of
//      the windows; "vocab_size", "top" (K), "window" (L), "windows" (N), "windows_per_shard" (S). Written first.
//   2. "shard_00000.safetensors", ..: the windows k S .. min(N, (k + 1) S) - 1 of shard k, n of them. "ids" I32 (n, L, K), by
//      descending probability, of equal ones the lower id first; "log_probabilities" F16 (n, L, K) of these ids;
//      "log_rest" F32 (n, L) of all other ids, -inf where K is the vocabulary. Nothing else.
//   3. Metadata of a shard: "mpo_teacher_cache" is the version of this format, "run" the fingerprint of run.json, "shard"
//      is k, "fingerprint" that of the bytes of its tensors, in the order above.
//   4. "index.json": "format_version", "run", and "shards", the fingerprints of all. Written last: without it the cache
//      is not complete.
//
// Each file appears completely or not at all, so that a cache in the making is one whose shards end early. A float16
// has 11 bits: log p comes back to 2^-12 of itself, and the divergence of what is read from what was meant is about
// half the mean square of that, below 1e-6 nats. Masses are made to add up to 1 as they are read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/safetensors.hpp"
#include "mpo/model/teacher_cache_run.hpp"
#include "mpo/model/teacher_targets.hpp"

namespace mpo {

namespace detail {

/// One shard, checked when it is opened: its tensors, and that its bytes are those that were written.
class TeacherShard {
  public:
    TeacherShard(const std::filesystem::path& folder, const TeacherCacheRun& run, Index shard);

    /// Of its bytes.
    [[nodiscard]] const std::string& bytes_fingerprint() const { return fingerprint_; }

    /// The targets of window w of the whole cache, behind those that `rows` has. Throws FormatError for what no
    /// distribution has.
    void append(Index w, TeacherTargetRows& rows) const;

  private:
    void require_metadata(const std::string& key, const std::string& expected) const;
    void require_tensor(const std::string& name, DType dtype, const Shape& shape) const;
    /// Checks one position, and makes its masses add up to 1.
    void complete(Index w, Index t, std::span<const std::int32_t> ids, std::span<float> log_p,
                  float& log_rest) const;

    SafetensorsFile file_;
    const TeacherCacheRun* run_;
    Index first_;
    std::string fingerprint_;
};

}  // namespace detail

/// A complete cache, opened. Const calls are safe from many threads.
class TeacherCache {
  public:
    /// Checks all of it, every byte of the shards included.
    ///
    /// folder   of cache_teacher; nothing in it is trusted
    /// run      what is asked for
    /// throws   ArgumentError where the folder holds another run, naming what differs and both values, or one that is
    ///          not complete; FormatError, naming file and tensor, where it breaks a rule; FileError
    TeacherCache(const std::filesystem::path& folder, TeacherCacheRun run);

    /// What was asked for.
    [[nodiscard]] const TeacherCacheRun& run() const { return *run_; }

    /// Targets of all positions of some windows, one window behind the other.
    ///
    /// windows   0 .. run().windows - 1
    /// throws    ArgumentError, FormatError for an id outside the vocabulary, probabilities that do not descend or
    ///           masses that do not add up to 1; FileError
    [[nodiscard]] TeacherTargetRows targets(std::span<const Index> windows) const;
    /// Those of one window.
    [[nodiscard]] TeacherTargetRows targets(Index window) const {
        return targets(std::span(&window, 1));
    }

  private:
    std::unique_ptr<const TeacherCacheRun> run_;  // shards keep its address
    std::vector<detail::TeacherShard> shards_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/teacher_cache_inl.hpp"
#endif

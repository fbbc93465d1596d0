// What a cache of a teacher's targets is asked for, and the JSON files of its folder (teacher_cache.hpp).
#pragma once

#include <algorithm>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "mpo/core/tensor.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/training_windows.hpp"

namespace mpo {

/// Version of the format of a teacher's cache that this library writes and reads.
inline constexpr const char* teacher_cache_format_version = "1";

/// Which targets a cache holds, and of whom.
struct TeacherCacheRun {
    std::string teacher;          // fingerprint of the checkpoint
    std::string tokens;           // fingerprint of the windows
    Index vocab_size = 0;         // of the teacher
    Index top = 64;               // K, ids of a position
    Index window = 0;             // L, tokens
    Index windows = 0;            // N
    Index windows_per_shard = 8;  // what is lost where the writing is interrupted
};

namespace detail {

[[nodiscard]] nlohmann::ordered_json run_json(const TeacherCacheRun& run);

[[nodiscard]] std::string fingerprint(const TeacherCacheRun& run);

[[nodiscard]] inline Index num_shards(const TeacherCacheRun& run) {
    return (run.windows + run.windows_per_shard - 1) / run.windows_per_shard;
}
/// Windows of one of them.
[[nodiscard]] inline Index windows_in(const TeacherCacheRun& run, Index shard) {
    return (std::min)(run.windows_per_shard, run.windows - shard * run.windows_per_shard);
}
[[nodiscard]] std::string shard_name(Index shard);

/// Throws ArgumentError where run.json of the folder is that of another run, naming what differs.
void require_same_run(const std::filesystem::path& folder, const TeacherCacheRun& run);

/// The fingerprints of all shards. Throws ArgumentError where the cache is not complete, FormatError.
[[nodiscard]] std::vector<std::string> read_index(const std::filesystem::path& folder,
                                                  const TeacherCacheRun& run);

void write_index(const std::filesystem::path& folder, const TeacherCacheRun& run,
                 const std::vector<std::string>& shards);

}  // namespace detail
}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/teacher_cache_run_inl.hpp"
#endif

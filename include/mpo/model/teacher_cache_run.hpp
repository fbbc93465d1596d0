// What a cache of a teacher's targets is asked for, and the JSON files of its folder (teacher_cache.hpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/fingerprint.hpp"
#include "mpo/model/json_lines.hpp"
#include "mpo/model/json_object.hpp"
#include "mpo/model/training_windows.hpp"
#include "mpo/model/transformer_config.hpp"

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

[[nodiscard]] inline nlohmann::ordered_json run_json(const TeacherCacheRun& run) {
    return {{"format_version", std::stoll(teacher_cache_format_version)},
            {"teacher", run.teacher},
            {"tokens", run.tokens},
            {"vocab_size", run.vocab_size},
            {"top", run.top},
            {"window", run.window},
            {"windows", run.windows},
            {"windows_per_shard", run.windows_per_shard}};
}

[[nodiscard]] inline std::string fingerprint(const TeacherCacheRun& run) {
    Fingerprint result;
    result.add(run_json(run).dump());
    return result.to_string();
}

[[nodiscard]] inline Index num_shards(const TeacherCacheRun& run) {
    return (run.windows + run.windows_per_shard - 1) / run.windows_per_shard;
}
/// Windows of one of them.
[[nodiscard]] inline Index windows_in(const TeacherCacheRun& run, Index shard) {
    return (std::min)(run.windows_per_shard, run.windows - shard * run.windows_per_shard);
}
[[nodiscard]] inline std::string shard_name(Index shard) {
    const std::string digits = std::to_string(shard);
    return "shard_" + std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits +
           ".safetensors";
}

/// Throws ArgumentError where run.json of the folder is that of another run, naming what differs.
inline void require_same_run(const std::filesystem::path& folder, const TeacherCacheRun& run) {
    constexpr Index max_bytes = Index{1} << 20;
    const auto path = folder / "run.json";
    const auto kept = parse_json_tree(read_text_file(path, max_bytes), path.string());
    const JsonObject from(kept, path.string());
    const auto asked = run_json(run);
    for (const auto& [key, value] : asked.items())
        if (const auto& was = from.member(key.c_str()); was != nlohmann::json(value))
            raise<ArgumentError>({"teacher cache: that in ", folder.string(), " has ", key, ' ',
                                  printable(was.dump(), 80), ", asked for is ",
                                  printable(value.dump(), 80)});
}

/// The fingerprints of all shards. Throws ArgumentError where the cache is not complete, FormatError.
[[nodiscard]] inline std::vector<std::string> read_index(const std::filesystem::path& folder,
                                                         const TeacherCacheRun& run) {
    const auto path = folder / "index.json";
    const Index shards = num_shards(run);
    if (!std::filesystem::exists(path)) {
        Index there = 0;
        for (Index k = 0; k < shards; ++k) there += std::filesystem::exists(folder / shard_name(k));
        raise<ArgumentError>({"teacher cache: that in ", folder.string(), " is not complete, ",
                              there, " of ", shards, " shards are there"});
    }
    const auto json = parse_json_tree(read_text_file(path), path.string());
    const JsonObject from(json, path.string());
    if (from.integer("format_version") != std::stoll(teacher_cache_format_version))
        from.fail(concat("'format_version' is ", from.integer("format_version"),
                         ", this library reads ", teacher_cache_format_version));
    if (const auto of = from.text("run"); of != fingerprint(run))
        from.fail(concat("belongs to the run ", in_quotes(of), ", not to ", fingerprint(run)));
    auto list = from.texts("shards");
    if (static_cast<Index>(list.size()) != shards)
        from.fail(concat("names ", list.size(), " shards, the run has ", shards));
    return list;
}

inline void write_index(const std::filesystem::path& folder, const TeacherCacheRun& run,
                        const std::vector<std::string>& shards) {
    write_text_file(folder / "index.json",
                    json_lines({{"format_version", std::stoll(teacher_cache_format_version)},
                                {"run", fingerprint(run)},
                                {"shards", shards}}));
}

}  // namespace detail
}  // namespace mpo

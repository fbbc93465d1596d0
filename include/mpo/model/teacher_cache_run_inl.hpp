// The bodies of model/teacher_cache_run.hpp that are no templates.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>

#include "mpo/core/error.hpp"
#include "mpo/core/printable.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/checkpoint.hpp"
#include "mpo/model/json_lines.hpp"
#include "mpo/model/json_object.hpp"
#include "mpo/model/teacher_cache_run.hpp"
#include "mpo/model/transformer_config.hpp"

namespace mpo::detail {

MPO_DETAIL_MODEL_INLINE nlohmann::ordered_json run_json(const TeacherCacheRun& run) {
    return {{"format_version", std::stoll(teacher_cache_format_version)},
            {"teacher", run.teacher},
            {"tokens", run.tokens},
            {"vocab_size", run.vocab_size},
            {"top", run.top},
            {"window", run.window},
            {"windows", run.windows},
            {"windows_per_shard", run.windows_per_shard}};
}

MPO_DETAIL_MODEL_INLINE std::string fingerprint(const TeacherCacheRun& run) {
    Fingerprint result;
    result.add(run_json(run).dump());
    return result.to_string();
}

MPO_DETAIL_MODEL_INLINE std::string shard_name(Index shard) {
    const std::string digits = std::to_string(shard);
    return "shard_" + std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits +
           ".safetensors";
}

MPO_DETAIL_MODEL_INLINE void require_same_run(const std::filesystem::path& folder,
                                              const TeacherCacheRun& run) {
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

MPO_DETAIL_MODEL_INLINE std::vector<std::string> read_index(const std::filesystem::path& folder,
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

MPO_DETAIL_MODEL_INLINE void write_index(const std::filesystem::path& folder,
                                         const TeacherCacheRun& run,
                                         const std::vector<std::string>& shards) {
    write_text_file(folder / "index.json",
                    json_lines({{"format_version", std::stoll(teacher_cache_format_version)},
                                {"run", fingerprint(run)},
                                {"shards", shards}}));
}

}  // namespace mpo::detail

// The bodies of model/output_folder.hpp that are no templates.
#pragma once

#include <cerrno>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include "mpo/core/error.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/mapped_file.hpp"
#include "mpo/model/output_folder.hpp"

namespace mpo {

MPO_DETAIL_MODEL_INLINE OutputFolder::OutputFolder(std::filesystem::path path)
    : final_(std::move(path)) {
    if (!final_.has_filename()) final_ = final_.parent_path();  // "out/" is "out"
    if (final_.empty()) throw ArgumentError("output folder: the name is empty");
    require_free();
    std::random_device random;
    const std::string stem = "." + final_.filename().string().substr(0, 200) + ".";
    for (bool created = false; !created;) {
        path_ = final_.parent_path() / (stem + std::to_string(random()) + ".tmp");
        std::error_code error;
        created = std::filesystem::create_directory(path_, error);
        if (error) throw detail::file_error("create", final_, error.value());
    }
}

MPO_DETAIL_MODEL_INLINE OutputFolder::~OutputFolder() {
    if (path_.empty()) return;
    try {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    } catch (...) {  // no memory even for that: the temporary folder stays, as after a kill
    }
}

MPO_DETAIL_MODEL_INLINE void OutputFolder::commit() {
    require_free();
    std::error_code error;
    std::filesystem::rename(path_, final_, error);
    if (error) throw detail::file_error("rename to", final_, error.value());
    path_.clear();
}

MPO_DETAIL_MODEL_INLINE void OutputFolder::copy(const std::filesystem::path& from,
                                                ReadMode mode) const {
    const MappedFile source(from, mode);
    const auto text = source.bytes(0, source.size());
    write_text_file(path_ / from.filename(), {reinterpret_cast<const char*>(text.data()),
                                              static_cast<std::size_t>(text.size())});
}

MPO_DETAIL_MODEL_INLINE void OutputFolder::copy_side_files(const Checkpoint& source,
                                                           DType dtype) const {
    const std::string config = source.config_json(dtype);
    write_text_file(path_ / "config.json", config.empty() ? "{}\n" : config);
    for (const auto& file : source.side_files()) copy(file);
    if (source.format() == CheckpointFormat::gguf)
        source.write_gguf_metadata(path_ / gguf_metadata_file);
}

MPO_DETAIL_MODEL_INLINE void OutputFolder::require_free() const {
    if (std::filesystem::exists(std::filesystem::symlink_status(final_)))
        detail::raise<ArgumentError>(
            {"output folder ", final_.string(), " exists already; nothing was written"});
}

}  // namespace mpo

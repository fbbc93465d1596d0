// A folder that exists under its name completely or not at all.
#pragma once

#include <filesystem>

#include "mpo/io/mapped_file.hpp"
#include "mpo/model/checkpoint.hpp"

namespace mpo {

/// Is filled under a temporary name beside the final one, and renamed by commit(); without that it
/// goes away with the object, and all that is in it.
class OutputFolder {
  public:
    /// Throws ArgumentError where something of that name exists already, FileError where the folder
    /// cannot be created.
    explicit OutputFolder(std::filesystem::path path);
    OutputFolder(const OutputFolder&) = delete;
    OutputFolder& operator=(const OutputFolder&) = delete;
    ~OutputFolder();

    /// Where to write.
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

    /// Gives the folder its name. Throws as the constructor does; the second time, ArgumentError.
    void commit();

    /// Copies a file into the folder under its own name. Mapped, it is never in memory as a whole; nobody may cut it off
    /// meanwhile.
    void copy(const std::filesystem::path& from, ReadMode mode = ReadMode::buffered) const;

    /// What belongs to a model beside its weights: config.json, tokenizer, metadata of a GGUF.
    void copy_side_files(const Checkpoint& source, DType dtype) const;

  private:
    void require_free() const;

    std::filesystem::path final_;
    std::filesystem::path path_;  // empty after commit
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/output_folder_inl.hpp"
#endif

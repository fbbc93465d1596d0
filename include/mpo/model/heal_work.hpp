// The work folder of a run of healing: whose it is, and that one process at a time works there.
//
// A folder becomes one by its file heal_work.json, {"format_version": 1}, which is written first. What lies in a folder
// without it was never a run's, and is neither read nor removed.
#pragma once

#include <filesystem>

#include "mpo/io/mapped_file.hpp"

namespace mpo {

/// The file that makes a folder the work folder of a run of healing.
inline constexpr const char* heal_work_file = "heal_work.json";

namespace detail {

/// Throws FileError where a folder is not there afterwards.
void make_folder(const std::filesystem::path& folder);

}  // namespace detail

/// Makes a work folder where there is none or an empty folder.
///
/// throws   ArgumentError where the folder holds anything and no heal_work.json, FormatError for one of another version,
///          FileError
void make_work_folder(const std::filesystem::path& work);

/// Keeps other processes out of a work folder while it lives; where its file system knows no locks, nobody.
class WorkFolderLock {
  public:
    /// Throws ArgumentError where another process is at work there, FileError where it is no work folder.
    explicit WorkFolderLock(const std::filesystem::path& work);

  private:
    detail::Descriptor descriptor_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_work_inl.hpp"
#endif

// The work folder of a run of healing: whose it is, and that one process at a time works there.
//
// A folder becomes one by its file heal_work.json, {"format_version": 4}, which is written first. What lies in a folder
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

/// Removes what processes left in a locked work folder that were killed while they wrote: what has a temporary name.
void remove_leftovers(const std::filesystem::path& work);

}  // namespace detail

/// Whether a path is a folder or lies below it, links followed.
[[nodiscard]] bool is_within(const std::filesystem::path& path,
                             const std::filesystem::path& folder);

/// Keeps other processes out of a work folder while it lives; where its file system knows no locks, nobody.
class WorkFolderLock {
  public:
    /// Makes a work folder where there is none or an empty folder.
    ///
    /// throws   ArgumentError where the folder holds anything and no heal_work.json, where another process is at work
    ///          there, and where that one has removed it meanwhile; FormatError for one of another version; FileError
    explicit WorkFolderLock(const std::filesystem::path& work);

  private:
    detail::Descriptor descriptor_;
};

}  // namespace mpo

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/heal_work_inl.hpp"
#endif

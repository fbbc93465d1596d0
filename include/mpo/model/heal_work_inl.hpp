// The bodies of model/heal_work.hpp that are no templates.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/heal_work.hpp"
#include "mpo/model/json_object.hpp"

namespace mpo {
namespace detail {

// 2: behind the last layer sinks and strays are left out
// 3: choices have an error, model.written the courses of all layers
// 4: snapshots have a fingerprint, model.written has that of its model
inline constexpr Index heal_work_version = 4;

MPO_DETAIL_MODEL_INLINE void make_folder(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw file_error("create", folder, error.value());
}

MPO_DETAIL_MODEL_INLINE void remove_leftovers(const std::filesystem::path& work) {
    std::vector<std::filesystem::path> left;
    std::error_code error;
    for (std::filesystem::recursive_directory_iterator at(work, error), end; !error && at != end;
         at.increment(error)) {
        const auto name = at->path().filename().string();
        if (!name.starts_with('.') || !name.ends_with(".tmp")) continue;
        left.push_back(at->path());
        at.disable_recursion_pending();
    }
    if (error) throw file_error("list", work, error.value());
    for (const auto& path : left) {
        std::filesystem::remove_all(path, error);
        if (error) throw file_error("remove", path, error.value());
    }
}

/// Throws ArgumentError where a folder is neither a run's nor one that a run can begin in, FormatError for one of another
/// version. True where it is a run's.
inline bool is_work_folder(const std::filesystem::path& work) {
    constexpr Index max_bytes = 1 << 16;
    const auto path = work / heal_work_file;
    if (!std::filesystem::exists(path)) {
        if (!can_begin(work, heal_work_file))
            raise<ArgumentError>({"heal: ", work.string(),
                                  " is not the work folder of a run: it is not empty and has no ",
                                  heal_work_file, "; nothing was done"});
        return false;
    }
    const auto json = parse_json_tree(read_text_file(path, max_bytes), path.string());
    const JsonObject from(json, path.string());
    if (const Index is = from.integer("format_version"); is != heal_work_version)
        from.fail(concat("'format_version' is ", is, ", this library reads ", heal_work_version));
    return true;
}

/// Whether a folder has still the name that it was opened by.
inline bool is_there(const Descriptor& opened, const std::filesystem::path& folder) {
    struct stat held = {}, named = {};
    return ::fstat(opened.number(), &held) == 0 && ::stat(folder.c_str(), &named) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/// Returns when nobody else is at work in a folder; at once where its file system knows no locks.
inline void lock_folder(const Descriptor& opened, const std::filesystem::path& folder) {
    for (int tries = 0; ::flock(opened.number(), LOCK_EX | LOCK_NB) != 0; ++tries) {
        if (errno != EWOULDBLOCK && errno != EINTR) return;
        if (tries == 20)  // one that was killed may need a moment to be gone
            raise<ArgumentError>(
                {"heal: another process is at work in ", folder.string(), "; nothing was done"});
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
}

[[nodiscard]] inline Descriptor open_folder(const std::filesystem::path& folder) {
    Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (opened.number() < 0) throw file_error("open", folder, errno);
    return opened;
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE bool is_within(const std::filesystem::path& path,
                                       const std::filesystem::path& folder) {
    const auto canonical = [](const std::filesystem::path& any) {  // of what is not there, too
        return std::filesystem::weakly_canonical(std::filesystem::absolute(any));
    };
    const auto inner = canonical(path), outer = canonical(folder);
    return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first ==
           outer.end();
}

// The folder itself is locked, and before its first file is written: two runs that begin in one at the same time are two
// that ask for one lock.
MPO_DETAIL_MODEL_INLINE WorkFolderLock::WorkFolderLock(const std::filesystem::path& work) {
    (void)detail::is_work_folder(work);
    detail::make_folder(work);
    descriptor_ = detail::open_folder(work);
    detail::lock_folder(descriptor_, work);
    if (!detail::is_there(descriptor_, work))
        detail::raise<ArgumentError>({"heal: the work folder ", work.string(),
                                      " was removed by the process that was at work there"});
    if (!detail::is_work_folder(work))
        write_text_file(work / heal_work_file,
                        detail::concat("{\"format_version\": ", detail::heal_work_version, "}\n"));
}

}  // namespace mpo

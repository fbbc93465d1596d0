// The bodies of model/heal_work.hpp that are no templates.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>

#include "mpo/core/error.hpp"
#include "mpo/io/atomic_file.hpp"
#include "mpo/io/inline.hpp"
#include "mpo/io/json_tree.hpp"
#include "mpo/io/text_file.hpp"
#include "mpo/model/heal_work.hpp"
#include "mpo/model/json_object.hpp"

namespace mpo {
namespace detail {

MPO_DETAIL_MODEL_INLINE void make_folder(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw file_error("create", folder, error.value());
}

}  // namespace detail

MPO_DETAIL_MODEL_INLINE void make_work_folder(const std::filesystem::path& work) {
    // 2: behind the last layer sinks and strays are left out
    // 3: choices have an error, model.written the courses of all layers
    constexpr Index version = 3, max_bytes = 1 << 16;
    const auto path = work / heal_work_file;
    if (std::filesystem::exists(path)) {
        const auto json = detail::parse_json_tree(read_text_file(path, max_bytes), path.string());
        const detail::JsonObject from(json, path.string());
        if (const Index is = from.integer("format_version"); is != version)
            from.fail(detail::concat("'format_version' is ", is, ", this library reads ", version));
        return;
    }
    if (!detail::can_begin(work, heal_work_file))
        detail::raise<ArgumentError>(
            {"heal: ", work.string(),
             " is not the work folder of a run: it is not empty and has no ", heal_work_file,
             "; nothing was done"});
    detail::make_folder(work);
    write_text_file(path, detail::concat("{\"format_version\": ", version, "}\n"));
}

MPO_DETAIL_MODEL_INLINE WorkFolderLock::WorkFolderLock(const std::filesystem::path& work)
    : descriptor_(::open((work / heal_work_file).c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_.number() < 0) throw detail::file_error("open", work / heal_work_file, errno);
    for (int tries = 0; ::flock(descriptor_.number(), LOCK_EX | LOCK_NB) != 0; ++tries) {
        if (errno != EWOULDBLOCK && errno != EINTR) return;
        if (tries < 20) {  // one that was killed may need a moment to be gone
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
            continue;
        }
        detail::raise<ArgumentError>(
            {"heal: another process is at work in ", work.string(), "; nothing was done"});
    }
}

}  // namespace mpo

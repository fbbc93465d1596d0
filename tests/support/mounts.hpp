// A child's own view of the file systems: a small disk, a folder that can only be read. Linux.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

namespace mpo::test {

/// The system does not let this process mount anything.
class NoMounts : public std::runtime_error {
  public:
    explicit NoMounts(const char* call)
        : std::runtime_error(std::string("MPO_SKIPPED: ") + call + ": " +
                             std::generic_category().message(errno)) {}
};

/// In a child only: from here on its mounts are its own, and end with it. Throws NoMounts.
inline void own_mounts() {
    const auto user = ::geteuid(), group = ::getegid();
    if (::unshare(CLONE_NEWNS | (user == 0 ? 0 : CLONE_NEWUSER)) != 0) throw NoMounts("unshare");
    if (user != 0) {
        std::ofstream("/proc/self/setgroups") << "deny";
        std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
        std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
    }
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
        throw NoMounts("mount --make-rprivate");
}

/// `folder` becomes an empty disk; options as in "size=64k,nr_inodes=20". Throws NoMounts.
inline void mount_disk(const std::filesystem::path& folder, const std::string& options) {
    if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, options.c_str()) != 0)
        throw NoMounts("mount tmpfs");
}

/// The disk at `folder` gets another size.
inline void resize_disk(const std::filesystem::path& folder, const std::string& options) {
    if (::mount("tmpfs", folder.c_str(), "tmpfs", MS_REMOUNT, options.c_str()) != 0)
        throw NoMounts("remount tmpfs");
}

/// The disk at `folder` can only be read from here on, by root as well. Throws NoMounts.
inline void make_disk_read_only(const std::filesystem::path& folder) {
    if (::mount("tmpfs", folder.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) != 0)
        throw NoMounts("remount read-only");
}

}  // namespace mpo::test

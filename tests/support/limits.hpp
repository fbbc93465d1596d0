// What runs out while an object lives. POSIX.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "catch.hpp"

namespace mpo::test {

/// A disk that is full: no file may grow beyond so many bytes.
class FileSizeLimit {
  public:
    explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
        const ::rlimit limit{bytes, before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    }
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handler_);
    }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;

  private:
    ::rlimit before_{};
    void (*handler_)(int);
};

/// Memory: so many bytes more than the process has mapped already. Linux.
class MemoryLimit {
  public:
    explicit MemoryLimit(rlim_t bytes) {
        rlim_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        REQUIRE(pages > 0);
        REQUIRE(::getrlimit(RLIMIT_AS, &before_) == 0);
        const auto page = static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
        const ::rlimit limit{pages * page + bytes, before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_AS, &limit) == 0);
    }
    ~MemoryLimit() { ::setrlimit(RLIMIT_AS, &before_); }
    MemoryLimit(const MemoryLimit&) = delete;
    MemoryLimit& operator=(const MemoryLimit&) = delete;

  private:
    ::rlimit before_{};
};

}  // namespace mpo::test

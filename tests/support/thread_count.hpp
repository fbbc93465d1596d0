// The one thread knob, set for a while.
#pragma once

#include "mpo/core/parallel.hpp"

namespace mpo::test {

/// Sets the number of threads; the number before comes back with its destructor.
class ThreadCount {
  public:
    explicit ThreadCount(int threads) : before_(num_threads()) { set_num_threads(threads); }
    ~ThreadCount() { set_num_threads(before_); }
    ThreadCount(const ThreadCount&) = delete;
    ThreadCount& operator=(const ThreadCount&) = delete;

  private:
    int before_;
};

}  // namespace mpo::test

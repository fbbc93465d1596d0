// Memory that runs out on request. A program that links failing_new.cpp allocates through it: by
// operator new in all its forms, and by malloc, calloc and realloc as called from the program's own
// objects (Eigen does).
#pragma once

namespace mpo::test {

/// What happens behind the allocation that fails: the next ones succeed, or fail as well.
enum class Shortage { once, lasting };

/// The n-th allocation (n = 1, 2, ..) of all threads together, counted from here, fails.
class FailingAllocation {
  public:
    FailingAllocation(long n, Shortage shortage);
    ~FailingAllocation() { stop(); }
    FailingAllocation(const FailingAllocation&) = delete;
    FailingAllocation& operator=(const FailingAllocation&) = delete;

    /// Memory is plenty again.
    void stop();
    /// True where so many allocations were made that one failed.
    [[nodiscard]] bool happened() const;
};

}  // namespace mpo::test

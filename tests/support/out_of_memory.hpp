// The law of memory that runs out: for every n, the call whose n-th allocation fails throws
// std::bad_alloc or succeeds without; what it should not have touched is untouched, and the next
// call succeeds with the same result.
#pragma once

#include <new>
#include <utility>

#include "catch.hpp"
#include "failing_new.hpp"

namespace mpo::test {

/// How often a call failed, and how often it did without what it was refused.
struct Shortages {
    long failed = 0;
    long survived = 0;
};

/// make() under a failing n-th allocation, for every n that it reaches, or every step-th. Its result
/// must always be equal(result); untouched() is asked after every failure.
template <class Make, class Equal, class Untouched>
Shortages for_every_allocation(Shortage shortage, Make&& make, Equal&& equal, Untouched&& untouched,
                               long step = 1) {
    Shortages counts;
    for (long n = 1;; n += step) {
        INFO("allocation " << n << (shortage == Shortage::once ? "" : " and all behind it"));
        REQUIRE(n < 100'000);
        bool out_of_memory = false;
        FailingAllocation failing(n, shortage);
        try {
            const auto result = make();
            failing.stop();
            CHECK(equal(result));
        } catch (const std::bad_alloc&) {
            failing.stop();
            out_of_memory = true;
        }
        if (!failing.happened()) {
            CHECK_FALSE(out_of_memory);
            return counts;
        }
        ++(out_of_memory ? counts.failed : counts.survived);
        CHECK(untouched());
        if (out_of_memory) CHECK(equal(make()));
    }
}

}  // namespace mpo::test

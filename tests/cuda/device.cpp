// Without a device there is nothing to test: said aloud, and status 77, which ctest reports as skipped.
#include <cstdio>
#include <cstdlib>

#include "mpo/cuda.hpp"

namespace {

const bool there_is_a_device = [] {
    if (!mpo::cuda::available()) {
        std::printf("MPO_SKIPPED: %s\n", mpo::cuda::why_unavailable().c_str());
        std::exit(77);
    }
    return true;
}();

}  // namespace

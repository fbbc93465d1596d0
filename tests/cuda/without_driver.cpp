// NVIDIA's libraries on a machine without a driver: available() is false, a backend is refused in the driver's
// words, and the process goes on. Where there is a device, this has nothing to show (status 77).
#include <cstdio>
#include <string>

#include "mpo/cuda.hpp"

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
    if (holds) return;
    std::printf("not so: %s\n", what);
    ++failures;
}

}  // namespace

int main() {
    if (mpo::cuda::available()) {
        std::puts("MPO_SKIPPED: there is a device");
        return 77;
    }
    const std::string why = mpo::cuda::why_unavailable();
    expect(why.find("cudaErrorInsufficientDriver (35)") != std::string::npos ||
               why.find("cudaErrorNoDevice (100)") != std::string::npos,
           "the reason has its name and number");
    for (int attempt = 0; attempt < 2; ++attempt) {
        std::string message;
        try {
            const mpo::CudaBackend backend;
        } catch (const mpo::BackendError& error) {
            message = error.what();
        }
        expect(message == "CudaBackend: " + why,
               "asking for the backend throws BackendError with that reason");
    }
    int driver = -1;
    expect(cudaDriverGetVersion(&driver) == cudaSuccess, "the runtime still answers");
    std::printf("%s\ndriver version %d\n", why.c_str(), driver);
    return failures == 0 ? 0 : 1;
}

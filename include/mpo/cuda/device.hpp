// One device with what a backend needs of it: a stream, memory in its order, library handles, workspaces.
#pragma once

#include <mutex>
#include <vector>

#include "mpo/cuda/handles.hpp"
#include "mpo/cuda/library.hpp"

namespace mpo::cuda {

/// How products of float are computed.
enum class Precision {
    full,  // in float
    tf32,  // with factors rounded to 10 bits of mantissa where the device is faster so; error about 1e-3
};

/// Whether cuSOLVER may pick routines whose bits change from run to run.
enum class Determinism { same_bits, fastest };

/// Which exact SVD comes first; the other one takes over where it does not converge.
enum class SvdDriver { qr, jacobi };

/// How a CudaBackend works.
struct Options {
    int device = 0;                                    // its number, as cudaGetDeviceCount counts
    Precision precision = Precision::full;             // of products of float and complex<float>
    Determinism determinism = Determinism::same_bits;  // of the factorisations
    SvdDriver svd = SvdDriver::qr;                     // gesvd or gesvdj
    Index workspace_bytes = Index{1} << 25;            // device memory that products may use
    Index staging_bytes = Index{1} << 23;  // page-locked host memory, for either direction
};

namespace detail {

/// Makes a handle by a function that fills a pointer. What a failing call wrote there is not touched:
/// cusolverDnCreate leaves a pointer that must not be destroyed.
template <class Owner, class Create>
[[nodiscard]] Owner made(const char* call, const Create& create) {
    typename Owner::pointer handle = nullptr;
    check(create(&handle), call);
    return Owner(handle);
}

/// Everything of one backend that is made once. Not to be used by two threads at a time: see Turn.
class Device {
  public:
    explicit Device(const Options& options_in)
        : options(validated(options_in)),
          stream(made<Stream>(
              "cudaStreamCreateWithFlags",
              [](cudaStream_t* s) { return cudaStreamCreateWithFlags(s, cudaStreamNonBlocking); })),
          memory(options.device, stream.get()),
          blas(made<Blas>("cublasCreate", [](cublasHandle_t* h) { return cublasCreate(h); })),
          solver(made<Solver>("cusolverDnCreate",
                              [](cusolverDnHandle_t* h) { return cusolverDnCreate(h); })),
          params(
              made<SolverParams>("cusolverDnCreateParams",
                                 [](cusolverDnParams_t* p) { return cusolverDnCreateParams(p); })),
          jacobi(made<JacobiParams>("cusolverDnCreateGesvdjInfo",
                                    [](gesvdjInfo_t* i) { return cusolverDnCreateGesvdjInfo(i); })),
          workspace_(memory, options.workspace_bytes),
          info_(memory, sizeof(int)) {
        check(cublasSetStream(blas.get(), stream.get()),
              "cublasSetStream");  // resets the workspace
        check(cublasSetWorkspace(blas.get(), workspace_.data(),
                                 static_cast<std::size_t>(options.workspace_bytes)),
              "cublasSetWorkspace", {options.workspace_bytes});
        check(cublasSetMathMode(blas.get(), CUBLAS_DEFAULT_MATH), "cublasSetMathMode");
        check(cublasSetPointerMode(blas.get(), CUBLAS_POINTER_MODE_HOST), "cublasSetPointerMode");
        check(cusolverDnSetStream(solver.get(), stream.get()), "cusolverDnSetStream");
        check(cusolverDnSetDeterministicMode(solver.get(),
                                             options.determinism == Determinism::same_bits
                                                 ? CUSOLVER_DETERMINISTIC_RESULTS
                                                 : CUSOLVER_ALLOW_NON_DETERMINISTIC_RESULTS),
              "cusolverDnSetDeterministicMode");
        for (auto& slot : slots) {
            slot.done = made<Event>("cudaEventCreateWithFlags", [](cudaEvent_t* e) {
                return cudaEventCreateWithFlags(e, cudaEventDisableTiming);
            });
            slot.memory = made<PinnedMemory>("cudaMallocHost", [&](void** p) {
                return cudaMallocHost(p, static_cast<std::size_t>(slot_bytes()));
            });
        }
    }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    /// Waits, so that nothing is under way in memory that goes.
    ~Device() { (void)cudaStreamSynchronize(stream.get()); }

    [[nodiscard]] Index slot_bytes() const { return options.staging_bytes / 2; }
    [[nodiscard]] Block block(Index bytes) const { return {memory, bytes}; }
    [[nodiscard]] Block block(Kind kind, Index n) const { return {memory, n * size_of(kind)}; }
    /// Where factorisations leave their verdict.
    [[nodiscard]] int* info() const { return static_cast<int*>(info_.data()); }
    void wait() const { check(cudaStreamSynchronize(stream.get()), "cudaStreamSynchronize"); }

    /// Room for a factorisation on the device, kept for the next one.
    [[nodiscard]] void* solver_workspace(std::size_t bytes) {
        if (bytes > solver_bytes_) {
            solver_bytes_ = 0;
            solver_workspace_ = Block();
            solver_workspace_ = block(static_cast<Index>(bytes));
            solver_bytes_ = bytes;
        }
        return solver_workspace_.data();
    }
    /// The same on the host.
    [[nodiscard]] void* host_workspace(std::size_t bytes) {
        if (bytes > host_workspace_.size()) host_workspace_.resize(bytes);
        return host_workspace_.data();
    }

    /// Half of the staging memory, and the event behind its last use.
    struct Slot {
        Event done;
        PinnedMemory memory;
    };

    const Options options;
    const Stream stream;  // outlives the memory that is given back in its order
    const DeviceMemory memory;
    const Blas blas;
    const Solver solver;
    const SolverParams params;
    const JacobiParams jacobi;
    Slot slots[2];
    std::size_t next_slot = 0;
    std::mutex in_use;

  private:
    [[nodiscard]] static const Options& validated(const Options& options) {
        constexpr Index least = 4096;
        if (options.workspace_bytes < least || options.staging_bytes < least)
            mpo::detail::raise<ArgumentError>(
                {"CudaBackend: workspace_bytes and staging_bytes must be at least ", least,
                 ", got ", options.workspace_bytes, " and ", options.staging_bytes});
        return options;
    }

    Block workspace_, info_, solver_workspace_;
    std::size_t solver_bytes_ = 0;
    std::vector<char> host_workspace_;
};

/// Deletes a device while it is the current one, as its libraries' handles want it.
inline void destroy_device(Device* device) noexcept {
    try {
        const CurrentDevice current(device->options.device);
        delete device;
    } catch (const BackendError&) {  // thrown before the deletion: the driver has gone away
        delete device;
    }
}

/// A thread's turn with a device: no other thread issues anything meanwhile, and the device is the current
/// one.
class Turn {
  public:
    explicit Turn(Device& device) : lock_(device.in_use), current_(device.options.device) {}

  private:
    std::lock_guard<std::mutex> lock_;
    CurrentDevice current_;
};

}  // namespace detail
}  // namespace mpo::cuda

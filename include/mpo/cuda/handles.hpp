// One owner per handle of CUDA's, and blocks of device memory in the order of a stream.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "mpo/cuda/status.hpp"

namespace mpo::cuda::detail {

/// Destroys a handle by CUDA's function for it; there is nobody to report a failure to.
template <auto destroy>
struct DestroyedBy {
    template <class P>
    void operator()(P* handle) const noexcept {
        (void)destroy(handle);
    }
};
template <class H, auto destroy>
using Handle = std::unique_ptr<std::remove_pointer_t<H>, DestroyedBy<destroy>>;

using Stream = Handle<cudaStream_t, cudaStreamDestroy>;
using Event = Handle<cudaEvent_t, cudaEventDestroy>;
using MemoryPool = Handle<cudaMemPool_t, cudaMemPoolDestroy>;
using PinnedMemory = Handle<void*, cudaFreeHost>;
using Blas = Handle<cublasHandle_t, cublasDestroy_v2>;
using Solver = Handle<cusolverDnHandle_t, cusolverDnDestroy>;
using SolverParams = Handle<cusolverDnParams_t, cusolverDnDestroyParams>;
using JacobiParams = Handle<gesvdjInfo_t, cusolverDnDestroyGesvdjInfo>;

/// Makes `device` the current one of this thread, and afterwards the one that was.
class CurrentDevice {
  public:
    explicit CurrentDevice(int device) : device_(device) {
        check(cudaGetDevice(&before_), "cudaGetDevice");
        if (before_ != device_) check(cudaSetDevice(device_), "cudaSetDevice", {device_});
    }
    ~CurrentDevice() {
        if (before_ != device_) (void)cudaSetDevice(before_);
    }
    CurrentDevice(const CurrentDevice&) = delete;
    CurrentDevice& operator=(const CurrentDevice&) = delete;

  private:
    int device_, before_ = 0;
};

/// Device memory in the order of one stream: from a pool of its own, or by cudaMalloc where the device
/// has no pools (its cudaFree waits for all work, so the order holds too).
class DeviceMemory {
  public:
    DeviceMemory(int device, cudaStream_t stream) : device_(device), stream_(stream) {
        int has_pools = 0;
        check(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, device),
              "cudaDeviceGetAttribute", {device});
        if (has_pools == 0) return;
        cudaMemPoolProps properties{};
        properties.allocType = cudaMemAllocationTypePinned;
        properties.location.type = cudaMemLocationTypeDevice;
        properties.location.id = device;
        cudaMemPool_t pool = nullptr;
        check(cudaMemPoolCreate(&pool, &properties), "cudaMemPoolCreate", {device});
        pool_.reset(pool);
        std::uint64_t keep =
            ~std::uint64_t{0};  // what is freed stays at hand, waits give nothing back
        check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep),
              "cudaMemPoolSetAttribute");
    }

    /// At least one byte. Throws BackendError with the number.
    [[nodiscard]] void* take(std::size_t bytes) const {
        const CurrentDevice current(device_);
        void* memory = nullptr;
        auto status = allocate(&memory, bytes);
        if (status ==
            cudaErrorMemoryAllocation) {  // what is still in use by the stream may be free soon
            (void)cudaGetLastError();
            check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
            status = allocate(&memory, bytes);
        }
        check(status, pool_ ? "cudaMallocFromPoolAsync" : "cudaMalloc",
              {static_cast<Index>(bytes)});
        return memory;
    }

    void give_back(void* memory) const noexcept {
        try {
            const CurrentDevice current(device_);
            (void)(pool_ ? cudaFreeAsync(memory, stream_) : cudaFree(memory));
        } catch (const BackendError&) {  // a device that is gone has taken its memory along
        }
    }

  private:
    [[nodiscard]] cudaError_t allocate(void** memory, std::size_t bytes) const {
        return pool_ ? cudaMallocFromPoolAsync(memory, bytes, pool_.get(), stream_)
                     : cudaMalloc(memory, bytes);
    }

    int device_;
    cudaStream_t stream_;
    MemoryPool pool_;  // null: cudaMalloc
};

/// Owns bytes of device memory; its release is ordered behind what the stream still does with them.
class Block {
  public:
    Block() = default;
    Block(const DeviceMemory& memory, Index bytes) {
        if (bytes > 0) data_ = memory.take(static_cast<std::size_t>(bytes));
        memory_ = &memory;
    }
    Block(Block&& other) noexcept { swap(other); }
    Block& operator=(Block&& other) noexcept {
        Block taken(std::move(other));
        swap(taken);
        return *this;
    }
    ~Block() {
        if (data_ != nullptr) memory_->give_back(data_);
    }
    [[nodiscard]] void* data() const { return data_; }

  private:
    void swap(Block& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(data_, other.data_);
    }

    const DeviceMemory* memory_ = nullptr;
    void* data_ = nullptr;
};

}  // namespace mpo::cuda::detail

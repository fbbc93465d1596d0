// cudart of the fake machine.
#include <algorithm>
#include <cstring>

#include "machine.hpp"

using namespace fake_cuda;

namespace {

/// As a call that was told to fail.
cudaError_t failed(Call& call) {
    call.machine.last_error =
        call.machine.fails_in_execution() ? cudaErrorLaunchFailure : cudaErrorMemoryAllocation;
    return call.machine.last_error;
}

cudaError_t refused(Call& call, cudaError_t error = cudaErrorInvalidValue) {
    return call.machine.last_error = error;
}

/// Which end of a copy lies where: its direction says so, and it must be true.
struct Ends {
    bool to_device = false, from_device = false, fit = true;
};
Ends ends_of(Machine& machine, cudaMemcpyKind kind, const void* to, const void* from) {
    Ends ends{kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice,
              kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice};
    ends.fit = machine.require(kind != cudaMemcpyDefault && kind != cudaMemcpyHostToHost,
                               "a direction must be named") &&
               machine.require(machine.is_device(to) == ends.to_device,
                               "wrong direction for the target") &&
               machine.require(machine.is_device(from) == ends.from_device,
                               "wrong direction for the source");
    return ends;
}

void count(Machine& machine, const Ends& ends, std::size_t bytes) {
    auto& s = machine.statistics;
    (ends.to_device && ends.from_device ? s.bytes_on_device
     : ends.to_device                   ? s.bytes_to_device
                                        : s.bytes_to_host) += static_cast<long long>(bytes);
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
    Call call("cudaGetDeviceCount", false);
    if (call.machine.device_error != 0)
        return refused(call, static_cast<cudaError_t>(call.machine.device_error));
    if (call.machine.device_count == 0) return refused(call, cudaErrorNoDevice);
    *count = call.machine.device_count;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
    auto& machine = Machine::instance();
    *device = machine.current_device;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    Call call("cudaSetDevice", false);
    if (device < 0 || device >= call.machine.device_count)
        return refused(call, cudaErrorInvalidDevice);
    call.machine.current_device = device;
    return cudaSuccess;
}

cudaError_t cudaGetLastError() {
    auto& machine = Machine::instance();
    if (machine.device_error == cudaErrorInsufficientDriver)
        return cudaErrorInsufficientDriver;  // as NVIDIA's
    return std::exchange(machine.last_error, cudaSuccess);
}

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaSuccess:
            return "cudaSuccess";
        case cudaErrorInvalidValue:
            return "cudaErrorInvalidValue";
        case cudaErrorMemoryAllocation:
            return "cudaErrorMemoryAllocation";
        case cudaErrorInsufficientDriver:
            return "cudaErrorInsufficientDriver";
        case cudaErrorNoDevice:
            return "cudaErrorNoDevice";
        case cudaErrorLaunchFailure:
            return "cudaErrorLaunchFailure";
        default:
            return "another cudaError_t";
    }
}

const char* cudaGetErrorString(cudaError_t) {
    return "the fake device says so";
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    Call call("cudaDeviceGetAttribute");
    if (call.told_to_fail()) return failed(call);
    if (!call.machine.require(attribute == cudaDevAttrMemoryPoolsSupported,
                              "an attribute the fake lacks"))
        return refused(call);
    *value = call.machine.has_pools ? 1 : 0;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int flags) {
    Call call("cudaStreamCreateWithFlags");
    if (call.told_to_fail()) return failed(call);
    if (!call.machine.require(flags == cudaStreamNonBlocking,
                              "the stream would wait for the legacy one"))
        return refused(call);
    auto* const state = new StreamState;
    call.machine.add_stream(state);
    *stream = call.machine.add<StreamState, cudaStream_t>(state);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    Call call("cudaStreamDestroy", false);
    auto* const state = call.machine.find<StreamState>(stream, "stream");
    if (state == nullptr) return refused(call);
    call.machine.run(*state, state->issued);
    call.machine.remove_stream(state);
    return call.machine.destroy<StreamState>(stream, "stream") ? cudaSuccess : refused(call);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    Call call("cudaStreamSynchronize");
    if (call.told_to_fail()) return failed(call);
    auto* const state = call.machine.find<StreamState>(stream, "stream");
    if (state == nullptr) return refused(call);
    call.machine.wait(*state);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int) {
    Call call("cudaEventCreateWithFlags");
    if (call.told_to_fail()) return failed(call);
    *event = call.machine.add<EventState, cudaEvent_t>(new EventState);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    Call call("cudaEventDestroy", false);
    return call.machine.destroy<EventState>(event, "event") ? cudaSuccess : refused(call);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    Call call("cudaEventRecord");
    if (call.told_to_fail()) return failed(call);
    auto* const state = call.machine.find<EventState>(event, "event");
    auto* const of = call.machine.find<StreamState>(stream, "stream");
    if (state == nullptr || of == nullptr) return refused(call);
    *state = {of, of->issued};
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    Call call("cudaEventSynchronize");
    if (call.told_to_fail()) return failed(call);
    auto* const state = call.machine.find<EventState>(event, "event");
    if (state == nullptr) return refused(call);
    ++call.machine.statistics.waits;
    if (state->stream != nullptr) call.machine.run(*state->stream, state->after);
    return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
    Call call("cudaMemPoolCreate");
    if (call.told_to_fail()) return failed(call);
    const bool fits = properties->allocType == cudaMemAllocationTypePinned &&
                      properties->location.type == cudaMemLocationTypeDevice &&
                      properties->location.id >= 0 &&
                      properties->location.id < call.machine.device_count;
    if (!call.machine.require(fits, "no such pool") ||
        !call.machine.require(call.machine.has_pools, "the device has no pools"))
        return refused(call);
    *pool = call.machine.add<EventState, cudaMemPool_t>(new EventState);
    return cudaSuccess;
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
    Call call("cudaMemPoolDestroy", false);
    return call.machine.destroy<EventState>(pool, "pool") ? cudaSuccess : refused(call);
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr, void*) {
    Call call("cudaMemPoolSetAttribute");
    if (call.told_to_fail()) return failed(call);
    return call.machine.find<EventState>(pool, "pool") == nullptr ? refused(call) : cudaSuccess;
}

cudaError_t cudaMallocFromPoolAsync(void** memory, std::size_t bytes, cudaMemPool_t pool,
                                    cudaStream_t stream) {
    Call call("cudaMallocFromPoolAsync");
    if (call.told_to_fail()) return failed(call);
    if (call.machine.find<EventState>(pool, "pool") == nullptr ||
        call.machine.find<StreamState>(stream, "stream") == nullptr)
        return refused(call);
    *memory = call.machine.allocate(bytes);
    return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
    Call call("cudaFreeAsync", false);
    auto* const state = call.machine.find<StreamState>(stream, "stream");
    if (state == nullptr) return refused(call);
    call.machine.release(memory, state);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
    Call call("cudaMalloc");
    if (call.told_to_fail()) return failed(call);
    *memory = call.machine.allocate(bytes);
    return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
    Call call("cudaFree", false);
    call.machine.release(memory, nullptr);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
    Call call("cudaMallocHost");
    if (call.told_to_fail()) return failed(call);
    *memory = call.machine.allocate_pinned(bytes);
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
    Call call("cudaFreeHost", false);
    call.machine.release_pinned(memory);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
    Call call("cudaMemcpy2DAsync");
    if (call.told_to_fail()) return failed(call);
    auto& machine = call.machine;
    auto* const state = machine.find<StreamState>(stream, "stream");
    const auto ends = ends_of(machine, kind, to, from);
    const bool fits =
        ends.fit && machine.require(width > 0 && height > 0, "copies nothing") &&
        machine.require(to_pitch >= width && from_pitch >= width, "a pitch below the width") &&
        machine.require(height == 1 || std::max(to_pitch, from_pitch) < (1U << 31),
                        "a pitch of 2 GiB");
    if (state == nullptr || !fits) return refused(call);
    const auto extent = [&](std::size_t pitch) { return (height - 1) * pitch + width; };
    char* target = static_cast<char*>(to);
    const char* source = static_cast<const char*>(from);
    if (ends.to_device) target = machine.host_of(to, extent(to_pitch), "target");
    if (ends.from_device) source = machine.host_of(from, extent(from_pitch), "source");
    if (target == nullptr || source == nullptr) return refused(call);
    if (!machine.require(!(ends.to_device && ends.from_device) ||
                             target + extent(to_pitch) <= source ||
                             source + extent(from_pitch) <= target,
                         "source and target overlap"))
        return refused(call);
    count(machine, ends, width * height);
    machine.issue(state, [=] {
        for (std::size_t row = 0; row < height; ++row)
            std::memcpy(target + row * to_pitch, source + row * from_pitch, width);
    });
    return cudaSuccess;
}

cudaError_t cudaMemset2DAsync(void* to, std::size_t pitch, int value, std::size_t width,
                              std::size_t height, cudaStream_t stream) {
    Call call("cudaMemset2DAsync");
    if (call.told_to_fail()) return failed(call);
    auto& machine = call.machine;
    auto* const state = machine.find<StreamState>(stream, "stream");
    if (!machine.require(width > 0 && height > 0 && (height == 1 || pitch >= width),
                         "no such rectangle") ||
        state == nullptr)
        return refused(call);
    char* const target = machine.host_of(to, (height - 1) * pitch + width, "target");
    if (target == nullptr) return refused(call);
    machine.issue(state, [=] {
        for (std::size_t row = 0; row < height; ++row)
            std::memset(target + row * pitch, value, width);
    });
    return cudaSuccess;
}
}

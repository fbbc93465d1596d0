// The fake machine: device memory, streams, handles, faults. See fake_cuda.hpp.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>

#include <complex>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "fake_cuda.hpp"

namespace fake_cuda {

/// One stretch of device memory; freed ones stay in the books.
struct Allocation {
    std::size_t bytes = 0;
    bool live = true;
};

/// What a stream still has to do.
struct StreamState {
    std::deque<std::function<void()>> queue;
    std::uint64_t issued = 0, done = 0;
};

struct EventState {
    StreamState* stream = nullptr;
    std::uint64_t after = 0;  // as much of the stream as this was issued before it
};

enum class Pointers { host, device };

/// A handle of cuBLAS or cuSOLVER.
struct LibraryState {
    StreamState* stream = nullptr;
    Pointers pointers = Pointers::host;
    void* workspace = nullptr;
    std::size_t workspace_bytes = 0;
};

/// Everything there is, behind one lock.
class Machine {
  public:
    static Machine& instance();

    /// Starts a call: its name for faults. True where it has been told to fail.
    [[nodiscard]] bool begin(const char* call, bool can_fail);
    [[nodiscard]] bool fails_in_execution() const { return execution_; }

    void fault(const std::string& text);
    /// True where `fits`; else a fault.
    bool require(bool fits, const std::string& text) {
        if (!fits) fault(text);
        return fits;
    }

    // -- memory
    [[nodiscard]] void* allocate(std::size_t bytes);
    /// In the order of a stream, or at once where that is null.
    void release(void* memory, StreamState* stream);
    [[nodiscard]] bool is_device(const void* p) const {
        const auto* const at = static_cast<const char*>(p);
        return at >= device_ && at < device_ + space;
    }
    /// Where the host finds bytes of the device; null after a fault.
    [[nodiscard]] char* host_of(const void* p, std::size_t bytes, const char* what);
    [[nodiscard]] void* allocate_pinned(std::size_t bytes);
    void release_pinned(void* memory);

    // -- streams
    template <class F>
    void issue(StreamState* stream, F&& work) {
        ++statistics.launches;
        stream->queue.emplace_back(std::forward<F>(work));
        ++stream->issued;
    }
    void run(StreamState& stream, std::uint64_t until);
    void wait(StreamState& stream) {
        ++statistics.waits;
        run(stream, stream.issued);
    }
    void wait_for_all();
    void add_stream(StreamState* stream) { streams_.insert(stream); }
    void remove_stream(StreamState* stream) { streams_.erase(stream); }

    // -- handles
    template <class State, class H>
    [[nodiscard]] H add(State* state) {
        handles_.insert(state);
        ++statistics.live_handles;
        return reinterpret_cast<H>(state);
    }
    template <class State, class H>
    [[nodiscard]] State* find(H handle, const char* what) {
        auto* const state = reinterpret_cast<State*>(handle);
        return require(handles_.count(state) != 0,
                       std::string(what) + " is no handle that is alive")
                   ? state
                   : nullptr;
    }
    /// False, after a fault, where there is no such handle.
    template <class State, class H>
    [[nodiscard]] bool destroy(H handle, const char* what) {
        auto* const state = find<State>(handle, what);
        if (state == nullptr) return false;
        handles_.erase(state);
        --statistics.live_handles;
        delete state;
        return true;
    }
    /// Work of a library's handle goes to `stream` from now on; null after a fault.
    template <class H>
    [[nodiscard]] LibraryState* set_stream(H handle, cudaStream_t stream) {
        auto* const state = find<LibraryState>(handle, "handle");
        auto* const of = find<StreamState>(stream, "stream");
        if (state == nullptr || of == nullptr) return nullptr;
        state->stream = of;
        return state;
    }

    [[nodiscard]] std::string take_faults();
    [[nodiscard]] bool converges(const std::string& routine);

    std::recursive_mutex lock;
    Statistics statistics;
    int device_error = 0, device_count = 1, current_device = 0;
    bool has_pools = true;
    cudaError_t last_error = cudaSuccess;
    long long fail_in = 0;
    bool execution_ = false;
    std::map<std::string, int> no_convergence;

  private:
    Machine();
    static void report();

    static constexpr std::size_t space = std::size_t{1} << 38;
    char *device_ = nullptr, *shadow_ = nullptr;
    std::size_t next_ = 0;
    std::map<std::size_t, Allocation> allocations_;  // by offset
    std::set<void*> pinned_;
    std::set<StreamState*> streams_;
    std::set<void*> handles_;
    std::string faults_;
    const char* call_ = "";
};

/// One call: takes the lock, names it.
class Call {
  public:
    explicit Call(const char* name, bool can_fail = true)
        : machine(Machine::instance()),
          lock_(machine.lock),
          told_to_fail_(machine.begin(name, can_fail)) {}
    [[nodiscard]] bool told_to_fail() const { return told_to_fail_; }
    Machine& machine;

  private:
    std::lock_guard<std::recursive_mutex> lock_;
    bool told_to_fail_;
};

/// Uniform bits from a number: the noise of results, the same for the same call.
[[nodiscard]] inline std::uint64_t mixed(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

}  // namespace fake_cuda

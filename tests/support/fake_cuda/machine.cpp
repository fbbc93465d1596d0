#include "machine.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fake_cuda {

namespace {

[[nodiscard]] char* reserve(std::size_t bytes, int protection) {
    void* const memory =
        mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        std::perror("fake_cuda: mmap");
        std::abort();
    }
    return static_cast<char*>(memory);
}

}  // namespace

Machine& Machine::instance() {
    static auto* const machine = new Machine;  // outlives every static object of the program
    return *machine;
}

Machine::Machine()
    : device_(reserve(space, PROT_NONE)), shadow_(reserve(space, PROT_READ | PROT_WRITE)) {
    if (const char* const devices = std::getenv("FAKE_CUDA_DEVICES"))
        device_count = std::atoi(devices);
    if (const char* const error = std::getenv("FAKE_CUDA_ERROR")) device_error = std::atoi(error);
    std::atexit(&Machine::report);
}

/// The last word: faults that nobody took, and what was not given back.
void Machine::report() {
    auto& machine = instance();
    const auto& s = machine.statistics;
    if (s.live_blocks != 0 || s.live_handles != 0)
        machine.faults_ += "at the end " + std::to_string(s.live_blocks) +
                           " blocks of device memory, " + std::to_string(s.live_bytes) +
                           " bytes, and " + std::to_string(s.live_handles) +
                           " handles were not given back\n";
    if (machine.faults_.empty()) return;
    std::fprintf(stderr, "fake_cuda: faults:\n%s", machine.faults_.c_str());
    std::fflush(nullptr);
    _exit(99);
}

bool Machine::begin(const char* call, bool can_fail) {
    call_ = call;
    if (!can_fail) return false;
    ++statistics.calls;
    return fail_in > 0 && --fail_in == 0;
}

void Machine::fault(const std::string& text) {
    faults_ += std::string(call_) + ": " + text + "\n";
    std::fprintf(stderr, "fake_cuda: %s: %s\n", call_, text.c_str());
}

std::string Machine::take_faults() {
    return std::exchange(faults_, {});
}

void* Machine::allocate(std::size_t bytes) {
    constexpr std::size_t alignment = 256;
    const std::size_t room = (bytes + 2 * alignment - 1) / alignment * alignment;  // and a gap
    if (next_ + room > space) {
        fault("the fake device has handed out all of its addresses");
        return nullptr;
    }
    const std::size_t at = next_;
    next_ += room;
    allocations_[at] = {bytes, true};
    std::memset(shadow_ + at, 0xff, bytes);  // NaN
    ++statistics.live_blocks;
    statistics.live_bytes += static_cast<long long>(bytes);
    statistics.peak_bytes = std::max(statistics.peak_bytes, statistics.live_bytes);
    return device_ + at;
}

void Machine::release(void* memory, StreamState* stream) {
    if (!require(is_device(memory), "frees what is no device memory")) return;
    const auto at = static_cast<std::size_t>(static_cast<char*>(memory) - device_);
    const auto found = allocations_.find(at);
    if (!require(found != allocations_.end(), "frees what does not begin a block") ||
        !require(found->second.live, "frees a block for the second time"))
        return;
    found->second.live = false;
    --statistics.live_blocks;
    const std::size_t bytes = found->second.bytes;
    statistics.live_bytes -= static_cast<long long>(bytes);
    const auto drop = [this, at, bytes] {
        std::memset(shadow_ + at, 0xff, std::min<std::size_t>(bytes, 4096));
        constexpr std::size_t page = 4096;
        const std::size_t first = (at + page - 1) / page * page, last = (at + bytes) / page * page;
        if (last > first) (void)madvise(shadow_ + first, last - first, MADV_DONTNEED);
    };
    if (stream != nullptr) {
        stream->queue.emplace_back(drop);
        ++stream->issued;
    } else {
        wait_for_all();
        drop();
    }
}

char* Machine::host_of(const void* p, std::size_t bytes, const char* what) {
    const std::string name(what);
    if (!require(p != nullptr, name + " is null") ||
        !require(is_device(p), name + " is host memory"))
        return nullptr;
    const auto at = static_cast<std::size_t>(static_cast<const char*>(p) - device_);
    auto after = allocations_.upper_bound(at);
    if (!require(after != allocations_.begin(), name + " lies before all blocks")) return nullptr;
    --after;
    const std::size_t into = at - after->first, size = after->second.bytes;
    if (!require(into + bytes <= size, name + ": " + std::to_string(bytes) + " bytes from byte " +
                                           std::to_string(into) + " of a block of " +
                                           std::to_string(size)) ||
        !require(after->second.live, name + " was freed"))
        return nullptr;
    return shadow_ + at;
}

void* Machine::allocate_pinned(std::size_t bytes) {
    void* const memory = std::malloc(bytes);
    pinned_.insert(memory);
    ++statistics.live_handles;
    return memory;
}

void Machine::release_pinned(void* memory) {
    if (!require(pinned_.erase(memory) == 1, "frees what is no page-locked memory")) return;
    wait_for_all();
    --statistics.live_handles;
    std::free(memory);
}

void Machine::run(StreamState& stream, std::uint64_t until) {
    while (stream.done < until) {
        const auto work = std::move(stream.queue.front());
        stream.queue.pop_front();
        ++stream.done;
        work();
    }
}

void Machine::wait_for_all() {
    for (auto* const stream : streams_) run(*stream, stream->issued);
}

bool Machine::converges(const std::string& routine) {
    int& left = no_convergence[routine];
    if (left == 0) return true;
    --left;
    return false;
}

}  // namespace fake_cuda

using fake_cuda::Machine;

extern "C" {

void fake_cuda_statistics(fake_cuda::Statistics* statistics) {
    auto& machine = Machine::instance();
    const std::lock_guard guard(machine.lock);
    *statistics = machine.statistics;
}

void fake_cuda_fail_call(long long n, int execution) {
    auto& machine = Machine::instance();
    const std::lock_guard guard(machine.lock);
    machine.fail_in = n;
    machine.execution_ = execution != 0;
}

void fake_cuda_set_devices(int error, int count) {
    auto& machine = Machine::instance();
    const std::lock_guard guard(machine.lock);
    machine.device_error = error;
    machine.device_count = count;
}

void fake_cuda_set_pools(int has) {
    auto& machine = Machine::instance();
    const std::lock_guard guard(machine.lock);
    machine.has_pools = has != 0;
}

void fake_cuda_no_convergence(const char* routine, int times) {
    auto& machine = Machine::instance();
    const std::lock_guard guard(machine.lock);
    machine.no_convergence[routine] = times;
}

const char* fake_cuda_take_faults() {
    static std::string faults;
    auto& machine = Machine::instance();
    const std::lock_guard guard(machine.lock);
    faults = machine.take_faults();
    return faults.c_str();
}
}

#include "support/counting_new.hpp"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

namespace mpo::bench {
namespace {

std::atomic<std::size_t> live{0};
std::atomic<std::size_t> peak{0};

/// Room in front of a block for its size, a multiple of the alignment.
[[nodiscard]] std::size_t header(std::size_t alignment) {
    return alignment < 16 ? 16 : alignment;
}

[[nodiscard]] void* allocate(std::size_t size, std::size_t alignment) {
    const std::size_t before = header(alignment);
    const std::size_t whole = (before + size + before - 1) / before * before;
    auto* base = static_cast<char*>(std::aligned_alloc(before, whole));
    if (base == nullptr) throw std::bad_alloc();
    std::memcpy(base + before - sizeof size, &size, sizeof size);
    const std::size_t now = live.fetch_add(size) + size;
    for (std::size_t seen = peak.load(); now > seen && !peak.compare_exchange_weak(seen, now);) {
    }
    return base + before;
}

void release(void* block, std::size_t alignment) noexcept {
    if (block == nullptr) return;
    std::size_t size = 0;
    std::memcpy(&size, static_cast<char*>(block) - sizeof size, sizeof size);
    live.fetch_sub(size);
    std::free(static_cast<char*>(block) - header(alignment));
}

}  // namespace

std::size_t live_bytes() {
    return live.load();
}
std::size_t peak_bytes() {
    return peak.load();
}
void reset_peak() {
    peak.store(live.load());
}

}  // namespace mpo::bench

// The other forms of the standard (arrays, sized, nothrow) end in these by default.
void* operator new(std::size_t size) {
    return mpo::bench::allocate(size, 16);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return mpo::bench::allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept {
    mpo::bench::release(block, 16);
}
void operator delete(void* block, std::size_t) noexcept {
    mpo::bench::release(block, 16);
}
void operator delete(void* block, std::align_val_t alignment) noexcept {
    mpo::bench::release(block, static_cast<std::size_t>(alignment));
}
void operator delete(void* block, std::size_t, std::align_val_t alignment) noexcept {
    mpo::bench::release(block, static_cast<std::size_t>(alignment));
}

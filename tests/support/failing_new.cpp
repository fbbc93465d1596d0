#include "support/failing_new.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>

namespace mpo::test {
namespace {

constexpr long never = std::numeric_limits<long>::max();

std::atomic<long> left{never};  // allocations until one fails
std::atomic<bool> lasting{false};
std::atomic<bool> failed{false};

/// Counts an allocation; true where it is to fail.
[[nodiscard]] bool fails() {
    if (left.load() == never) return false;
    const long before = left.fetch_sub(1);
    if (before > 1 || (before < 1 && !lasting.load())) return false;
    failed.store(true);
    return true;
}

}  // namespace

FailingAllocation::FailingAllocation(long n, Shortage shortage) {
    lasting.store(shortage == Shortage::lasting);
    failed.store(false);
    left.store(n);
}
void FailingAllocation::stop() {
    left.store(never);
}
bool FailingAllocation::happened() const {
    return failed.load();
}

}  // namespace mpo::test

// -- the C functions: the linker's option --wrap leads the program's calls here -----------------

extern "C" {

void* __real_malloc(std::size_t size);
void* __real_calloc(std::size_t count, std::size_t size);
void* __real_realloc(void* block, std::size_t size);

void* __wrap_malloc(std::size_t size) {
    if (!mpo::test::fails()) return __real_malloc(size);
    errno = ENOMEM;
    return nullptr;
}
void* __wrap_calloc(std::size_t count, std::size_t size) {
    if (!mpo::test::fails()) return __real_calloc(count, size);
    errno = ENOMEM;
    return nullptr;
}
void* __wrap_realloc(void* block, std::size_t size) {
    if (!mpo::test::fails()) return __real_realloc(block, size);
    errno = ENOMEM;
    return nullptr;
}

}  // extern "C"

// -- operator new -------------------------------------------------------------------------------

namespace {

[[nodiscard]] void* allocate(std::size_t size, std::size_t alignment) noexcept {
    if (mpo::test::fails()) return nullptr;
    if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return __real_malloc(size == 0 ? 1 : size);
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
[[nodiscard]] void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    if (void* block = allocate(size, alignment)) return block;
    throw std::bad_alloc();
}
[[nodiscard]] std::size_t number(std::align_val_t alignment) noexcept {
    return static_cast<std::size_t>(alignment);
}

}  // namespace

void* operator new(std::size_t size) {
    return allocate_or_throw(size, 1);
}
void* operator new[](std::size_t size) {
    return allocate_or_throw(size, 1);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate_or_throw(size, number(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return allocate_or_throw(size, number(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return allocate(size, 1);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return allocate(size, 1);
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return allocate(size, number(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return allocate(size, number(alignment));
}

void operator delete(void* block) noexcept {
    std::free(block);
}
void operator delete[](void* block) noexcept {
    std::free(block);
}
void operator delete(void* block, std::size_t) noexcept {
    std::free(block);
}
void operator delete[](void* block, std::size_t) noexcept {
    std::free(block);
}
void operator delete(void* block, std::align_val_t) noexcept {
    std::free(block);
}
void operator delete[](void* block, std::align_val_t) noexcept {
    std::free(block);
}
void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
    std::free(block);
}
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept {
    std::free(block);
}
void operator delete(void* block, const std::nothrow_t&) noexcept {
    std::free(block);
}
void operator delete[](void* block, const std::nothrow_t&) noexcept {
    std::free(block);
}
void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept {
    std::free(block);
}
void operator delete[](void* block, std::align_val_t, const std::nothrow_t&) noexcept {
    std::free(block);
}

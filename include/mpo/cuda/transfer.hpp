// Between host and device, through page-locked memory in two halves: the bus moves one while the host
// packs or unpacks the other, and strides are resolved on the way. An upload has read its source when it
// returns, so that the source may go; only a download waits.
#pragma once

#include <cstring>
#include <vector>

#include "mpo/cuda/device.hpp"
#include "mpo/linalg/eigen_backend.hpp"

namespace mpo::cuda::detail {

/// Calls body(part, first) for parts of at most `most` elements, which are [first, first + part.size())
/// of the view in C order.
template <class T, class F>
void for_each_part(const TensorView<T>& view, Index most, Index first, const F& body) {
    const Index size = view.size();
    if (size == 0) return;
    if (size <= most) return body(view, first);
    std::size_t axis = 0;
    while (view.shape[axis] == 1) ++axis;
    const Index inner = size / view.shape[axis];
    const Index step = std::max<Index>(1, most / inner);
    for (Index i = 0; i < view.shape[axis]; i += step) {
        auto part = view;
        part.data += i * view.strides[axis];
        part.shape[axis] = (std::min)(step, view.shape[axis] - i);
        for_each_part(part, most, first + i * inner,
                      body);  // one index, where even that is too long
    }
}

/// The half whose turn it is, once the bus has let go of it.
[[nodiscard]] inline Device::Slot& free_slot(Device& device) {
    auto& slot = device.slots[device.next_slot++ % 2];
    check(cudaEventSynchronize(slot.done.get()), "cudaEventSynchronize");
    return slot;
}

template <Scalar T>
void upload(Device& device, const TensorView<const T>& from, T* to) {
    constexpr auto size = static_cast<Index>(sizeof(T));
    for_each_part(from, device.slot_bytes() / size, 0, [&](const auto& part, Index first) {
        auto& slot = free_slot(device);
        auto* const staged = static_cast<T*>(slot.memory.get());
        mpo::detail::EigenOperations<T>::copy(part, staged, row_major_strides(part.shape));
        const Index bytes = part.size() * size;
        check(cudaMemcpyAsync(to + first, staged, static_cast<std::size_t>(bytes),
                              cudaMemcpyHostToDevice, device.stream.get()),
              "cudaMemcpyAsync to the device", {bytes});
        check(cudaEventRecord(slot.done.get(), device.stream.get()), "cudaEventRecord");
    });
}

/// The same for bytes that lie side by side.
inline void upload_bytes(Device& device, const void* from, void* to, Index bytes) {
    for (Index first = 0; first < bytes; first += device.slot_bytes()) {
        auto& slot = free_slot(device);
        const auto count = static_cast<std::size_t>((std::min)(device.slot_bytes(), bytes - first));
        std::memcpy(slot.memory.get(), static_cast<const char*>(from) + first, count);
        check(cudaMemcpyAsync(static_cast<char*>(to) + first, slot.memory.get(), count,
                              cudaMemcpyHostToDevice, device.stream.get()),
              "cudaMemcpyAsync to the device", {static_cast<Index>(count)});
        check(cudaEventRecord(slot.done.get(), device.stream.get()), "cudaEventRecord");
    }
}

template <Scalar T>
void download(Device& device, const T* from, const TensorView<T>& to) {
    constexpr auto size = static_cast<Index>(sizeof(T));
    struct Part {
        TensorView<T> view;
        Device::Slot* slot;
    };
    std::vector<Part> under_way;  // one at most, while the next one is issued
    const auto finish = [&] {
        const Part part = std::move(under_way.back());
        under_way.pop_back();
        check(cudaEventSynchronize(part.slot->done.get()), "cudaEventSynchronize");
        const auto* const staged = static_cast<const T*>(part.slot->memory.get());
        mpo::detail::EigenOperations<T>::copy({staged, part.view.shape}, part.view.data,
                                              part.view.strides);
    };
    for_each_part(to, device.slot_bytes() / size, 0, [&](const auto& part, Index first) {
        auto& slot = free_slot(device);
        const Index bytes = part.size() * size;
        check(cudaMemcpyAsync(slot.memory.get(), from + first, static_cast<std::size_t>(bytes),
                              cudaMemcpyDeviceToHost, device.stream.get()),
              "cudaMemcpyAsync to the host", {bytes});
        check(cudaEventRecord(slot.done.get(), device.stream.get()), "cudaEventRecord");
        if (!under_way.empty()) finish();
        under_way.push_back({part, &slot});
    });
    if (!under_way.empty()) finish();
}

/// `n` numbers from the device.
template <class T>
[[nodiscard]] std::vector<T> fetched(Device& device, const T* from, Index n) {
    static_assert(sizeof(T) <= 8);
    std::vector<T> values(static_cast<std::size_t>(n));
    const Index most = device.slot_bytes() / static_cast<Index>(sizeof(T));
    for (Index first = 0; first < n; first += most) {
        auto& slot = free_slot(device);
        const auto count = static_cast<std::size_t>((std::min)(most, n - first));
        check(cudaMemcpyAsync(slot.memory.get(), from + first, count * sizeof(T),
                              cudaMemcpyDeviceToHost, device.stream.get()),
              "cudaMemcpyAsync to the host", {static_cast<Index>(count * sizeof(T))});
        device.wait();
        std::copy_n(static_cast<const T*>(slot.memory.get()), count, values.data() + first);
    }
    return values;
}

}  // namespace mpo::cuda::detail

// Whether two arrays hold the same bits: NaN equals itself, and 0 is not -0.
#pragma once

#include <cstring>

#include "mpo/core/tensor.hpp"

namespace mpo::test {

template <class T>
[[nodiscard]] bool same_bits(const T* a, const T* b, Index n) {
    return std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(T)) == 0;
}
template <class T>
[[nodiscard]] bool same_bits(const Tensor<T>& a, const Tensor<T>& b) {
    return a.shape() == b.shape() && same_bits(a.data(), b.data(), a.size());
}

}  // namespace mpo::test

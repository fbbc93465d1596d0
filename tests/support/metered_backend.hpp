// A backend that counts what it hands out.
#pragma once

#include <atomic>
#include <memory>

#include "mpo/linalg/eigen_backend.hpp"

namespace mpo::test {

/// EigenBackend that adds up the bytes it hands out.
class MeteredBackend : public EigenBackend {
  public:
    template <Scalar T>
    [[nodiscard]] Buffer<T> allocate(Index n) const {
        *bytes_ += n * static_cast<Index>(sizeof(T));
        return EigenBackend::allocate<T>(n);
    }
    [[nodiscard]] Index bytes() const { return *bytes_; }

  private:
    std::unique_ptr<std::atomic<Index>> bytes_ = std::make_unique<std::atomic<Index>>(0);
};

}  // namespace mpo::test

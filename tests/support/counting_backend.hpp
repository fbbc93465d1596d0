// EigenBackend that counts what it is asked to do.
#pragma once

#include <memory>

#include "mpo/linalg/eigen_backend.hpp"

namespace mpo::test {

class CountingBackend : public EigenBackend {
  public:
    struct Calls {
        int permutes = 0, gemms = 0, batched = 0;
    };
    [[nodiscard]] const Calls& calls() const { return *calls_; }
    void reset() const { *calls_ = {}; }

    template <Scalar T>
    void permute(std::type_identity_t<TensorView<const T>> from, T* to) const {
        ++calls_->permutes;
        EigenBackend::permute<T>(from, to);
    }
    template <Scalar T>
    void gemm(T alpha, std::type_identity_t<MatrixView<const T>> A,
              std::type_identity_t<MatrixView<const T>> B, T beta, MatrixView<T> C) const {
        ++calls_->gemms;
        EigenBackend::gemm<T>(alpha, A, B, beta, C);
    }
    template <Scalar T>
    void gemm_batched(T alpha, std::type_identity_t<BatchView<const T>> A,
                      std::type_identity_t<BatchView<const T>> B, T beta, BatchView<T> C,
                      Index count) const {
        ++calls_->batched;
        EigenBackend::gemm_batched<T>(alpha, A, B, beta, C, count);
    }

  private:
    std::shared_ptr<Calls> calls_ = std::make_shared<Calls>();
};

static_assert(Backend<CountingBackend>);

}  // namespace mpo::test

// The peer: oneDNN's inner product in float, where the build found it. Only this header's source includes theirs.
#pragma once

#include <memory>
#include <string>

#include "mpo/core/tensor.hpp"

namespace mpo::bench::onednn {

/// Empty where it is built in; else why not.
[[nodiscard]] const std::string& refusal();

/// Whether bfloat16 tiles (AMX) are there, with which the bf16 product is worth a row.
[[nodiscard]] bool has_bf16_tiles();

/// Of OpenMP, which it runs on.
void set_threads(int threads);

/// Y (B, out) = X (B, in) W^T for one B: W lies as it likes best, and where `bf16` so do X and Y, in bfloat16.
class InnerProduct {
  public:
    /// W (out, in), row-major. Throws BackendError where it is not built in.
    InnerProduct(const float* W, Index out, Index in, Index batch, bool bf16);
    InnerProduct(const InnerProduct&) = delete;
    InnerProduct& operator=(const InnerProduct&) = delete;
    ~InnerProduct();

    /// X (B, in), Y (B, out), row-major; with bf16 the conversions are not part of it.
    void apply(const float* X, float* Y);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace mpo::bench::onednn

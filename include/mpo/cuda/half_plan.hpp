// HalfPlan: an MPO of float applied on a device with everything kept in 16 bits, cores, activations and what lies
// between, while every product sums in float and the result is float. cuBLAS multiplies no float by a half, so
// this is a plan of its own and not another operand of CudaBackend: a sweep as network/sweep.hpp describes it.
#pragma once

#include <vector>

#include "mpo/core/dtype.hpp"
#include "mpo/cuda.hpp"
#include "mpo/network/contract.hpp"

namespace mpo::cuda {

/// An MPO with its cores on the device in 16 bits. Movable; apply is const and safe from many threads. Keeps the
/// device alive.
class HalfPlan {
  public:
    /// Rounds the cores and moves them.
    ///
    /// mpo        of float; may go afterwards
    /// stored_as  DType::f16 or DType::bf16
    /// options    direction (automatic: fewer multiply-adds) and max_workspace_bytes; the rest does not matter
    /// throws     ArgumentError (another type; a workspace that not one token fits), NumericalError (a core
    ///            holds a number beyond f16), BackendError
    HalfPlan(const Mpo<float>& mpo, DType stored_as, const PlanOptions& options,
             const CudaBackend& backend)
        : backend_(backend),
          type_(data_type(stored_as)),
          stored_as_(stored_as),
          rows_(mpo.rows()),
          cols_(mpo.cols()) {
        const Layout layout = mpo.layout();
        const Shape bonds = mpo.bond_dims();
        auto direction = options.direction;
        if (direction == SweepDirection::automatic)
            direction = multiply_adds_right_to_left(layout, bonds) <=
                                multiply_adds_left_to_right(layout, bonds)
                            ? SweepDirection::right_to_left
                            : SweepDirection::left_to_right;
        steps_ = sweep_steps(layout, bonds, direction);
        Index largest = 0;
        for (const auto& step : steps_) largest = (std::max)(largest, step.output_elements());
        token_bytes_ =
            2 * largest * half_bytes;  // in and out of a step that is neither first nor last
        chunk_ = options.max_workspace_bytes / token_bytes_;
        if (chunk_ < 1)
            mpo::detail::raise<ArgumentError>(
                {"HalfPlan: max_workspace_bytes = ", options.max_workspace_bytes,
                 " is too small, one token needs ", token_bytes_});
        for (Index n = 0; n < mpo.num_sites(); ++n) {
            const bool leftwards = direction == SweepDirection::right_to_left;
            const auto& core = mpo.core(leftwards ? mpo.num_sites() - 1 - n : n);  // (D, o, i, D')
            const TensorView<const float> view = core;
            Tensor<float> M({core.size()});  // (D o, i D') or (o D', D i)
            mpo::detail::EigenOperations<float>::copy(
                leftwards ? view : permuted(view, {1, 3, 0, 2}), M.data(),
                row_major_strides(leftwards ? core.shape() : permuted(view, {1, 3, 0, 2}).shape));
            cores_.push_back(sent(M.data(), M.size(), "a core"));
        }
    }

    /// Y (B, out) = X (B, in) W^T.
    ///
    /// X, Y     on the host; X is rounded to 16 bits there and crosses the bus so
    /// error    a few rounding units of the 16 bits for each site, times norm(X) norm(W) at most
    /// throws   ShapeError (extents), NumericalError (X holds a number beyond f16), BackendError
    void apply(const Tensor<float>& X, Tensor<float>& Y) const {
        if (X.rank() != 2 || Y.rank() != 2 || X.extent(1) != cols_ || Y.extent(1) != rows_ ||
            X.extent(0) != Y.extent(0))
            mpo::detail::raise<ShapeError>({"HalfPlan::apply: need X (B, ", cols_, ") and Y (B, ",
                                            rows_, "), got X ", to_string(X.shape()), " and Y ",
                                            to_string(Y.shape())});
        const auto x = sent(X.data(), X.size(), "X");
        const auto y = backend_.allocate<float>(Y.size());
        apply_resident(x.data(), y.data(), X.extent(0));
        backend_.download(static_cast<const float*>(y.data()), Y.view());
    }

    /// The same on the device: X (batch, in) in 16 bits, Y (batch, out) in float, both row-major.
    void apply_resident(const void* X, float* Y, Index batch) const {
        if (batch == 0) return;
        const Index most = (std::min)(chunk_, batch);
        const auto room = backend_.allocate<float>((most * token_bytes_ + 3) / 4);
        char* const halves[] = {bytes_of(room.data()),
                                bytes_of(room.data()) + most * token_bytes_ / 2};
        const detail::Turn turn(*backend_.device_);
        for (Index first = 0; first < batch; first += most) {
            const Index tokens = (std::min)(most, batch - first);
            const void* from = static_cast<const char*>(X) + first * cols_ * half_bytes;
            for (std::size_t n = 0; n < steps_.size(); ++n) {
                const bool last = n + 1 == steps_.size();
                void* const to = last ? static_cast<void*>(Y + first * rows_) : halves[n % 2];
                run_step(steps_[n], cores_[n].data(), from, to, tokens * steps_[n].repeats, last);
                from = to;
            }
        }
    }

    /// The steps in the order in which they run, one launch each for up to 65535 products.
    [[nodiscard]] const std::vector<SweepStep>& steps() const { return steps_; }

  private:
    static constexpr Index half_bytes = 2;

    [[nodiscard]] static cudaDataType data_type(DType stored_as) {
        if (stored_as == DType::f16) return CUDA_R_16F;
        if (stored_as == DType::bf16) return CUDA_R_16BF;
        mpo::detail::raise<ArgumentError>(
            {"HalfPlan: stored_as must be F16 or BF16, got ", to_string(stored_as)});
    }
    [[nodiscard]] static char* bytes_of(float* data) { return reinterpret_cast<char*>(data); }

    /// Numbers rounded to 16 bits, on the device.
    [[nodiscard]] CudaBackend::Buffer<float> sent(const float* numbers, Index n,
                                                  const char* what) const {
        std::vector<std::byte> rounded(static_cast<std::size_t>(n * half_bytes));
        if (const Index lost = encode(numbers, stored_as_, rounded.data(), n); lost > 0)
            mpo::detail::raise<NumericalError>({"HalfPlan: ", lost, " of ", n, " numbers of ", what,
                                                " are beyond ", to_string(stored_as_)});
        auto buffer = backend_.allocate<float>((n + 1) / 2);
        const detail::Turn turn(*backend_.device_);
        detail::upload_bytes(*backend_.device_, rounded.data(), buffer.data(), n * half_bytes);
        return buffer;
    }

    /// C_i (rows, cols) = M (rows, inner) B_i (inner, cols), row-major: computed as the transposes, and as
    /// one product where the columns are one.
    void run_step(const SweepStep& step, const void* M, const void* from, void* to, Index count,
                  bool last) const {
        const auto& device = *backend_.device_;
        const float one = 1, zero = 0;
        const auto result = last ? CUDA_R_32F : type_;
        const Index result_bytes = last ? Index{sizeof(float)} : half_bytes;
        if (step.cols == 1) {
            detail::check(cublasGemmEx_64(device.blas.get(), CUBLAS_OP_T, CUBLAS_OP_N, step.rows,
                                          count, step.inner, &one, M, type_, step.inner, from,
                                          type_, step.inner, &zero, to, result, step.rows,
                                          CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                          "cublasGemmEx", {step.rows, count, step.inner});
            return;
        }
        const Index in = step.inner * step.cols, out = step.rows * step.cols;
        for (Index first = 0; first < count; first += detail::most_items)
            detail::check(
                cublasGemmStridedBatchedEx_64(
                    device.blas.get(), CUBLAS_OP_N, CUBLAS_OP_N, step.cols, step.rows, step.inner,
                    &one, static_cast<const char*>(from) + first * in * half_bytes, type_,
                    step.cols, in, M, type_, step.inner, 0, &zero,
                    static_cast<char*>(to) + first * out * result_bytes, result, step.cols, out,
                    (std::min)(detail::most_items, count - first), CUBLAS_COMPUTE_32F,
                    CUBLAS_GEMM_DEFAULT),
                "cublasGemmStridedBatchedEx", {step.cols, step.rows, step.inner, count});
    }

    CudaBackend backend_;
    cudaDataType type_;
    DType stored_as_;
    Index rows_, cols_;
    std::vector<SweepStep> steps_;
    std::vector<CudaBackend::Buffer<float>> cores_;  // 16-bit numbers, as many as fit
    Index token_bytes_ = 0, chunk_ = 1;
};

}  // namespace mpo::cuda

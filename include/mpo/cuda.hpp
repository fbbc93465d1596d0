// CudaBackend: the Backend of an NVIDIA device, through the C interfaces of cudart, cuBLAS and cuSOLVER.
// Host code only: no nvcc, no kernels of its own. What that costs, and what was tried where:
// docs/backends.md. Never in an umbrella; CMake: mpo::cuda.
#pragma once

#include <memory>

#include "mpo/cuda/factorisation.hpp"
#include "mpo/cuda/permute.hpp"
#include "mpo/cuda/product.hpp"
#include "mpo/cuda/status.hpp"
#include "mpo/cuda/transfer.hpp"
#include "mpo/linalg/backend.hpp"

namespace mpo {
namespace cuda {

class HalfPlan;

}  // namespace cuda

/// Operations on the memory of one device, in the order of one stream. A copy shares stream and memory.
/// Safe from many threads, which take turns. Buffers may outlive it.
class CudaBackend {
  public:
    /// Device memory, aligned to 256 bytes, uninitialised; released in the order of the stream.
    template <class T>
    class Buffer {
      public:
        /// Holds nothing.
        Buffer() = default;
        /// Takes the block over.
        Buffer(Buffer&& other) noexcept { swap(other); }
        /// The same; what was held is released.
        Buffer& operator=(Buffer&& other) noexcept {
            Buffer taken(std::move(other));
            swap(taken);
            return *this;
        }
        /// Releases the block behind what the stream still does with it.
        ~Buffer() = default;
        /// The first element, on the device; null where there is none.
        [[nodiscard]] T* data() const { return static_cast<T*>(block_.data()); }
        /// Number of elements.
        [[nodiscard]] Index size() const { return size_; }

      private:
        friend class CudaBackend;
        Buffer(std::shared_ptr<cuda::detail::Device> device, Index n)
            : device_(std::move(device)),
              block_(device_->block(n * static_cast<Index>(sizeof(T)))),
              size_(n) {}
        void swap(Buffer& other) noexcept {
            std::swap(device_, other.device_);
            std::swap(block_, other.block_);
            std::swap(size_, other.size_);
        }

        std::shared_ptr<cuda::detail::Device> device_;  // goes after the block, which it owns
        cuda::detail::Block block_;
        Index size_ = 0;
    };

    /// A constant matrix, row-major without gaps and not conjugated, so that no product has to copy it.
    template <class T>
    class Operand {
      public:
        Operand() = default;
        /// Rows of the matrix.
        [[nodiscard]] Index rows() const { return rows_; }
        /// Columns of the matrix.
        [[nodiscard]] Index cols() const { return cols_; }
        /// Bytes of the copy on the device.
        [[nodiscard]] Index num_bytes() const {
            return values_.size() * static_cast<Index>(sizeof(T));
        }

      private:
        friend class CudaBackend;
        Buffer<T> values_;
        Index rows_ = 0, cols_ = 0;
        Side side_ = Side::left;
    };

    /// Device memory is no host memory: plans move what they are given.
    static constexpr bool memory_is_host = false;
    /// No limit of its own: a launch should carry as many tokens as the workspace of a plan holds.
    static constexpr Index cached_bytes = (std::numeric_limits<Index>::max)();

    /// T itself: cuBLAS multiplies float in float. So float resolves losses down to sqrt(eps(float)) by
    /// Gram matrices, where EigenBackend reaches sqrt(eps(double)).
    template <class T>
    using GramScalar = T;

    /// Device 0, with the default options.
    CudaBackend() : CudaBackend(cuda::Options{}) {}
    /// The device of the `options`. Throws BackendError, in the driver's words, where there is no driver or
    /// no such device, and where a library fails; ArgumentError for options out of range.
    explicit CudaBackend(const cuda::Options& options) {
        const auto count = cuda::detail::count_devices();
        if (count.devices == 0)
            detail::raise<BackendError>({"CudaBackend: ", cuda::why_unavailable()});
        if (options.device < 0 || options.device >= count.devices)
            detail::raise<BackendError>(
                {"CudaBackend: there is no device ", options.device, " of ", count.devices});
        const cuda::detail::CurrentDevice current(options.device);
        device_ = {new cuda::detail::Device(options), &cuda::detail::destroy_device};
    }

    /// n elements, uninitialised. Throws ShapeError for a size that no memory holds, BackendError where
    /// the device has no room.
    template <Scalar T>
    [[nodiscard]] Buffer<T> allocate(Index n) const {
        constexpr Index most = (std::numeric_limits<Index>::max)() / static_cast<Index>(sizeof(T));
        cuda::detail::check_shape(n >= 0 && n <= most, "allocate",
                                  "need 0 to 2^63 / sizeof(T) elements", {n});
        return Buffer<T>(device_, n);
    }
    /// Copies `from`, host memory, any strides, to `to`, device memory, row-major. `from` was read when
    /// this returns; it waits only where more is under way than the staging memory holds.
    template <Scalar T>
    void upload(std::type_identity_t<TensorView<const T>> from, T* to) const {
        const cuda::detail::Turn turn(*device_);
        cuda::detail::upload(*device_, from, to);
    }
    /// Copies `from`, device memory, row-major, to `to`, host memory, any strides. Waits.
    template <Scalar T>
    void download(const T* from, const TensorView<T>& to) const {
        const cuda::detail::Turn turn(*device_);
        cuda::detail::download(*device_, from, to);
    }
    /// Waits for everything issued so far; failures on the device come out here at the latest.
    void synchronize() const {
        const cuda::detail::Turn turn(*device_);
        device_->wait();
    }
    /// 1: one stream, whose order all callers share.
    [[nodiscard]] int concurrency() const { return 1; }

    /// C = alpha A B + beta C. 2 m n k flops (8 where complex).
    template <Scalar T>
    void gemm(T alpha, std::type_identity_t<MatrixView<const T>> A,
              std::type_identity_t<MatrixView<const T>> B, T beta, MatrixView<T> C) const {
        gemm_batched(alpha, BatchView<const T>{A, 0}, BatchView<const T>{B, 0}, beta,
                     BatchView<T>{C, 0}, 1);
    }
    /// C_i = alpha A_i B_i + beta C_i, i < count; a stride of 0 repeats A or B. One launch for 65535
    /// items; besides, copies of conjugated operands that cuBLAS cannot read as they lie.
    template <Scalar T>
    void gemm_batched(T alpha, std::type_identity_t<BatchView<const T>> A,
                      std::type_identity_t<BatchView<const T>> B, T beta, BatchView<T> C,
                      Index count) const {
        const auto &a = A.first, &b = B.first;
        const auto& c = C.first;
        cuda::detail::check_shape(
            a.cols == b.rows && a.rows == c.rows && b.cols == c.cols && count >= 0, "gemm",
            "need (m,k) (k,n) -> (m,n)", {a.rows, a.cols, b.rows, b.cols, c.rows, c.cols});
        const auto result = cuda::detail::stored_result(c, "gemm");
        const cuda::detail::Turn turn(*device_);
        cuda::detail::multiply(*device_, wide(alpha), cuda::detail::stored(a, "gemm"), A.stride,
                               cuda::detail::stored(b, "gemm"), B.stride, wide(beta), result,
                               C.stride, count);
    }
    /// Copies A for one side of a product.
    template <class T>
    [[nodiscard]] Operand<std::remove_const_t<T>> prepare(Side side, MatrixView<T> A) const {
        using Value = std::remove_const_t<T>;
        const auto from = cuda::detail::stored(A, "prepare");
        Operand<Value> operand;
        operand.values_ = allocate<Value>(A.size());
        operand.rows_ = A.rows;
        operand.cols_ = A.cols;
        operand.side_ = side;
        const cuda::detail::Turn turn(*device_);
        cuda::detail::copy_matrix(
            *device_, from,
            cuda::detail::stored(matrix(operand.values_.data(), A.rows, A.cols), "prepare"));
        return operand;
    }
    /// C_i = A B_i + beta C_i, i < count, with A prepared for the left. Throws ShapeError.
    template <Scalar T>
    void gemm_left(const Operand<T>& A, std::type_identity_t<BatchView<const T>> B, T beta,
                   BatchView<T> C, Index count) const {
        const auto& b = B.first;
        const auto& c = C.first;
        cuda::detail::check_shape(A.side_ == Side::left && A.cols_ == b.rows && A.rows_ == c.rows &&
                                      b.cols == c.cols && count >= 0,
                                  "gemm_left",
                                  "need A (m,k), prepared for the left, (k,n) -> (m,n)",
                                  {A.rows_, A.cols_, b.rows, b.cols, c.rows, c.cols});
        gemm_batched(T{1},
                     BatchView<const T>{matrix<const T>(A.values_.data(), A.rows_, A.cols_), 0}, B,
                     beta, C, count);
    }
    /// C = A B + beta C, with B prepared for the right. Throws ShapeError.
    template <Scalar T>
    void gemm_right(std::type_identity_t<MatrixView<const T>> A, const Operand<T>& B, T beta,
                    MatrixView<T> C) const {
        cuda::detail::check_shape(
            B.side_ == Side::right && A.cols == B.rows_ && A.rows == C.rows && B.cols_ == C.cols,
            "gemm_right", "need (m,k), B (k,n), prepared for the right, -> (m,n)",
            {A.rows, A.cols, B.rows_, B.cols_, C.rows, C.cols});
        gemm(T{1}, A, matrix<const T>(B.values_.data(), B.rows_, B.cols_), beta, C);
    }
    /// G = A A^H, both triangles, exactly Hermitian. m^2 k flops; 4 launches, 5 where conjugated.
    template <Scalar T>
    void syrk(MatrixView<const T> A, MatrixView<GramScalar<T>> G) const {
        cuda::detail::check_shape(G.rows == A.rows && G.cols == A.rows, "syrk",
                                  "need (m,k) -> (m,m)", {A.rows, A.cols, G.rows, G.cols});
        const auto from = cuda::detail::stored(A, "syrk");
        const auto to = cuda::detail::stored_result(G, "syrk");
        const cuda::detail::Turn turn(*device_);
        cuda::detail::gram(*device_, from, to);
    }
    /// Copies `from`, any strides, to `to`, row-major, both on the device, in permute_launches(from)
    /// launches and at most two copies of it in memory.
    template <Scalar T>
    void permute(std::type_identity_t<TensorView<const T>> from, T* to) const {
        const cuda::detail::Turn turn(*device_);
        cuda::detail::permute(*device_, cuda::detail::kind_of<T>, from.data, from.shape,
                              from.strides, to);
    }
    /// Launches that permute takes for the view `from`; no more than one for every element.
    template <Scalar T>
    [[nodiscard]] static Index permute_launches(const TensorView<const T>& from) {
        if (from.size() == 0) return 0;
        return cuda::detail::plan_permute(
                   detail::merged_axes(from.shape, from.strides, row_major_strides(from.shape)),
                   static_cast<Index>(sizeof(T)))
            .launches;
    }
    /// y = alpha x + y, n elements.
    template <Scalar T>
    void axpy(Index n, T alpha, const T* x, T* y) const {
        const cuda::detail::Turn turn(*device_);
        cuda::detail::add(*device_, cuda::detail::kind_of<T>, n, wide(alpha), x, y);
    }
    /// x = alpha x, n elements.
    template <Scalar T>
    void scale(Index n, T alpha, T* x) const {
        const cuda::detail::Turn turn(*device_);
        cuda::detail::scale(*device_, cuda::detail::kind_of<T>, n, wide(alpha), x);
    }
    /// *result = sum of conj(x_i) y_i over n elements; result is device memory.
    template <Scalar T>
    void dot(Index n, const T* x, const T* y, GramScalar<T>* result) const {
        const cuda::detail::Turn turn(*device_);
        cuda::detail::inner(*device_, cuda::detail::kind_of<T>, n, x, y, result);
    }

    /// QR by geqrf and orgqr: A (m, n) becomes Q, R (n, n) is upper triangular. Throws NumericalError on NaN
    /// or Inf, like all factorisations here, and waits like all of them.
    template <Scalar T>
    void qr(MatrixView<T> A, MatrixView<T> R) const {
        cuda::detail::check_shape(A.rows >= A.cols && R.rows == A.cols && R.cols == A.cols, "qr",
                                  "need A (m,n) with m >= n and R (n,n)",
                                  {A.rows, A.cols, R.rows, R.cols});
        const auto a = cuda::detail::stored_result(A, "qr"),
                   r = cuda::detail::stored_result(R, "qr");
        const cuda::detail::Turn turn(*device_);
        cuda::detail::factor_qr(*device_, a, r);
    }
    /// A = U diag(sigma) Vt, thin, sigma descending, by gesvd, or by gesvdj where it does not converge.
    template <Scalar T>
    void svd(std::type_identity_t<MatrixView<const T>> A, MatrixView<T> U, Real<T>* sigma,
             MatrixView<T> Vt) const {
        const Index r = (std::min)(A.rows, A.cols);
        cuda::detail::check_shape(
            U.rows == A.rows && U.cols == r && Vt.rows == r && Vt.cols == A.cols, "svd",
            "need A (m,n), U (m,r), Vt (r,n), r = min(m,n)",
            {A.rows, A.cols, U.rows, U.cols, Vt.rows, Vt.cols});
        const auto a = cuda::detail::stored(A, "svd");
        const auto u = cuda::detail::stored_result(U, "svd");
        const auto vt = cuda::detail::stored_result(Vt, "svd");
        const cuda::detail::Turn turn(*device_);
        cuda::detail::factor_svd(*device_, a, u, sigma, vt);
    }
    /// Hermitian G becomes its eigenvectors, in columns; `values` descending. By syevd.
    template <Scalar T>
    void eigh(MatrixView<T> G, Real<T>* values) const {
        cuda::detail::check_shape(G.rows == G.cols, "eigh", "need a square matrix",
                                  {G.rows, G.cols});
        const auto g = cuda::detail::stored_result(G, "eigh");
        const cuda::detail::Turn turn(*device_);
        cuda::detail::factor_eigh(*device_, g, values);
    }
    /// A = L L^H: L replaces the lower triangle, zeros the upper. Returns n, or the index of the first
    /// pivot that is not positive. By potrf.
    template <Scalar T>
    [[nodiscard]] Index cholesky(MatrixView<T> A) const {
        cuda::detail::check_shape(A.rows == A.cols, "cholesky", "need a square matrix",
                                  {A.rows, A.cols});
        const auto a = cuda::detail::stored_result(A, "cholesky");
        const cuda::detail::Turn turn(*device_);
        return cuda::detail::factor_cholesky(*device_, a);
    }
    /// B = A^-1 B, with A lower or upper as `triangle` says. By trsm.
    template <Scalar T>
    void solve_triangular(Triangle triangle, std::type_identity_t<MatrixView<const T>> A,
                          MatrixView<T> B) const {
        cuda::detail::check_shape(A.rows == A.cols && A.rows == B.rows, "solve_triangular",
                                  "need A (n,n), B (n,m)", {A.rows, A.cols, B.rows, B.cols});
        const auto a = cuda::detail::stored(A, "solve_triangular");
        const auto b = cuda::detail::stored_result(B, "solve_triangular");
        const cuda::detail::Turn turn(*device_);
        cuda::detail::solve_triangular(*device_, triangle, a, b);
    }
    /// P A = L U in place; row k was exchanged with row pivots[k] >= k, k < min(m, n). By getrf.
    template <Scalar T>
    void lu(MatrixView<T> A, Index* pivots) const {
        const auto a = cuda::detail::stored_result(A, "lu");
        const cuda::detail::Turn turn(*device_);
        cuda::detail::factor_lu(*device_, a, pivots);
    }

    /// The stream of everything issued here, for work of one's own behind it.
    [[nodiscard]] cudaStream_t stream() const { return device_->stream.get(); }

  private:
    friend class cuda::HalfPlan;

    template <Scalar T>
    [[nodiscard]] static std::complex<double> wide(T value) {
        return std::complex<double>(static_cast<double>(std::real(value)),
                                    static_cast<double>(std::imag(value)));
    }

    std::shared_ptr<cuda::detail::Device> device_;
};

static_assert(Backend<CudaBackend>);

}  // namespace mpo

// EigenBackend: the Backend of the processor at hand. Products run on the library's own register
// tiles (impl/gemm_inl.hpp), factorisations on blocks of reflections and rotations (the rest of
// impl/) in double, Cholesky and triangular solves in T. None of it is Eigen's: its products reached 0.57 of the FMA rate, its threads need
// the user's -fopenmp, its SVD takes 20 s to compile. Matrices of Eigen are seen through mpo/eigen.hpp.
#pragma once

#include <limits>
#include <memory>

#include "mpo/core/parallel.hpp"
#include "mpo/core/tensor.hpp"
#include "mpo/linalg/backend.hpp"
#include "mpo/linalg/huge_pages.hpp"

namespace mpo {
namespace detail {

template <class T>
struct WideOf {
    using type = double;
};
template <class T>
struct WideOf<std::complex<T>> {
    using type = std::complex<double>;
};

/// The operations of EigenBackend for one scalar; bodies in impl/eigen_backend_inl.hpp, compiled
/// once in mpo::compiled. Shapes were checked by EigenBackend.
template <Scalar T>
struct EigenOperations {
    using Wide = typename WideOf<T>::type;

    static void copy(const TensorView<const T>& from, T* to, const Shape& to_strides);
    static void gemm_batched(T alpha, BatchView<const T> A, BatchView<const T> B, T beta,
                             BatchView<T> C, Index count);
    /// Numbers a prepared operand takes, and the operand itself.
    static Index prepared_size(Side side, MatrixView<const T> A);
    static void prepare(Side side, MatrixView<const T> A, Real<T>* panels);
    static void gemm_left(Index rows, Index inner, const Real<T>* panels, BatchView<const T> B,
                          T beta, BatchView<T> C, Index count);
    static void gemm_right(MatrixView<const T> A, const Real<T>* panels, Index cols, T beta,
                           MatrixView<T> C);
    static void syrk(MatrixView<const T> A, MatrixView<Wide> G);
    static void axpy(Index n, T alpha, const T* x, T* y);
    static void scale(Index n, T alpha, T* x);
    static Wide dot(Index n, const T* x, const T* y);
    static void qr(MatrixView<T> A, MatrixView<T> R);
    static void svd(MatrixView<const T> A, MatrixView<T> U, Real<T>* sigma, MatrixView<T> Vt);
    static void eigh(MatrixView<T> G, Real<T>* values);
    static Index cholesky(MatrixView<T> A);
    static void solve_triangular(Triangle triangle, MatrixView<const T> A, MatrixView<T> B);
    static void lu(MatrixView<T> A, Index* pivots);
};

[[gnu::cold]] inline void check_shape(bool fits, const char* operation, const char* rule,
                                      std::initializer_list<Index> sizes) {
    if (fits) return;
    raise<ShapeError>(
        {"EigenBackend::", operation, ": ", rule, ", got ", joined(Shape(sizes), ", ")});
}

}  // namespace detail

/// Operations on host memory, spread over the pool of core/parallel.hpp. Stateless: one object
/// serves any number of threads. Matrices may carry any two strides.
class EigenBackend {
  public:
    /// Host memory, 64-byte aligned, uninitialised.
    template <class T>
    class Buffer {
      public:
        Buffer() = default;
        /// n elements. Throws std::bad_alloc.
        explicit Buffer(Index n)
            : data_(static_cast<T*>(
                  ::operator new (static_cast<std::size_t>(n) * sizeof(T), std::align_val_t{64}))),
              size_(n) {
            detail::prefer_huge_pages(data_.get(), static_cast<std::size_t>(n) * sizeof(T));
        }
        /// The first element; null where there is none.
        [[nodiscard]] T* data() const { return data_.get(); }
        /// Number of elements.
        [[nodiscard]] Index size() const { return size_; }

      private:
        struct Release {
            void operator()(T* p) const noexcept { ::operator delete (p, std::align_val_t{64}); }
        };
        std::unique_ptr<T, Release> data_;
        Index size_ = 0;
    };

    /// A constant matrix packed into panels, for one side of a product.
    template <class T>
    class Operand {
      public:
        Operand() = default;
        /// Rows of the matrix.
        [[nodiscard]] Index rows() const { return rows_; }
        /// Columns of the matrix.
        [[nodiscard]] Index cols() const { return cols_; }
        /// Bytes of the packed copy, padding included.
        [[nodiscard]] Index num_bytes() const {
            return panels_.size() * static_cast<Index>(sizeof(Real<T>));
        }

      private:
        friend class EigenBackend;
        Buffer<Real<T>> panels_;
        Index rows_ = 0, cols_ = 0;
        Side side_ = Side::left;
    };

    /// Backend memory is host memory: plans copy nothing.
    static constexpr bool memory_is_host = true;
    /// Half an L2 cache of 1 MiB: sweeps carry as many tokens along as fit it.
    static constexpr Index cached_bytes = detail::processor_cached_bytes;

    /// double, or complex<double>.
    template <class T>
    using GramScalar = typename detail::WideOf<T>::type;

    /// n elements, uninitialised. Throws ShapeError for a size that no memory holds,
    /// std::bad_alloc.
    template <Scalar T>
    [[nodiscard]] Buffer<T> allocate(Index n) const {
        constexpr Index most = (std::numeric_limits<Index>::max)() / static_cast<Index>(sizeof(T));
        detail::check_shape(n >= 0 && n <= most, "allocate", "need 0 to 2^63 / sizeof(T) elements",
                            {n});
        return Buffer<T>(n);
    }
    /// Copies `from`, any strides, to `to`, row-major.
    template <Scalar T>
    void upload(std::type_identity_t<TensorView<const T>> from, T* to) const {
        detail::EigenOperations<T>::copy(from, to, row_major_strides(from.shape));
    }
    /// Copies `from`, row-major, to `to`, any strides.
    template <Scalar T>
    void download(const T* from, const TensorView<T>& to) const {
        detail::EigenOperations<T>::copy({from, to.shape}, to.data, to.strides);
    }
    /// Nothing to wait for.
    void synchronize() const {}
    /// num_threads().
    [[nodiscard]] int concurrency() const { return num_threads(); }

    /// C = alpha A B + beta C. 2 m n k flops (8 where complex).
    template <Scalar T>
    void gemm(T alpha, std::type_identity_t<MatrixView<const T>> A,
              std::type_identity_t<MatrixView<const T>> B, T beta, MatrixView<T> C) const {
        gemm_batched(alpha, BatchView<const T>{A, 0}, BatchView<const T>{B, 0}, beta,
                     BatchView<T>{C, 0}, 1);
    }
    /// C_i = alpha A_i B_i + beta C_i, i < count; a stride of 0 repeats A or B.
    template <Scalar T>
    void gemm_batched(T alpha, std::type_identity_t<BatchView<const T>> A,
                      std::type_identity_t<BatchView<const T>> B, T beta, BatchView<T> C,
                      Index count) const {
        const auto &a = A.first, &b = B.first;
        const auto& c = C.first;
        detail::check_shape(a.cols == b.rows && a.rows == c.rows && b.cols == c.cols && count >= 0,
                            "gemm", "need (m,k) (k,n) -> (m,n)",
                            {a.rows, a.cols, b.rows, b.cols, c.rows, c.cols});
        detail::EigenOperations<T>::gemm_batched(alpha, A, B, beta, C, count);
    }
    /// Packs A (any strides) for one side of a product; the values are copied.
    template <class T>
    [[nodiscard]] Operand<std::remove_const_t<T>> prepare(Side side, MatrixView<T> A) const {
        using Value = std::remove_const_t<T>;
        Operand<Value> operand;
        operand.panels_ =
            Buffer<Real<Value>>(detail::EigenOperations<Value>::prepared_size(side, A));
        detail::EigenOperations<Value>::prepare(side, A, operand.panels_.data());
        operand.rows_ = A.rows;
        operand.cols_ = A.cols;
        operand.side_ = side;
        return operand;
    }
    /// C_i = A B_i + beta C_i, i < count, with A prepared for the left and B_i of any strides. Throws ShapeError.
    template <Scalar T>
    void gemm_left(const Operand<T>& A, std::type_identity_t<BatchView<const T>> B, T beta,
                   BatchView<T> C, Index count) const {
        const auto& b = B.first;
        const auto& c = C.first;
        detail::check_shape(A.side_ == Side::left && A.cols_ == b.rows && A.rows_ == c.rows &&
                                b.cols == c.cols && count >= 0,
                            "gemm_left", "need A (m,k), prepared for the left, (k,n) -> (m,n)",
                            {A.rows_, A.cols_, b.rows, b.cols, c.rows, c.cols});
        detail::EigenOperations<T>::gemm_left(A.rows_, A.cols_, A.panels_.data(), B, beta, C,
                                              count);
    }
    /// C = A B + beta C, with B prepared for the right. Throws ShapeError.
    template <Scalar T>
    void gemm_right(std::type_identity_t<MatrixView<const T>> A, const Operand<T>& B, T beta,
                    MatrixView<T> C) const {
        detail::check_shape(
            B.side_ == Side::right && A.cols == B.rows_ && A.rows == C.rows && B.cols_ == C.cols,
            "gemm_right", "need (m,k), B (k,n), prepared for the right, -> (m,n)",
            {A.rows, A.cols, B.rows_, B.cols_, C.rows, C.cols});
        detail::EigenOperations<T>::gemm_right(A, B.panels_.data(), B.cols_, beta, C);
    }
    /// G = A A^H, both triangles, accumulated in double. m^2 k flops.
    template <Scalar T>
    void syrk(MatrixView<const T> A, MatrixView<GramScalar<T>> G) const {
        detail::check_shape(G.rows == A.rows && G.cols == A.rows, "syrk", "need (m,k) -> (m,m)",
                            {A.rows, A.cols, G.rows, G.cols});
        detail::EigenOperations<T>::syrk(A, G);
    }
    /// Copies `from`, any strides, to `to`, row-major.
    template <Scalar T>
    void permute(std::type_identity_t<TensorView<const T>> from, T* to) const {
        detail::EigenOperations<T>::copy(from, to, row_major_strides(from.shape));
    }
    /// y = alpha x + y, n elements.
    template <Scalar T>
    void axpy(Index n, T alpha, const T* x, T* y) const {
        detail::EigenOperations<T>::axpy(n, alpha, x, y);
    }
    /// x = alpha x, n elements.
    template <Scalar T>
    void scale(Index n, T alpha, T* x) const {
        detail::EigenOperations<T>::scale(n, alpha, x);
    }
    /// *result = sum of conj(x_i) y_i over n elements, in double, in pieces of a fixed length: the
    /// same bits for every thread count.
    template <Scalar T>
    void dot(Index n, const T* x, const T* y, GramScalar<T>* result) const {
        *result = detail::EigenOperations<T>::dot(n, x, y);
    }

    /// Householder QR: A (m, n) becomes Q, R (n, n) is upper triangular. Throws NumericalError on NaN or Inf, like all factorisations here.
    template <Scalar T>
    void qr(MatrixView<T> A, MatrixView<T> R) const {
        detail::check_shape(A.rows >= A.cols && R.rows == A.cols && R.cols == A.cols, "qr",
                            "need A (m,n) with m >= n and R (n,n)",
                            {A.rows, A.cols, R.rows, R.cols});
        detail::EigenOperations<T>::qr(A, R);
    }
    /// A = U diag(sigma) Vt, thin, sigma descending. Bidiagonal, implicit QR: the exact one.
    template <Scalar T>
    void svd(std::type_identity_t<MatrixView<const T>> A, MatrixView<T> U, Real<T>* sigma,
             MatrixView<T> Vt) const {
        const Index r = (std::min)(A.rows, A.cols);
        detail::check_shape(U.rows == A.rows && U.cols == r && Vt.rows == r && Vt.cols == A.cols,
                            "svd", "need A (m,n), U (m,r), Vt (r,n), r = min(m,n)",
                            {A.rows, A.cols, U.rows, U.cols, Vt.rows, Vt.cols});
        detail::EigenOperations<T>::svd(A, U, sigma, Vt);
    }
    /// Hermitian G becomes its eigenvectors, in columns; `values` descending. Throws
    /// NumericalError.
    template <Scalar T>
    void eigh(MatrixView<T> G, Real<T>* values) const {
        detail::check_shape(G.rows == G.cols, "eigh", "need a square matrix", {G.rows, G.cols});
        detail::EigenOperations<T>::eigh(G, values);
    }
    /// A = L L^H: L replaces the lower triangle, zeros the upper, which is not read. Returns n, or the
    /// index of the first pivot that is not positive. In T: n^3 / 6 multiply-adds; error c n eps(T)
    /// norm(A). Throws NumericalError.
    template <Scalar T>
    [[nodiscard]] Index cholesky(MatrixView<T> A) const {
        detail::check_shape(A.rows == A.cols, "cholesky", "need a square matrix", {A.rows, A.cols});
        return detail::EigenOperations<T>::cholesky(A);
    }
    /// B = A^-1 B, with A lower or upper as `triangle` says, in T; the other triangle is not read.
    /// n^2 m / 2 multiply-adds; |A X - B| <= c n eps(T) |A| |X|, element by element. Throws NumericalError.
    template <Scalar T>
    void solve_triangular(Triangle triangle, std::type_identity_t<MatrixView<const T>> A,
                          MatrixView<T> B) const {
        detail::check_shape(A.rows == A.cols && A.rows == B.rows, "solve_triangular",
                            "need A (n,n), B (n,m)", {A.rows, A.cols, B.rows, B.cols});
        detail::EigenOperations<T>::solve_triangular(triangle, A, B);
    }
    /// P A = L U in place; row k was exchanged with row pivots[k] >= k, k < min(m, n).
    template <Scalar T>
    void lu(MatrixView<T> A, Index* pivots) const {
        detail::EigenOperations<T>::lu(A, pivots);
    }
};

static_assert(Backend<EigenBackend>);

}  // namespace mpo

#ifndef MPO_COMPILED
#include "mpo/impl/eigen_backend_inl.hpp"
#else
namespace mpo::detail {
extern template struct EigenOperations<float>;
extern template struct EigenOperations<double>;
extern template struct EigenOperations<std::complex<float>>;
extern template struct EigenOperations<std::complex<double>>;
}  // namespace mpo::detail
#endif

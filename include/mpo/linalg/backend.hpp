// What a machine must be able to do: the concept Backend, on one page.
//
// Every algorithm in network/ is written once against these operations. Matrices are MatrixView
// over *backend memory* (host memory for EigenBackend, device memory for a GPU); algorithms never
// dereference such a pointer, they upload and download. Operations are stream-ordered; only
// download, synchronize and the factorisations wait (a factorisation checks its status).
//
// Arrays of values (sigma, eigenvalues, the result of dot) lie in backend memory, pivots on the host. A
// Buffer may be destroyed while operations that use it are still under way: its release is ordered
// after them. Requirements common to all operations on MatrixView: one of the two strides is 1 or the
// corresponding extent is at most 1 unless stated; outputs do not overlap inputs; empty extents are
// legal (gemm with inner extent 0 still scales C by beta); beta = 0 overwrites C, even NaN.
// Violated shapes throw ShapeError with the numbers; a library failure throws BackendError.
#pragma once

#include <concepts>
#include <utility>

#include "mpo/core/tensor.hpp"

namespace mpo {

/// Which half of a triangular matrix holds its numbers.
enum class Triangle { lower, upper };

/// On which side of a product a prepared operand stands.
enum class Side { left, right };

namespace detail {

/// Half an L2 cache of 1 MiB: what the processor's plans are priced for.
inline constexpr Index processor_cached_bytes = Index{1} << 19;

}  // namespace detail

/// Type in which backend B accumulates Gram matrices and dot products of T: real or complex like T
/// and at least as wide. A Gram matrix resolves singular values down to sqrt(eps of this type).
template <class B, class T>
using GramScalar = typename B::template GramScalar<T>;

/// A move-only block of backend memory: data() and size(), released by its destructor.
template <class B, class T>
using BufferOf = typename B::template Buffer<T>;

/// A constant matrix in the form in which the products of backend B like it best, kept by a Plan.
template <class B, class T>
using OperandOf = typename B::template Operand<T>;

// clang-format off
template <class B, class T>
concept BackendFor = Scalar<T> && requires(
    const B& b, T s, Real<T>* sigma, Index n, Index count, T* out, const T* in, T* host,
    GramScalar<B, T>* wide, Real<GramScalar<B, T>>* wide_values, Index* pivots,
    TensorView<const T> host_in, TensorView<T> host_out, TensorView<const T> tensor_in,
    MatrixView<T> M, MatrixView<const T> A, MatrixView<GramScalar<B, T>> G,
    BatchView<T> Ms, BatchView<const T> As, Triangle triangle, const OperandOf<B, T>& operand) {
    // -- memory
    { b.template allocate<T>(n) } -> std::same_as<BufferOf<B, T>>;   // n elements, uninitialised
    b.upload(host_in, out);          // out, row-major in the view's logical order; any strides
    b.download(in, host_out);        // waits; host_out any strides
    b.synchronize();                 // waits for everything issued through b
    { b.concurrency() } -> std::convertible_to<int>;  // host threads that may call b at once to advantage
    { B::memory_is_host } -> std::convertible_to<bool>;  // backend memory is host memory: no copies needed
    { B::cached_bytes } -> std::convertible_to<Index>;  // what of one caller's intermediates stays fast

    // -- products
    b.gemm(s, A, A, s, M);           // C = alpha A B + beta C         (m,k) (k,n) -> (m,n)
    b.gemm_batched(s, As, As, s, Ms, count);  // C_i = alpha A_i B_i + beta C_i; C stride > 0, no overlap
    { b.prepare(Side::left, A) } -> std::same_as<OperandOf<B, T>>;  // copies A
    b.gemm_left(operand, As, s, Ms, count);   // C_i = A B_i + beta C_i, A prepared for the left
    b.gemm_right(A, operand, s, M);           // C = A B + beta C, B prepared for the right
    b.syrk(A, G);                    // G = A A^H in GramScalar, both triangles   (m,k) -> (m,m)
    b.permute(tensor_in, out);       // out = row-major copy of a strided view, both in backend memory
    b.axpy(n, s, in, out);           // y = alpha x + y, contiguous
    b.scale(n, s, out);              // x = alpha x
    b.dot(n, in, in, wide);          // *wide = sum conj(x_i) y_i, accumulated in GramScalar

    // -- factorisations of small or thin matrices
    b.qr(M, M);                      // A (m,n), m >= n -> Q in place, R (n,n) upper; A = Q R
    b.svd(A, M, sigma, M);           // A (m,n) = U (m,r) diag(sigma) Vt (r,n), r = min(m,n), descending
    b.eigh(G, wide_values);          // Hermitian G (n,n) -> eigenvectors in columns, values descending
    { b.cholesky(M) } -> std::same_as<Index>;  // A = L L^H, L in the lower triangle, zeros above;
                                     // returns n, or the index of the first pivot that is not positive
    b.solve_triangular(triangle, A, M);        // B = T^-1 B, T (n,n) lower or upper, B (n,m)
    b.lu(M, pivots);                 // A (m,n) with rows pivoted: P A = L U in place; pivots on the host:
                                     // row k was exchanged with row pivots[k] >= k, k < min(m,n)
};
// clang-format on

/// Models all operations for all four scalar types.
template <class B>
concept Backend = BackendFor<B, float> && BackendFor<B, double> &&
    BackendFor<B, std::complex<float>> && BackendFor<B, std::complex<double>>;

}  // namespace mpo

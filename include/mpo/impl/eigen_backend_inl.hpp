// Bodies of EigenOperations: products on register tiles, factorisations on copies in double.
#pragma once

#include "mpo/impl/copy_inl.hpp"
#include "mpo/impl/gemm_inl.hpp"
#include "mpo/impl/gram_inl.hpp"
#include "mpo/impl/hermitian_eigen_inl.hpp"
#include "mpo/impl/qr_inl.hpp"
#include "mpo/impl/svd_inl.hpp"
#include "mpo/impl/triangular_inl.hpp"
#include "mpo/linalg/eigen_backend.hpp"

namespace mpo::detail {

/// The values of a view in double or complex<double>, row-major. Throws NumericalError where one is NaN or
/// Inf.
template <class T>
[[nodiscard]] auto wide_copy(const MatrixView<const T>& A, const char* who) {
    using W = typename WideOf<T>::type;
    Tensor<W> M({A.rows, A.cols});
    double poison = 0;  // 0 x is NaN where x is NaN or Inf
    for (Index i = 0; i < A.rows; ++i) {
        for (Index j = 0; j < A.cols; ++j) {
            const W x = value_at<W>(A, i, j);
            poison += 0 * std::real(x) + 0 * std::imag(x);
            M.data()[i * A.cols + j] = x;
        }
    }
    if (std::isnan(poison))
        raise<NumericalError>({who, ": a ", A.rows, " x ", A.cols, " matrix holds NaN or Inf"});
    return M;
}

/// to = from, rounded; a view that conjugates takes the conjugates.
template <class W, class T>
void assign(const Tensor<W>& from, const MatrixView<T>& to) {
    for (Index i = 0; i < to.rows; ++i) {
        for (Index j = 0; j < to.cols; ++j) {
            const W x = from.data()[i * to.cols + j];
            to.data[i * to.row_stride + j * to.col_stride] =
                static_cast<T>(to.conjugation == Conjugation::conjugate ? conjugate_of(x) : x);
        }
    }
}

template <Scalar T>
void EigenOperations<T>::copy(const TensorView<const T>& from, T* to, const Shape& to_strides) {
    copy_tensor(from, to, to_strides);
}

template <Scalar T>
void EigenOperations<T>::gemm_batched(T alpha, BatchView<const T> A, BatchView<const T> B, T beta,
                                      BatchView<T> C, Index count) {
    if (C.first.conjugation != Conjugation::none)
        throw ArgumentError("EigenBackend::gemm: the result cannot be a conjugated view");
    if (count == 1 || A.stride == 0) {
        gemm_shared(alpha, A.first, B, beta, C, count);
    } else if (B.stride == 0 && A.stride == A.first.rows * A.first.row_stride &&
               C.stride == C.first.rows * C.first.row_stride) {  // rows run on: one tall product
        A.first.rows *= count;
        C.first.rows *= count;
        gemm_shared(alpha, A.first, B, beta, C, 1);
    } else {
        parallel_for(0, count, 1, [&](Index first, Index last) {
            for (Index i = first; i < last; ++i)
                gemm_shared(alpha, A[i], BatchView<const T>{B[i], 0}, beta, BatchView<T>{C[i], 0},
                            1);
        });
    }
}

/// A product of which only the shapes of one side are known: B for Side::left, A for Side::right.
template <Scalar T>
[[nodiscard]] Product<T, T> product_with(Side side, MatrixView<const T> M) {
    Product<T, T> product{T{1}, {}, {}, {}, 1, &kernel_set<Real<T>>(best_isa())};
    if (side == Side::left)
        product.A = M;
    else
        product.A.cols = M.rows, product.B.first = M;
    return product;
}

template <Scalar T>
Index EigenOperations<T>::prepared_size(Side side, MatrixView<const T> A) {
    const auto product = product_with(side, A);
    return side == Side::left ? product.prepared_a_size() : product.prepared_b_size();
}

template <Scalar T>
void EigenOperations<T>::prepare(Side side, MatrixView<const T> A, Real<T>* panels) {
    const auto product = product_with(side, A);
    side == Side::left ? product.prepare_a(panels) : product.prepare_b(panels);
}

template <Scalar T>
void EigenOperations<T>::gemm_left(Index rows, Index inner, const Real<T>* panels,
                                   BatchView<const T> B, T beta, BatchView<T> C, Index count) {
    auto product = product_with<T>(Side::left, {nullptr, rows, inner, inner, 1});
    product.B = B;
    product.C = C;
    product.count = count;
    product.prepared_a = panels;
    multiply(product, beta);
}

template <Scalar T>
void EigenOperations<T>::gemm_right(MatrixView<const T> A, const Real<T>* panels, Index cols,
                                    T beta, MatrixView<T> C) {
    auto product = product_with<T>(Side::right, {nullptr, A.cols, cols, cols, 1});
    product.A = A;
    product.C = {C, 0};
    product.prepared_b = panels;
    multiply(product, beta);
}

template <Scalar T>
void EigenOperations<T>::syrk(MatrixView<const T> A, MatrixView<Wide> G) {
    gram(A, G);
}

inline constexpr Index vector_grain = Index{1} << 15;

template <Scalar T>
void EigenOperations<T>::axpy(Index n, T alpha, const T* x, T* y) {
    parallel_for(0, n, vector_grain, [&](Index first, Index last) {
        for (Index k = first; k < last; ++k) y[k] += alpha * x[k];
    });
}

template <Scalar T>
void EigenOperations<T>::scale(Index n, T alpha, T* x) {
    parallel_for(0, n, vector_grain, [&](Index first, Index last) {
        for (Index k = first; k < last; ++k) x[k] *= alpha;
    });
}

/// sum conj(x_i) y_i over less than a grain, in eight independent sums, so that additions overlap.
template <Scalar T>
[[nodiscard]] auto dot_piece(Index n, const T* x, const T* y) {
    using W = typename WideOf<T>::type;
    W sum{};
    Index k = 0;
    if constexpr (!is_complex<T>) {
        using Narrow = Simd<T, 8 * sizeof(T)>;
        using Eight = Simd<double, 64>;
        typename Eight::type lanes{};
        for (; k + 8 <= n; k += 8) {
            const typename Narrow::type a = *reinterpret_cast<const typename Narrow::loose*>(x + k);
            const typename Narrow::type b = *reinterpret_cast<const typename Narrow::loose*>(y + k);
            lanes += __builtin_convertvector(a, typename Eight::type) *
                     __builtin_convertvector(b, typename Eight::type);
        }
        for (int lane = 0; lane < 8; ++lane) sum += lanes[lane];
    }
    for (; k < n; ++k) {
        if constexpr (is_complex<T>)
            sum += std::conj(W(x[k])) * W(y[k]);
        else
            sum += W{x[k]} * W{y[k]};
    }
    return sum;
}

template <Scalar T>
auto EigenOperations<T>::dot(Index n, const T* x, const T* y) -> Wide {
    const Index pieces = (n + vector_grain - 1) / vector_grain;
    std::vector<Wide> sums(static_cast<std::size_t>(pieces));
    parallel_for(0, pieces, 1, [&](Index first, Index last) {
        for (Index p = first; p < last; ++p) {
            const Index begin = p * vector_grain;
            sums[static_cast<std::size_t>(p)] =
                dot_piece((std::min)(vector_grain, n - begin), x + begin, y + begin);
        }
    });
    Wide total{};
    for (const Wide& sum : sums) total += sum;
    return total;
}

template <Scalar T>
void EigenOperations<T>::qr(MatrixView<T> A, MatrixView<T> R) {
    if (A.cols == 0) return;
    const HouseholderQr<Wide> factored(wide_copy(transpose(MatrixView<const T>(A)), "qr"));
    assign(factored.R, R);
    assign(factored.q(), A);
}

template <Scalar T>
void EigenOperations<T>::svd(MatrixView<const T> A, MatrixView<T> U, Real<T>* sigma,
                             MatrixView<T> Vt) {
    if (A.rows < A.cols)  // A^H = V diag(sigma) U^H
        return svd(adjoint(A), adjoint(Vt), sigma, adjoint(U));
    const Index n = A.cols;
    if (n == 0) return;
    const auto factors = thin_svd(wide_copy(A, "svd"));
    for (Index k = 0; k < n; ++k)
        sigma[k] = static_cast<Real<T>>(factors.sigma[static_cast<std::size_t>(k)]);
    assign(factors.U, U);
    assign(factors.V, adjoint(Vt));
}

template <Scalar T>
void EigenOperations<T>::eigh(MatrixView<T> G, Real<T>* values) {
    const Index n = G.rows;
    if (n == 0) return;
    Tensor<Wide> A({n, n});
    bool finite = true;
    for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j <= i; ++j) {
            A(i, j) = value_at<Wide>(MatrixView<const T>(G), i, j);
            finite =
                finite && std::isfinite(std::real(A(i, j))) && std::isfinite(std::imag(A(i, j)));
        }
    }
    if (!finite) raise<NumericalError>({"eigh: a ", n, " x ", n, " matrix holds NaN or Inf"});
    const auto lambda = hermitian_eigen(A);
    for (Index k = 0; k < n; ++k)
        values[k] = static_cast<Real<T>>(lambda[static_cast<std::size_t>(k)]);
    assign(A, G);
}

template <Scalar T>
Index EigenOperations<T>::cholesky(MatrixView<T> A) {
    require_finite<T>(A, Region::lower, "cholesky");
    A.conjugation = Conjugation::none;  // conj(A) has the factor conj(L)
    const Index done = cholesky_factor(A);
    for (Index i = 0; i < A.rows; ++i)
        for (Index j = i + 1; j < A.cols; ++j) A.data[i * A.row_stride + j * A.col_stride] = T{};
    return done;
}

template <Scalar T>
void EigenOperations<T>::solve_triangular(Triangle triangle, MatrixView<const T> A,
                                          MatrixView<T> B) {
    require_finite<T>(A, triangle == Triangle::lower ? Region::lower : Region::upper,
                      "solve_triangular");
    for (Index k = 0; k < A.rows; ++k)
        if (A.data[k * (A.row_stride + A.col_stride)] == T{})
            raise<NumericalError>(
                {"solve_triangular: diagonal element ", k, " of ", A.rows, " is zero"});
    require_finite<T>(B, Region::whole, "solve_triangular");
    if (B.conjugation == Conjugation::conjugate) A = conjugated(A);  // conj(A) conj(X) = conj(B)
    B.conjugation = Conjugation::none;
    if (B.size() > 0) solve_triangle(triangle, A, B);
}

template <Scalar T>
void EigenOperations<T>::lu(MatrixView<T> A, Index* pivots) {
    auto M = wide_copy(MatrixView<const T>(A), "lu");
    pivoted_lu(M, pivots);
    assign(M, A);
}

}  // namespace mpo::detail

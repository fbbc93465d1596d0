// One core of a fit: conjugate gradients on its quadratic form, from where it is. Every iteration lowers the
// loss by what it says, so a core is never worse afterwards, however early the iterations end.
//
//   direct      preconditioned by the Cholesky factor of H + mu I: the first iteration is the solution, a
//               second one repairs rounding. mu is rounding too; what it holds back keeps its old value
//   iterative   H is applied through the chain; preconditioned by its partial traces,
//               H_a^-1 x H_i^-1 x H_b^-1, which is H^-1 where H is a Kronecker product
//
// Hestenes and Stiefel, J. Res. NBS 49 (1952).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "mpo/network/fit_options.hpp"
#include "mpo/network/fit_site.hpp"

namespace mpo {

namespace detail {

/// When the iterations of one core end.
struct FitStop {
    Index max_iterations = 0;
    double smallest_gain = 0;  // of one iteration, in units of the loss
};

/// What the iterations of one core did.
struct FitGain {
    double gain = 0;  // by which the loss fell
    Index iterations = 0;
};

/// x += minimiser of <d, H d> - 2 Re <r, d> within the Krylov space; r = Q - H x is overwritten. apply and
/// precondition take a vector and return H or M^-1 times it.
template <Scalar T, BackendFor<T> B, class Apply, class Precondition>
FitGain conjugate_gradients(T* x, BufferOf<B, T> r, Index n, const FitStop& stop, Apply&& apply,
                            Precondition&& precondition, const B& backend) {
    FitGain result;
    auto z = precondition(r.data());
    double rho = real_dot<T>(r.data(), z.data(), n, backend);
    auto p = std::move(z);
    while (result.iterations < stop.max_iterations) {
        if (!(rho > 0) || !std::isfinite(rho)) break;
        const auto q = apply(p.data());
        const double curvature = real_dot<T>(p.data(), q.data(), n, backend);
        if (!(curvature > 0) || !std::isfinite(curvature)) break;
        const double alpha = rho / curvature, gain = alpha * rho;
        backend.axpy(n, static_cast<T>(static_cast<Real<T>>(alpha)),
                     static_cast<const T*>(p.data()), x);
        backend.axpy(n, static_cast<T>(static_cast<Real<T>>(-alpha)), q.data(), r.data());
        result.gain += gain;
        ++result.iterations;
        if (gain <= stop.smallest_gain || result.iterations == stop.max_iterations) break;
        z = precondition(r.data());
        const double next = real_dot<T>(r.data(), z.data(), n, backend);
        backend.scale(n, static_cast<T>(static_cast<Real<T>>(next / rho)), p.data());
        backend.axpy(n, T{1}, static_cast<const T*>(z.data()), p.data());
        rho = next;
    }
    return result;
}

/// The lower Cholesky factor of A + shift I, shift grown from `shift` until there is one.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] BufferOf<B, T> shifted_cholesky(const T* A, Index n, double shift, const B& backend) {
    constexpr double growth = 8;
    for (int attempt = 0; attempt < 24; ++attempt, shift *= growth) {
        auto factor = copy_of<T>(matrix<const T>(A, n, n), backend);
        add_to_diagonal(matrix(factor.data(), n, n), shift, backend);
        if (backend.cholesky(matrix(factor.data(), n, n)) == n) return factor;
    }
    raise<NumericalError>({"fit: a matrix of ", n, " rows is not positive definite, nor is it ",
                           "with ", shift, " added to its diagonal"});
}

/// Mean of the diagonal of A (n, n).
template <Scalar T, BackendFor<T> B>
[[nodiscard]] double mean_diagonal(const T* A, Index n, const B& backend) {
    auto diagonal = backend.template allocate<T>(n);
    backend.template permute<T>(TensorView<const T>(A, {n}, {n + 1}), diagonal.data());
    const auto host = fetch<T>(diagonal.data(), n, 1, backend);
    double sum = 0;
    for (Index k = 0; k < n; ++k) sum += static_cast<double>(std::real(host(k, 0)));
    return sum / static_cast<double>(n);
}

/// (A + shift I)^-1 of a Hermitian, semidefinite A; shift is relative to the mean of its diagonal.
template <Scalar T, BackendFor<T> B>
[[nodiscard]] BufferOf<B, T> regularised_inverse(const BufferOf<B, T>& A, Index n, double shift,
                                                 const B& backend) {
    const double mean = mean_diagonal<T>(A.data(), n, backend);
    const auto L = shifted_cholesky<T>(A.data(), n, mean > 0 ? shift * mean : 1, backend);
    auto inverse = unit_matrix<T>(n, backend);
    solve_cholesky(matrix<const T>(L.data(), n, n), matrix(inverse.data(), n, n), backend);
    return inverse;
}

/// M^-1 of the iterative route: an inverse for every leg that S and the other cores tie together.
template <Scalar T, BackendFor<T> B>
class TracePreconditioner {
  public:
    TracePreconditioner(const SiteProblem<T, B>& site, const B& backend)
        : shape_(site.core_shape()), backend_(backend) {
        constexpr double shift =
            1e-3;  // of the mean eigenvalue: partial traces say little of the small ones
        auto traces = site.partial_traces();
        if (shape_[0] > 1) a_ = regularised_inverse<T>(traces.a, shape_[0], shift, backend);
        if (shape_[2] > 1) i_ = regularised_inverse<T>(traces.i, shape_[2], shift, backend);
        if (shape_[3] > 1) b_ = regularised_inverse<T>(traces.b, shape_[3], shift, backend);
    }

    [[nodiscard]] BufferOf<B, T> operator()(const T* r) const {
        const Index a = shape_[0], o = shape_[1], i = shape_[2], b = shape_[3];
        auto x = copy_of<T>(matrix<const T>(r, a, o * i * b), backend_);
        if (a > 1)
            replace(x, matrix<const T>(a_.data(), a, a), matrix<const T>(x.data(), a, o * i * b));
        if (b > 1)
            replace(x, matrix<const T>(x.data(), a * o * i, b),
                    transpose(matrix<const T>(b_.data(), b, b)));
        if (i > 1 && b == 1) {
            replace(x, matrix<const T>(x.data(), a * o, i),
                    transpose(matrix<const T>(i_.data(), i, i)));
        } else if (i > 1) {
            auto y = backend_.template allocate<T>(x.size());
            backend_.gemm_batched(T{1}, BatchView<const T>{matrix<const T>(i_.data(), i, i), 0},
                                  BatchView<const T>{matrix<const T>(x.data(), i, b), i * b}, T{0},
                                  BatchView<T>{matrix(y.data(), i, b), i * b}, a * o);
            x = std::move(y);
        }
        return x;
    }

  private:
    void replace(BufferOf<B, T>& x, MatrixView<const T> left, MatrixView<const T> right) const {
        auto y = backend_.template allocate<T>(left.rows * right.cols);
        backend_.gemm(T{1}, left, right, T{0}, matrix(y.data(), left.rows, right.cols));
        x = std::move(y);
    }

    Shape shape_;
    const B& backend_;
    BufferOf<B, T> a_, i_, b_;
};

/// Whether H is to be formed: seconds up to a constant, from what the two routes multiply and how fast such
/// multiplications run. A Cholesky factorisation and its solves reach half the rate of the other products; while
/// an element of H is written, copied and read, 250 are multiplied.
/// How long conjugate gradients go on depends on S: 7 to 40 iterations on linears of SmolLM2, where 20 tell
/// best (bench/fit_bench.cpp).
template <Scalar T, BackendFor<T> B>
[[nodiscard]] bool direct_is_faster(const SiteProblem<T, B>& site, Index max_direct,
                                    Index iterations) {
    constexpr Index usual_iterations = 20;
    constexpr double slow = 2, moves = 250, most_elements = 2e8;
    const double N = static_cast<double>(site.unknowns());
    const double o = static_cast<double>(site.core_shape()[1]);
    const auto dense = site.cost_of_dense();
    if (site.unknowns() > max_direct || dense.elements > most_elements) return false;
    const double direct =
        dense.multiply_adds + slow * (N * N * N / 6 + 2 * N * N * o) + N * N * (3 * o + moves);
    const auto steps = static_cast<double>((std::min)(iterations, usual_iterations));
    return direct <= steps * site.multiply_adds_of_apply();
}

/// Lowers the loss of one core X (a, o, i, b).
template <Scalar T, BackendFor<T> B>
class SiteSolver {
  public:
    SiteSolver(const SiteProblem<T, B>& site, const B& backend)
        : site_(site), shape_(site.core_shape()), size_(num_elements(shape_)), backend_(backend) {}

    [[nodiscard]] FitGain iterate(BufferOf<B, T>& X, const FitStop& stop) const {
        const TracePreconditioner<T, B> precondition(site_, backend_);
        auto r = site_.rhs();
        const auto HX = site_.apply(X.data());
        backend_.axpy(size_, T{-1}, HX.data(), r.data());
        return conjugate_gradients<T>(
            X.data(), std::move(r), size_, stop, [&](const T* x) { return site_.apply(x); },
            precondition, backend_);
    }

    [[nodiscard]] FitGain solve(BufferOf<B, T>& X) const {
        const Index N = site_.unknowns(), o = shape_[1];
        const auto H = site_.dense();
        constexpr double rounding = 16 * std::numeric_limits<Real<T>>::epsilon();
        const double mean = mean_diagonal<T>(H.data(), N, backend_);
        if (!(mean > 0)) return {};
        const auto L = shifted_cholesky<T>(H.data(), N, rounding * mean, backend_);
        const auto h = matrix<const T>(H.data(), N, N), factor = matrix<const T>(L.data(), N, N);
        const auto apply = [&](const T* x) {
            auto y = backend_.template allocate<T>(N * o);
            backend_.gemm(T{1}, h, matrix<const T>(x, N, o), T{0}, matrix(y.data(), N, o));
            return y;
        };
        const auto precondition = [&](const T* x) {
            auto y = copy_of<T>(matrix<const T>(x, N, o), backend_);
            solve_cholesky(factor, matrix(y.data(), N, o), backend_);
            return y;
        };
        auto r = columns_of(site_.rhs().data());
        auto x = columns_of(X.data());
        const auto HX = apply(x.data());
        backend_.axpy(size_, T{-1}, HX.data(), r.data());
        const auto gain = conjugate_gradients<T>(x.data(), std::move(r), size_, {2, 0}, apply,
                                                 precondition, backend_);
        const Shape& s = shape_;
        backend_.template permute<T>(
            TensorView<const T>(x.data(), s, {s[2] * s[3] * o, 1, s[3] * o, o}), X.data());
        return gain;
    }

  private:
    /// (a, o, i, b) as (a i b, o).
    [[nodiscard]] BufferOf<B, T> columns_of(const T* x) const {
        auto columns = backend_.template allocate<T>(size_);
        backend_.template permute<T>(permuted(TensorView<const T>(x, shape_), {0, 2, 3, 1}),
                                     columns.data());
        return columns;
    }

    const SiteProblem<T, B>& site_;
    Shape shape_;
    Index size_;
    const B& backend_;
};

}  // namespace detail
}  // namespace mpo

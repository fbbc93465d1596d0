// Factorisations by cuSOLVER. Each works on a copy in columns, which the library may destroy; each waits,
// and looks at every info that it was given.
#pragma once

#include <cmath>

#include "mpo/cuda/product.hpp"
#include "mpo/cuda/transfer.hpp"

namespace mpo::cuda::detail {

/// The verdict of the last factorisation: negative would be an argument of ours that was wrong.
[[nodiscard]] inline int verdict(Device& device, const char* call) {
    const int info = fetched<int>(device, device.info(), 1).front();
    if (info < 0)
        mpo::detail::raise<BackendError>(
            {"CudaBackend: ", call, ": argument ", -info, " was refused"});
    return info;
}

/// sum |x| over real and imaginary parts.
[[nodiscard]] inline double absolute_sum(Device& device, Kind kind, Index n, const void* x) {
    double sum = 0;
    check(with_names(kind,
                     [&](auto names) {
                         using T = typename decltype(names)::T;
                         typename decltype(names)::R result = 0;
                         const auto status =
                             names.asum(device.blas.get(), n, static_cast<const T*>(x), 1, &result);
                         sum = static_cast<double>(result);
                         return status;
                     }),
          "cublas<t>asum", {n});
    return sum;
}

template <class R>
[[nodiscard]] bool all_finite(Device& device, Index n, const void* x) {
    const auto values = fetched(device, static_cast<const R*>(x), n);
    return std::all_of(values.begin(), values.end(), [](R value) { return std::isfinite(value); });
}

/// Throws NumericalError where A, in columns without gaps, holds NaN or Inf; returns a power of two that
/// brings its elements near 1 where their squares might leave the range, 1 elsewhere. The elements
/// themselves are looked at only where their sum is not finite: it may have overflowed.
inline double finite_scale(Device& device, const Stored& A, const char* who) {
    const Index n = A.rows * A.cols;
    if (n == 0) return 1;
    const Kind real = real_kind(A.kind);
    const double sum = absolute_sum(device, A.kind, n, A.data);
    const int most = real == Kind::f32 ? std::numeric_limits<float>::max_exponent
                                       : std::numeric_limits<double>::max_exponent;
    int exponent = most;
    if (std::isfinite(sum)) {
        if (sum == 0) return 1;
        exponent = std::ilogb(sum);
    } else {
        const Index reals = is_complex_kind(A.kind) ? 2 * n : n;
        const bool finite = real == Kind::f32 ? all_finite<float>(device, reals, A.data)
                                              : all_finite<double>(device, reals, A.data);
        if (!finite)
            mpo::detail::raise<NumericalError>(
                {who, ": a ", A.rows, " x ", A.cols, " matrix holds NaN or Inf"});
    }
    if (std::abs(exponent) < most / 4) return 1;
    return std::ldexp(1.0, std::clamp(-exponent, 2 - most, most - 2));
}

/// A copy of A that a library may destroy, times a power of two.
struct Scaled {
    ColumnCopy copy;
    double scale = 1;
};
[[nodiscard]] inline Scaled finite_copy(Device& device, const Stored& A, const char* who) {
    Scaled result{copied_columns(device, A)};
    result.scale = finite_scale(device, result.copy.matrix, who);
    if (result.scale != 1)
        scale(device, A.kind, A.rows * A.cols, result.scale, result.copy.memory.data());
    return result;
}

/// Asks for the workspaces of a 64-bit routine and runs it: size(&device bytes, &host bytes), then
/// run(device room, its bytes, host room, its bytes).
template <class Size, class Run>
[[nodiscard]] int run_solver(Device& device, const char* call, std::initializer_list<Index> sizes,
                             const Size& size, const Run& run) {
    std::size_t there = 0, here = 0;
    check(size(&there, &here), call, sizes);
    void* const room = device.solver_workspace(there);
    void* const host = device.host_workspace(here);
    check(run(room, there, host, here), call, sizes);
    return verdict(device, call);
}

/// A (m, n), m >= n, becomes Q; R (n, n), upper.
inline void factor_qr(Device& device, const Stored& A, const Stored& R) {
    const Index m = A.rows, n = A.cols;
    if (n == 0) return;
    const auto work = finite_copy(device, A, "qr");
    void* const data = work.copy.memory.data();
    const auto type = data_type(A.kind);
    const Block factors = device.block(A.kind, n);
    void* const tau = factors.data();
    (void)run_solver(
        device, "cusolverDnXgeqrf", {m, n},
        [&](std::size_t* there, std::size_t* here) {
            return cusolverDnXgeqrf_bufferSize(device.solver.get(), device.params.get(), m, n, type,
                                               data, m, type, tau, type, there, here);
        },
        [&](void* there, std::size_t bytes, void* here, std::size_t host_bytes) {
            return cusolverDnXgeqrf(device.solver.get(), device.params.get(), m, n, type, data, m,
                                    type, tau, type, there, bytes, here, host_bytes, device.info());
        });
    const auto upper = new_columns(device, A.kind, n, n);
    copy_triangle(device, CUBLAS_FILL_MODE_UPPER, work.copy.matrix, upper.matrix);
    if (work.scale != 1) scale(device, A.kind, n * n, 1 / work.scale, upper.memory.data());
    const int rows = to_int(m, "cusolverDn<t>orgqr"), cols = to_int(n, "cusolverDn<t>orgqr");
    with_names(A.kind, [&](auto names) {
        using T = typename decltype(names)::T;
        auto* const Q = static_cast<T*>(data);
        int size = 0;
        check(names.form_q_size(device.solver.get(), rows, cols, cols, Q, rows,
                                static_cast<const T*>(tau), &size),
              "cusolverDn<t>orgqr_bufferSize", {m, n});
        auto* const room =
            static_cast<T*>(device.solver_workspace(static_cast<std::size_t>(size) * sizeof(T)));
        check(names.form_q(device.solver.get(), rows, cols, cols, Q, rows,
                           static_cast<const T*>(tau), room, size, device.info()),
              "cusolverDn<t>orgqr", {m, n});
    });
    (void)verdict(device, "cusolverDn<t>orgqr");
    copy_matrix(device, upper.matrix, R);
    copy_matrix(device, work.copy.matrix, A);
}

/// Where an SVD of X (p, q), p >= q, is put: X = U diag(sigma) Vt.
struct SvdResult {
    ColumnCopy U, Vt;  // (p, q), (q, q)
    bool converged = false;
};

/// By QR iterations; destroys X.
[[nodiscard]] inline SvdResult svd_by_qr(Device& device, const Stored& X, void* sigma) {
    const Index p = X.rows, q = X.cols;
    SvdResult result{new_columns(device, X.kind, p, q), new_columns(device, X.kind, q, q)};
    const auto type = data_type(X.kind), real = data_type(real_kind(X.kind));
    void* const U = result.U.memory.data();
    void* const Vt = result.Vt.memory.data();
    result.converged =
        run_solver(
            device, "cusolverDnXgesvd", {p, q},
            [&](std::size_t* there, std::size_t* here) {
                return cusolverDnXgesvd_bufferSize(device.solver.get(), device.params.get(), 'S',
                                                   'S', p, q, type, X.data, p, real, sigma, type, U,
                                                   p, type, Vt, q, type, there, here);
            },
            [&](void* there, std::size_t bytes, void* here, std::size_t host_bytes) {
                return cusolverDnXgesvd(device.solver.get(), device.params.get(), 'S', 'S', p, q,
                                        type, X.data, p, real, sigma, type, U, p, type, Vt, q, type,
                                        there, bytes, here, host_bytes, device.info());
            }) == 0;
    return result;
}

/// By Jacobi's rotations, which give V and not its adjoint; destroys X.
[[nodiscard]] inline SvdResult svd_by_jacobi(Device& device, const Stored& X, void* sigma) {
    const Index p = X.rows, q = X.cols;
    SvdResult result{new_columns(device, X.kind, p, q), new_columns(device, X.kind, q, q)};
    const auto V = new_columns(device, X.kind, q, q);
    const int rows = to_int(p, "cusolverDn<t>gesvdj"), cols = to_int(q, "cusolverDn<t>gesvdj");
    with_names(X.kind, [&](auto names) {
        using T = typename decltype(names)::T;
        using R = typename decltype(names)::R;
        auto* const x = static_cast<T*>(X.data);
        auto* const s = static_cast<R*>(sigma);
        auto* const u = static_cast<T*>(result.U.memory.data());
        auto* const v = static_cast<T*>(V.memory.data());
        int size = 0;
        check(names.jacobi_size(device.solver.get(), CUSOLVER_EIG_MODE_VECTOR, 1, rows, cols, x,
                                rows, s, u, rows, v, cols, &size, device.jacobi.get()),
              "cusolverDn<t>gesvdj_bufferSize", {p, q});
        auto* const room =
            static_cast<T*>(device.solver_workspace(static_cast<std::size_t>(size) * sizeof(T)));
        check(names.jacobi(device.solver.get(), CUSOLVER_EIG_MODE_VECTOR, 1, rows, cols, x, rows, s,
                           u, rows, v, cols, room, size, device.info(), device.jacobi.get()),
              "cusolverDn<t>gesvdj", {p, q});
    });
    result.converged = verdict(device, "cusolverDn<t>gesvdj") == 0;
    auto adjoint_of_v = transposed(V.matrix);
    adjoint_of_v.conjugated = is_complex_kind(X.kind);
    copy_matrix(device, adjoint_of_v, result.Vt.matrix);
    return result;
}

/// A = U diag(sigma) Vt, thin. gesvd takes no matrix that is wider than tall, so of A and A^T the tall one
/// is factored: A^T = U' diag(sigma) Vt' means A = Vt'^T diag(sigma) U'^T.
inline void factor_svd(Device& device, const Stored& A, const Stored& U, void* sigma,
                       const Stored& Vt) {
    const Index r = (std::min)(A.rows, A.cols);
    if (r == 0) return;
    const bool wide = A.rows < A.cols;
    const auto X = wide ? transposed(A) : A;
    const bool jacobi_first = device.options.svd == SvdDriver::jacobi;
    SvdResult result;
    double unit = 1;
    for (int attempt = 0; attempt < 2 && !result.converged; ++attempt) {
        const auto work = finite_copy(device, X, "svd");  // anew: the first attempt destroyed it
        unit = work.scale;
        result = (attempt == 0) == jacobi_first ? svd_by_jacobi(device, work.copy.matrix, sigma)
                                                : svd_by_qr(device, work.copy.matrix, sigma);
    }
    if (!result.converged)
        mpo::detail::raise<NumericalError>(
            {"svd: neither gesvd nor gesvdj converged for a ", A.rows, " x ", A.cols, " matrix"});
    if (unit != 1) scale(device, real_kind(A.kind), r, 1 / unit, sigma);
    copy_matrix(device, wide ? transposed(result.Vt.matrix) : result.U.matrix, U);
    copy_matrix(device, wide ? transposed(result.U.matrix) : result.Vt.matrix, Vt);
}

/// Hermitian G becomes its eigenvectors, values descending: those of -G, which syevd gives ascending.
inline void factor_eigh(Device& device, const Stored& G, void* values) {
    const Index n = G.rows;
    if (n == 0) return;
    const Kind real = real_kind(G.kind);
    const auto work = finite_copy(device, G, "eigh");
    void* const data = work.copy.memory.data();
    scale(device, G.kind, n * n, -1.0, data);
    const auto type = data_type(G.kind), real_type = data_type(real);
    const int info = run_solver(
        device, "cusolverDnXsyevd", {n},
        [&](std::size_t* there, std::size_t* here) {
            return cusolverDnXsyevd_bufferSize(device.solver.get(), device.params.get(),
                                               CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, n,
                                               type, data, n, real_type, values, type, there, here);
        },
        [&](void* there, std::size_t bytes, void* here, std::size_t host_bytes) {
            return cusolverDnXsyevd(device.solver.get(), device.params.get(),
                                    CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, n, type, data,
                                    n, real_type, values, type, there, bytes, here, host_bytes,
                                    device.info());
        });
    if (info != 0)
        mpo::detail::raise<NumericalError>(
            {"eigh: syevd did not converge for a ", n, " x ", n, " matrix, info ", info});
    scale(device, real, n, -1 / work.scale, values);
    copy_matrix(device, work.copy.matrix, G);
}

/// A = L L^H: L, zeros above. Returns n, or the first pivot that is not positive, where A stays as it is.
[[nodiscard]] inline Index factor_cholesky(Device& device, const Stored& A) {
    const Index n = A.rows;
    if (n == 0) return 0;
    const auto copy = copied_columns(device, A);
    (void)finite_scale(device, copy.matrix, "cholesky");
    const auto type = data_type(A.kind);
    void* const data = copy.memory.data();
    const int info = run_solver(
        device, "cusolverDnXpotrf", {n},
        [&](std::size_t* there, std::size_t* here) {
            return cusolverDnXpotrf_bufferSize(device.solver.get(), device.params.get(),
                                               CUBLAS_FILL_MODE_LOWER, n, type, data, n, type,
                                               there, here);
        },
        [&](void* there, std::size_t bytes, void* here, std::size_t host_bytes) {
            return cusolverDnXpotrf(device.solver.get(), device.params.get(),
                                    CUBLAS_FILL_MODE_LOWER, n, type, data, n, type, there, bytes,
                                    here, host_bytes, device.info());
        });
    if (info != 0) return info - 1;
    const auto lower = new_columns(device, A.kind, n, n);
    copy_triangle(device, CUBLAS_FILL_MODE_LOWER, copy.matrix, lower.matrix);
    copy_matrix(device, lower.matrix, A);
    return n;
}

/// P A = L U in place; row k was exchanged with row pivots[k]. A column without a pivot is no failure.
inline void factor_lu(Device& device, const Stored& A, Index* pivots) {
    const Index m = A.rows, n = A.cols, r = (std::min)(m, n);
    if (r == 0) return;
    const auto copy = copied_columns(device, A);
    (void)finite_scale(device, copy.matrix, "lu");
    const auto type = data_type(A.kind);
    void* const data = copy.memory.data();
    const Block rows = device.block(r * static_cast<Index>(sizeof(std::int64_t)));
    auto* const exchanged = static_cast<std::int64_t*>(rows.data());
    (void)run_solver(
        device, "cusolverDnXgetrf", {m, n},
        [&](std::size_t* there, std::size_t* here) {
            return cusolverDnXgetrf_bufferSize(device.solver.get(), device.params.get(), m, n, type,
                                               data, m, type, there, here);
        },
        [&](void* there, std::size_t bytes, void* here, std::size_t host_bytes) {
            return cusolverDnXgetrf(device.solver.get(), device.params.get(), m, n, type, data, m,
                                    exchanged, type, there, bytes, here, host_bytes, device.info());
        });
    const auto found = fetched<std::int64_t>(device, exchanged, r);
    for (Index k = 0; k < r; ++k)
        pivots[k] =
            static_cast<Index>(found[static_cast<std::size_t>(k)]) - 1;  // LAPACK counts from 1
    copy_matrix(device, copy.matrix, A);
}

/// B = T^-1 B, T (n, n) lower or upper, B (n, m).
inline void solve_triangular(Device& device, Triangle triangle, const Stored& A, const Stored& B) {
    const Index n = A.rows, m = B.cols;
    if (n == 0 || m == 0) return;
    const auto factor = copied_columns(device, A), right = copied_columns(device, B);
    (void)finite_scale(device, factor.matrix, "solve_triangular");
    (void)finite_scale(device, right.matrix, "solve_triangular");
    const Number one(A.kind, 1.0);
    with_names(A.kind, [&](auto names) {
        using T = typename decltype(names)::T;
        const auto* const t = static_cast<const T*>(factor.memory.data());
        std::int64_t least = 0;  // counts from 1
        check(names.amin(device.blas.get(), n, t, n + 1, &least), "cublasI<t>amin", {n, n + 1});
        if (absolute_sum(device, A.kind, 1, t + (least - 1) * (n + 1)) == 0)
            mpo::detail::raise<NumericalError>(
                {"solve_triangular: diagonal element ", least - 1, " of ", n, " is zero"});
        check(names.trsm(
                  device.blas.get(), CUBLAS_SIDE_LEFT,
                  triangle == Triangle::lower ? CUBLAS_FILL_MODE_LOWER : CUBLAS_FILL_MODE_UPPER,
                  CUBLAS_OP_N, CUBLAS_DIAG_NON_UNIT, n, m, one.as<T>(), t, n,
                  static_cast<T*>(right.memory.data()), n),
              "cublas<t>trsm", {n, m});
    });
    copy_matrix(device, right.matrix, B);
}

}  // namespace mpo::cuda::detail

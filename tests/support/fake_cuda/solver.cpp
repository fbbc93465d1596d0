// cuSOLVER of the fake machine.
#include <cstring>

#include "columns.hpp"

using namespace fake_cuda;

namespace {

using mpo::detail::EigenOperations;

cusolverStatus_t failed(Call& call) {
    return call.machine.fails_in_execution() ? CUSOLVER_STATUS_EXECUTION_FAILED
                                             : CUSOLVER_STATUS_ALLOC_FAILED;
}

constexpr auto refused = CUSOLVER_STATUS_INVALID_VALUE;
constexpr auto done = CUSOLVER_STATUS_SUCCESS;

LibraryState* ready(Call& call, cusolverDnHandle_t handle) {
    auto* const state = call.machine.find<LibraryState>(handle, "handle");
    if (state == nullptr ||
        !call.machine.require(state->stream != nullptr, "the handle has no stream"))
        return nullptr;
    return state;
}

/// Workspaces that a routine needs for these sizes: odd numbers, so that no other call's will do.
struct Need {
    std::size_t device = 0, host = 0;
};
[[nodiscard]] Need need_of(std::uint64_t routine, Index m, Index n) {
    return {
        static_cast<std::size_t>(256 + 8 * (m + 3 * n) + static_cast<Index>(mixed(routine) % 64)),
        static_cast<std::size_t>(17 + n + static_cast<Index>(mixed(routine + 1) % 16))};
}

/// The workspace that was handed over, filled to the last byte.
[[nodiscard]] bool takes_workspace(Machine& machine, StreamState* stream, const Need& need,
                                   void* room, std::size_t bytes, void* host,
                                   std::size_t host_bytes) {
    if (!machine.require(bytes >= need.device, "a workspace of " + std::to_string(bytes) +
                                                   " bytes, need " + std::to_string(need.device)) ||
        !machine.require(host_bytes >= need.host && (need.host == 0 || host != nullptr),
                         "a host workspace of " + std::to_string(host_bytes) + " bytes, need " +
                             std::to_string(need.host)))
        return false;
    char* const there = machine.host_of(room, bytes, "workspace");
    if (there == nullptr) return false;
    if (need.host > 0) std::memset(host, 0xff, host_bytes);
    stream->queue.emplace_back([=] { std::memset(there, 0xff, bytes); });
    ++stream->issued;
    return true;
}

/// H = 1 - tau v v^H with v = (1, x) makes (alpha, x) -> (beta, 0) by its adjoint; x becomes v, as LAPACK's larfg.
template <class W>
W reflect(W& alpha, W* x, Index n) {
    double below = 0;
    for (Index i = 0; i < n; ++i) below += std::norm(x[i]);
    if (below == 0 && std::imag(alpha) == 0) return W{};
    const double length = std::sqrt(std::norm(alpha) + below);
    const double beta = std::real(alpha) > 0 ? -length : length;
    const W tau = (W{beta} - alpha) / W{beta};
    for (Index i = 0; i < n; ++i) x[i] /= alpha - W{beta};
    alpha = W{beta};
    return tau;
}

/// C (from row `first` on) = (1 - tau v v^H) C, v of length `length`, v[0] = 1 whatever lies there.
template <class W>
void apply(W tau, const W* v, Index length, MatrixView<W> C) {
    for (Index j = 0; j < C.cols; ++j) {
        W* const column = C.data + j * C.col_stride;
        W sum = column[0];
        for (Index i = 1; i < length; ++i) sum += conjugate_of(v[i]) * column[i];
        sum *= tau;
        column[0] -= sum;
        for (Index i = 1; i < length; ++i) column[i] -= v[i] * sum;
    }
}

template <class T>
void geqrf(T* A, Index m, Index n, Index lda, T* tau) {
    using W = typename mpo::detail::WideOf<T>::type;
    std::vector<W> work(static_cast<std::size_t>(m * n));
    for (Index j = 0; j < n; ++j)
        for (Index i = 0; i < m; ++i) work[static_cast<std::size_t>(i + j * m)] = W(A[i + j * lda]);
    for (Index k = 0; k < std::min(m, n); ++k) {
        W* const column = work.data() + k * (m + 1);
        const W factor = reflect(column[0], column + 1, m - k - 1);
        tau[k] = static_cast<T>(factor);
        if (k + 1 < n)
            apply(conjugate_of(factor), column, m - k, in_columns(column + m, m - k, n - k - 1, m));
    }
    for (Index j = 0; j < n; ++j)
        for (Index i = 0; i < m; ++i)
            A[i + j * lda] = static_cast<T>(work[static_cast<std::size_t>(i + j * m)]);
}

template <class T>
void orgqr(T* A, Index m, Index n, Index lda, const T* tau) {
    using W = typename mpo::detail::WideOf<T>::type;
    std::vector<W> Q(static_cast<std::size_t>(m * n)), v(static_cast<std::size_t>(m));
    for (Index k = 0; k < n; ++k) Q[static_cast<std::size_t>(k * (m + 1))] = W{1};
    for (Index k = n; k-- > 0;) {
        for (Index i = k; i < m; ++i) v[static_cast<std::size_t>(i - k)] = W(A[i + k * lda]);
        apply(W(tau[k]), v.data(), m - k, in_columns(Q.data() + k * (m + 1), m - k, n - k, m));
    }
    for (Index j = 0; j < n; ++j)
        for (Index i = 0; i < m; ++i)
            A[i + j * lda] = static_cast<T>(Q[static_cast<std::size_t>(i + j * m)]);
}

/// True where all is finite: what NVIDIA's routines do with NaN is not documented, the worst is to say nothing.
template <class T>
bool finite(const T* A, Index m, Index n, Index lda) {
    for (Index j = 0; j < n; ++j)
        for (Index i = 0; i < m; ++i)
            if (!std::isfinite(std::abs(A[i + j * lda]))) return false;
    return true;
}

/// A = U diag(S) V^H, m >= n, with phases of its own choice; V^H where `adjoint`.
template <class T>
void svd(T* A, Index m, Index n, Index lda, Real<T>* S, T* U, Index ldu, T* V, Index ldv,
         bool adjoint) {
    if (!finite(A, m, n, lda)) return;
    std::vector<T> u(static_cast<std::size_t>(m * n)), vt(static_cast<std::size_t>(n * n));
    EigenOperations<T>::svd(in_columns<const T>(A, m, n, lda), in_columns(u.data(), m, n, m), S,
                            in_columns(vt.data(), n, n, n));
    for (Index k = 0; k < n; ++k) {
        const T factor = phase<T>(static_cast<std::uint64_t>(k * 31 + m));
        for (Index i = 0; i < m; ++i)
            U[i + k * ldu] = u[static_cast<std::size_t>(i + k * m)] * factor;
        for (Index j = 0; j < n; ++j) {
            const T x = vt[static_cast<std::size_t>(k + j * n)] * conjugate_of(factor);
            if (adjoint)
                V[k + j * ldv] = x;
            else
                V[j + k * ldv] = conjugate_of(x);
        }
    }
}

template <class T>
void syevd(T* A, Index n, Index lda, Real<T>* values) {
    std::vector<T> G(static_cast<std::size_t>(n * n));
    std::vector<Real<T>> lambda(static_cast<std::size_t>(n));
    for (Index j = 0; j < n; ++j)
        for (Index i = j; i < n; ++i) {
            G[static_cast<std::size_t>(i + j * n)] = A[i + j * lda];
            G[static_cast<std::size_t>(j + i * n)] = conjugate_of(A[i + j * lda]);
        }
    if (!finite(G.data(), n, n, n)) return;
    EigenOperations<T>::eigh(in_columns(G.data(), n, n, n), lambda.data());
    for (Index k = 0; k < n; ++k) {  // ascending
        const T factor = phase<T>(static_cast<std::uint64_t>(k * 37 + n));
        values[k] = lambda[static_cast<std::size_t>(n - 1 - k)];
        for (Index i = 0; i < n; ++i)
            A[i + k * lda] = G[static_cast<std::size_t>(i + (n - 1 - k) * n)] * factor;
    }
}

/// LAPACK's potrf of the lower triangle; what lies above is poisoned.
template <class T>
int potrf(T* A, Index n, Index lda) {
    using W = typename mpo::detail::WideOf<T>::type;
    int info = 0;
    for (Index j = 0; j < n && info == 0; ++j) {
        double pivot = std::real(A[j + j * lda]);
        for (Index q = 0; q < j; ++q) pivot -= std::norm(W(A[j + q * lda]));
        if (!(pivot > 0)) {
            info = static_cast<int>(j) + 1;
            break;
        }
        A[j + j * lda] = static_cast<T>(static_cast<Real<T>>(std::sqrt(pivot)));
        for (Index i = j + 1; i < n; ++i) {
            W sum = W(A[i + j * lda]);
            for (Index q = 0; q < j; ++q)
                sum -= W(A[i + q * lda]) * W(conjugate_of(A[j + q * lda]));
            A[i + j * lda] = static_cast<T>(sum / W(A[j + j * lda]));
        }
    }
    for (Index j = 0; j < n; ++j)
        for (Index i = 0; i < j; ++i) A[i + j * lda] = nan_of<T>();
    return info;
}

template <class T>
int getrf(T* A, Index m, Index n, Index lda, std::int64_t* pivots) {
    int info = 0;
    for (Index k = 0; k < std::min(m, n); ++k) {
        Index largest = k;
        for (Index i = k + 1; i < m; ++i)
            if (std::abs(A[i + k * lda]) > std::abs(A[largest + k * lda])) largest = i;
        pivots[k] = largest + 1;
        for (Index j = 0; j < n; ++j) std::swap(A[k + j * lda], A[largest + j * lda]);
        if (A[k + k * lda] == T{0}) {
            if (info == 0) info = static_cast<int>(k) + 1;
            continue;
        }
        for (Index i = k + 1; i < m; ++i) {
            const T factor = A[i + k * lda] /= A[k + k * lda];
            for (Index j = k + 1; j < n; ++j) A[i + j * lda] -= factor * A[k + j * lda];
        }
    }
    return info;
}

/// call(T{}) for the scalar of a data type.
template <class F>
cusolverStatus_t with_type(Machine& machine, cudaDataType type, const F& call) {
    switch (type) {
        case CUDA_R_32F:
            return call(float{});
        case CUDA_R_64F:
            return call(double{});
        case CUDA_C_32F:
            return call(std::complex<float>{});
        case CUDA_C_64F:
            return call(std::complex<double>{});
        default:
            machine.fault("no such data type");
            return refused;
    }
}

[[nodiscard]] cudaDataType real_type(cudaDataType type) {
    return type == CUDA_C_32F ? CUDA_R_32F : type == CUDA_C_64F ? CUDA_R_64F : type;
}

/// What every routine has to be given.
struct Routine {
    Call& call;
    cusolverDnHandle_t handle;
    std::uint64_t number;  // of its workspace
    Index m, n;
    void* room;
    std::size_t bytes;
    void* host;
    std::size_t host_bytes;
    int* info;
    LibraryState* state = nullptr;
    int* verdict = nullptr;

    [[nodiscard]] bool starts() {
        state = ready(call, handle);
        if (state == nullptr || !call.machine.require(m > 0 && n > 0, "an empty matrix"))
            return false;
        verdict = matrix_at<int>(call.machine, info, 1, 1, 1, "info");
        return verdict != nullptr &&
               takes_workspace(call.machine, state->stream, need_of(number, m, n), room, bytes,
                               host, host_bytes);
    }
};

cusolverStatus_t size_of_workspace(const char* name, cusolverDnHandle_t handle,
                                   std::uint64_t number, Index m, Index n, std::size_t* there,
                                   std::size_t* here) {
    Call call(name);
    if (call.told_to_fail()) return failed(call);
    if (ready(call, handle) == nullptr) return refused;
    const auto need = need_of(number, m, n);
    *there = need.device;
    *here = need.host;
    return done;
}

/// The same for routines that count elements and need nothing on the host.
template <class T>
cusolverStatus_t size_in_elements(const char* name, cusolverDnHandle_t handle, std::uint64_t number,
                                  Index m, Index n, int* size) {
    std::size_t there = 0, here = 0;
    const auto status = size_of_workspace(name, handle, number, m, n, &there, &here);
    if (status == done) *size = static_cast<int>(there / sizeof(T) + 1);
    return status;
}

template <class T>
cusolverStatus_t form_q(cusolverDnHandle_t handle, int m, int n, int k, void* A, int lda,
                        const void* tau, void* room, int size, int* info) {
    Call call("cusolverDn<t>orgqr");
    if (call.told_to_fail()) return failed(call);
    if (!call.machine.require(m >= n && n >= k && k == n,
                              "orgqr needs m >= n >= k; the fake, n = k"))
        return refused;
    char on_host[4096];
    Routine routine{
        call,    handle,         2,   m, n, room, static_cast<std::size_t>(size) * sizeof(T),
        on_host, sizeof on_host, info};
    if (!call.machine.require(need_of(2, m, n).host <= sizeof on_host,
                              "more columns than the fake takes") ||
        !routine.starts())
        return refused;
    auto* const a = matrix_at<T>(call.machine, A, m, n, lda, "A");
    auto* const t = matrix_at<T>(call.machine, tau, n, 1, n, "tau");
    if (a == nullptr || t == nullptr) return refused;
    call.machine.issue(routine.state->stream, [=, verdict = routine.verdict] {
        orgqr(a, m, n, lda, t);
        *verdict = 0;
    });
    return done;
}

template <class T>
cusolverStatus_t jacobi(cusolverDnHandle_t handle, cusolverEigMode_t mode, int econ, int m, int n,
                        void* A, int lda, void* S, void* U, int ldu, void* V, int ldv, void* room,
                        int size, int* info, gesvdjInfo_t params) {
    Call call("cusolverDn<t>gesvdj");
    if (call.told_to_fail()) return failed(call);
    auto& machine = call.machine;
    char on_host[4096];
    Routine routine{
        call,    handle,         4,   m, n, room, static_cast<std::size_t>(size) * sizeof(T),
        on_host, sizeof on_host, info};
    if (!machine.require(mode == CUSOLVER_EIG_MODE_VECTOR && econ == 1 && m >= n,
                         "a form of gesvdj that the fake lacks") ||
        !machine.require(need_of(4, m, n).host <= sizeof on_host,
                         "more columns than the fake takes") ||
        machine.find<EventState>(params, "params") == nullptr || !routine.starts())
        return refused;
    auto* const a = matrix_at<T>(machine, A, m, n, lda, "A");
    auto* const s = matrix_at<Real<T>>(machine, S, n, 1, n, "S");
    auto* const u = matrix_at<T>(machine, U, m, n, ldu, "U");
    auto* const v = matrix_at<T>(machine, V, n, n, ldv, "V");
    if (a == nullptr || s == nullptr || u == nullptr || v == nullptr) return refused;
    machine.issue(routine.state->stream,
                  [=, converges = machine.converges("gesvdj"), verdict = routine.verdict] {
                      if (converges) svd(a, m, n, lda, s, u, ldu, v, ldv, false);
                      destroy(in_columns(a, m, n, lda));
                      *verdict = converges ? 0 : n + 1;
                  });
    return done;
}

/// Handles without a life of their own.
template <class H>
cusolverStatus_t create(const char* name, H* handle) {
    Call call(name);
    if (call.told_to_fail()) return failed(call);
    *handle = call.machine.add<EventState, H>(new EventState);
    return done;
}
template <class H>
cusolverStatus_t remove(const char* name, H handle) {
    Call call(name, false);
    return call.machine.destroy<EventState>(handle, "handle") ? done : refused;
}

}  // namespace

extern "C" {

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t* handle) {
    Call call("cusolverDnCreate");
    if (call.told_to_fail()) {
        *handle = reinterpret_cast<cusolverDnHandle_t>(std::uintptr_t{0x10});  // as NVIDIA's does
        return CUSOLVER_STATUS_NOT_INITIALIZED;
    }
    *handle = call.machine.add<LibraryState, cusolverDnHandle_t>(new LibraryState);
    return done;
}

cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle) {
    Call call("cusolverDnDestroy", false);
    return call.machine.destroy<LibraryState>(handle, "handle") ? done : refused;
}

cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream) {
    Call call("cusolverDnSetStream");
    if (call.told_to_fail()) return failed(call);
    return call.machine.set_stream(handle, stream) != nullptr ? done : refused;
}

cusolverStatus_t cusolverDnSetDeterministicMode(cusolverDnHandle_t handle,
                                                cusolverDeterministicMode_t) {
    Call call("cusolverDnSetDeterministicMode");
    if (call.told_to_fail()) return failed(call);
    return call.machine.find<LibraryState>(handle, "handle") == nullptr ? refused : done;
}

cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t* params) {
    return create("cusolverDnCreateParams", params);
}
cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t params) {
    return remove("cusolverDnDestroyParams", params);
}
cusolverStatus_t cusolverDnCreateGesvdjInfo(gesvdjInfo_t* info) {
    return create("cusolverDnCreateGesvdjInfo", info);
}
cusolverStatus_t cusolverDnDestroyGesvdjInfo(gesvdjInfo_t info) {
    return remove("cusolverDnDestroyGesvdjInfo", info);
}

cusolverStatus_t cusolverDnXgeqrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t,
                                             std::int64_t m, std::int64_t n, cudaDataType,
                                             const void*, std::int64_t, cudaDataType, const void*,
                                             cudaDataType, std::size_t* there, std::size_t* here) {
    return size_of_workspace("cusolverDnXgeqrf_bufferSize", handle, 1, m, n, there, here);
}

cusolverStatus_t cusolverDnXgeqrf(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  std::int64_t m, std::int64_t n, cudaDataType type, void* A,
                                  std::int64_t lda, cudaDataType type_tau, void* tau,
                                  cudaDataType compute, void* room, std::size_t bytes, void* host,
                                  std::size_t host_bytes, int* info) {
    Call call("cusolverDnXgeqrf");
    if (call.told_to_fail()) return failed(call);
    Routine routine{call, handle, 1, m, n, room, bytes, host, host_bytes, info};
    auto& machine = call.machine;
    if (!machine.require(type == type_tau && type == compute, "types that do not go together") ||
        machine.find<EventState>(params, "params") == nullptr || !routine.starts())
        return refused;
    return with_type(machine, type, [&](auto scalar) {
        using T = decltype(scalar);
        auto* const a = matrix_at<T>(machine, A, m, n, lda, "A");
        auto* const t = matrix_at<T>(machine, tau, std::min(m, n), 1, std::min(m, n), "tau");
        if (a == nullptr || t == nullptr) return refused;
        machine.issue(routine.state->stream, [=, verdict = routine.verdict] {
            geqrf(a, m, n, lda, t);
            *verdict = 0;
        });
        return done;
    });
}

cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t,
                                             signed char, signed char, std::int64_t m,
                                             std::int64_t n, cudaDataType, const void*,
                                             std::int64_t, cudaDataType, const void*, cudaDataType,
                                             const void*, std::int64_t, cudaDataType, const void*,
                                             std::int64_t, cudaDataType, std::size_t* there,
                                             std::size_t* here) {
    return size_of_workspace("cusolverDnXgesvd_bufferSize", handle, 3, m, n, there, here);
}

cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  signed char jobu, signed char jobvt, std::int64_t m,
                                  std::int64_t n, cudaDataType type, void* A, std::int64_t lda,
                                  cudaDataType type_s, void* S, cudaDataType type_u, void* U,
                                  std::int64_t ldu, cudaDataType type_vt, void* VT,
                                  std::int64_t ldvt, cudaDataType compute, void* room,
                                  std::size_t bytes, void* host, std::size_t host_bytes,
                                  int* info) {
    Call call("cusolverDnXgesvd");
    if (call.told_to_fail()) return failed(call);
    Routine routine{call, handle, 3, m, n, room, bytes, host, host_bytes, info};
    auto& machine = call.machine;
    if (!machine.require(jobu == 'S' && jobvt == 'S', "jobs that the fake lacks") ||
        !machine.require(m >= n, "gesvd needs m >= n") ||
        !machine.require(
            type == type_u && type == type_vt && type == compute && type_s == real_type(type),
            "types that do not go together") ||
        machine.find<EventState>(params, "params") == nullptr || !routine.starts())
        return refused;
    return with_type(machine, type, [&](auto scalar) {
        using T = decltype(scalar);
        auto* const a = matrix_at<T>(machine, A, m, n, lda, "A");
        auto* const s = matrix_at<Real<T>>(machine, S, n, 1, n, "S");
        auto* const u = matrix_at<T>(machine, U, m, n, ldu, "U");
        auto* const vt = matrix_at<T>(machine, VT, n, n, ldvt, "VT");
        if (a == nullptr || s == nullptr || u == nullptr || vt == nullptr) return refused;
        machine.issue(routine.state->stream,
                      [=, converges = machine.converges("gesvd"), verdict = routine.verdict] {
                          if (converges) svd(a, m, n, lda, s, u, ldu, vt, ldvt, true);
                          destroy(in_columns(a, m, n, lda));
                          *verdict = converges ? 0 : 1;
                      });
        return done;
    });
}

cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t,
                                             cusolverEigMode_t, cublasFillMode_t, std::int64_t n,
                                             cudaDataType, const void*, std::int64_t, cudaDataType,
                                             const void*, cudaDataType, std::size_t* there,
                                             std::size_t* here) {
    return size_of_workspace("cusolverDnXsyevd_bufferSize", handle, 5, n, n, there, here);
}

cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  cusolverEigMode_t mode, cublasFillMode_t triangle, std::int64_t n,
                                  cudaDataType type, void* A, std::int64_t lda, cudaDataType type_w,
                                  void* W, cudaDataType compute, void* room, std::size_t bytes,
                                  void* host, std::size_t host_bytes, int* info) {
    Call call("cusolverDnXsyevd");
    if (call.told_to_fail()) return failed(call);
    Routine routine{call, handle, 5, n, n, room, bytes, host, host_bytes, info};
    auto& machine = call.machine;
    if (!machine.require(mode == CUSOLVER_EIG_MODE_VECTOR && triangle == CUBLAS_FILL_MODE_LOWER,
                         "a form of syevd that the fake lacks") ||
        !machine.require(type == compute && type_w == real_type(type),
                         "types that do not go together") ||
        machine.find<EventState>(params, "params") == nullptr || !routine.starts())
        return refused;
    return with_type(machine, type, [&](auto scalar) {
        using T = decltype(scalar);
        auto* const a = matrix_at<T>(machine, A, n, n, lda, "A");
        auto* const w = matrix_at<Real<T>>(machine, W, n, 1, n, "W");
        if (a == nullptr || w == nullptr) return refused;
        machine.issue(routine.state->stream,
                      [=, converges = machine.converges("syevd"), verdict = routine.verdict] {
                          if (converges)
                              syevd(a, n, lda, w);
                          else
                              destroy(in_columns(a, n, n, lda));
                          *verdict = converges ? 0 : 2;
                      });
        return done;
    });
}

cusolverStatus_t cusolverDnXpotrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t,
                                             cublasFillMode_t, std::int64_t n, cudaDataType,
                                             const void*, std::int64_t, cudaDataType,
                                             std::size_t* there, std::size_t* here) {
    return size_of_workspace("cusolverDnXpotrf_bufferSize", handle, 6, n, n, there, here);
}

cusolverStatus_t cusolverDnXpotrf(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  cublasFillMode_t triangle, std::int64_t n, cudaDataType type,
                                  void* A, std::int64_t lda, cudaDataType compute, void* room,
                                  std::size_t bytes, void* host, std::size_t host_bytes,
                                  int* info) {
    Call call("cusolverDnXpotrf");
    if (call.told_to_fail()) return failed(call);
    Routine routine{call, handle, 6, n, n, room, bytes, host, host_bytes, info};
    auto& machine = call.machine;
    if (!machine.require(triangle == CUBLAS_FILL_MODE_LOWER,
                         "the fake factors the lower triangle") ||
        !machine.require(type == compute, "types that do not go together") ||
        machine.find<EventState>(params, "params") == nullptr || !routine.starts())
        return refused;
    return with_type(machine, type, [&](auto scalar) {
        auto* const a = matrix_at<decltype(scalar)>(machine, A, n, n, lda, "A");
        if (a == nullptr) return refused;
        machine.issue(routine.state->stream,
                      [=, verdict = routine.verdict] { *verdict = potrf(a, n, lda); });
        return done;
    });
}

cusolverStatus_t cusolverDnXgetrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t,
                                             std::int64_t m, std::int64_t n, cudaDataType,
                                             const void*, std::int64_t, cudaDataType,
                                             std::size_t* there, std::size_t* here) {
    return size_of_workspace("cusolverDnXgetrf_bufferSize", handle, 7, m, n, there, here);
}

cusolverStatus_t cusolverDnXgetrf(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  std::int64_t m, std::int64_t n, cudaDataType type, void* A,
                                  std::int64_t lda, std::int64_t* pivots, cudaDataType compute,
                                  void* room, std::size_t bytes, void* host, std::size_t host_bytes,
                                  int* info) {
    Call call("cusolverDnXgetrf");
    if (call.told_to_fail()) return failed(call);
    Routine routine{call, handle, 7, m, n, room, bytes, host, host_bytes, info};
    auto& machine = call.machine;
    if (!machine.require(type == compute, "types that do not go together") ||
        machine.find<EventState>(params, "params") == nullptr || !routine.starts())
        return refused;
    const Index r = std::min(m, n);
    return with_type(machine, type, [&](auto scalar) {
        auto* const a = matrix_at<decltype(scalar)>(machine, A, m, n, lda, "A");
        auto* const p = matrix_at<std::int64_t>(machine, pivots, r, 1, r, "pivots");
        if (a == nullptr || p == nullptr) return refused;
        machine.issue(routine.state->stream,
                      [=, verdict = routine.verdict] { *verdict = getrf(a, m, n, lda, p); });
        return done;
    });
}

#define FAKE_CUDA_SOLVER_OF(S, QR, T, R)                                                          \
    cusolverStatus_t cusolverDn##S##QR##_bufferSize(cusolverDnHandle_t handle, int m, int n, int, \
                                                    const T*, int, const T*, int* size) {         \
        return size_in_elements<OursOf<T>>("cusolverDn<t>orgqr_bufferSize", handle, 2, m, n,      \
                                           size);                                                 \
    }                                                                                             \
    cusolverStatus_t cusolverDn##S##QR(cusolverDnHandle_t handle, int m, int n, int k, T* A,      \
                                       int lda, const T* tau, T* room, int size, int* info) {     \
        return form_q<OursOf<T>>(handle, m, n, k, A, lda, tau, room, size, info);                 \
    }                                                                                             \
    cusolverStatus_t cusolverDn##S##gesvdj_bufferSize(                                            \
        cusolverDnHandle_t handle, cusolverEigMode_t, int, int m, int n, const T*, int, const R*, \
        const T*, int, const T*, int, int* size, gesvdjInfo_t) {                                  \
        return size_in_elements<OursOf<T>>("cusolverDn<t>gesvdj_bufferSize", handle, 4, m, n,     \
                                           size);                                                 \
    }                                                                                             \
    cusolverStatus_t cusolverDn##S##gesvdj(                                                       \
        cusolverDnHandle_t handle, cusolverEigMode_t mode, int econ, int m, int n, T* A, int lda, \
        R* s, T* U, int ldu, T* V, int ldv, T* room, int size, int* info, gesvdjInfo_t params) {  \
        return jacobi<OursOf<T>>(handle, mode, econ, m, n, A, lda, s, U, ldu, V, ldv, room, size, \
                                 info, params);                                                   \
    }

FAKE_CUDA_SOLVER_OF(S, orgqr, float, float)
FAKE_CUDA_SOLVER_OF(D, orgqr, double, double)
FAKE_CUDA_SOLVER_OF(C, ungqr, cuComplex, float)
FAKE_CUDA_SOLVER_OF(Z, ungqr, cuDoubleComplex, double)
}

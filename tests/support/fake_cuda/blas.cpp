// cuBLAS of the fake machine.
#include "columns.hpp"
#include "mpo/core/dtype.hpp"

using namespace fake_cuda;

namespace {

using mpo::BatchView;
using mpo::detail::EigenOperations;

cublasStatus_t failed(Call& call) {
    return call.machine.fails_in_execution() ? CUBLAS_STATUS_EXECUTION_FAILED
                                             : CUBLAS_STATUS_ALLOC_FAILED;
}

constexpr auto refused = CUBLAS_STATUS_INVALID_VALUE;

/// The handle of a call that computes; null after a fault.
LibraryState* ready(Call& call, cublasHandle_t handle) {
    auto* const state = call.machine.find<LibraryState>(handle, "handle");
    if (state == nullptr) return nullptr;
    const bool fits =
        call.machine.require(state->stream != nullptr, "the handle has no stream") &&
        call.machine.require(state->workspace != nullptr,
                             "the handle has no workspace of its own (since its stream was set)") &&
        call.machine.host_of(state->workspace, state->workspace_bytes, "workspace") != nullptr;
    return fits ? state : nullptr;
}

struct Factor {
    cublasOperation_t op;
    const void* data;
    Index ld, stride;
};

bool is_operation(cublasOperation_t op) {
    return op == CUBLAS_OP_N || op == CUBLAS_OP_T || op == CUBLAS_OP_C;
}

/// What op(A) reads, (rows, cols), of what is stored.
template <class T>
MatrixView<const T> read_as(cublasOperation_t op, const T* data, Index rows, Index cols, Index ld) {
    if (op == CUBLAS_OP_N) return {data, rows, cols, 1, ld, mpo::Conjugation::none};
    const MatrixView<const T> A{data, cols, rows, 1, ld, mpo::Conjugation::none};
    return op == CUBLAS_OP_C ? mpo::adjoint(A) : mpo::transpose(A);
}

template <class T>
cublasStatus_t gemm(Call& call, cublasHandle_t handle, Index m, Index n, Index k, const void* alpha,
                    Factor A, Factor B, const void* beta, void* C, Index ldc, Index stride_c,
                    Index count) {
    auto& machine = call.machine;
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    const bool fits =
        machine.require(is_operation(A.op) && is_operation(B.op), "no such operation") &&
        machine.require(m > 0 && n > 0 && k > 0 && count > 0,
                        "an empty product: its result is not documented") &&
        machine.require(count <= 65535, "a batch beyond 65535 fails on some devices") &&
        machine.require(count == 1 || stride_c > 0, "the results of a batch overlap");
    const bool plain_a = A.op == CUBLAS_OP_N, plain_b = B.op == CUBLAS_OP_N;
    const auto* const a = number_at<const T>(machine, *state, alpha, "alpha");
    const auto* const b = number_at<const T>(machine, *state, beta, "beta");
    if (!fits || a == nullptr || b == nullptr) return refused;
    auto* const left =
        matrix_at<T>(machine, A.data, plain_a ? m : k, plain_a ? k : m, A.ld, "A", count, A.stride);
    auto* const right =
        matrix_at<T>(machine, B.data, plain_b ? k : n, plain_b ? n : k, B.ld, "B", count, B.stride);
    auto* const result = matrix_at<T>(machine, C, m, n, ldc, "C", count, stride_c);
    if (left == nullptr || right == nullptr || result == nullptr) return refused;
    const auto c = in_columns(result, m, n, ldc);
    if (!machine.require(
            !share_elements(c, in_columns(left, plain_a ? m : k, plain_a ? k : m, A.ld)) &&
                !share_elements(c, in_columns(right, plain_b ? k : n, plain_b ? n : k, B.ld)),
            "C overlaps A or B"))
        return refused;
    ++machine.statistics.products;
    char* const room = machine.host_of(state->workspace, state->workspace_bytes, "workspace");
    machine.issue(state->stream, [=, alpha_value = *a, beta_value = *b] {
        std::fill_n(room, 256, '\xff');  // products write into their workspace
        EigenOperations<T>::gemm_batched(
            alpha_value, BatchView<const T>{read_as<T>(A.op, left, m, k, A.ld), A.stride},
            BatchView<const T>{read_as<T>(B.op, right, k, n, B.ld), B.stride}, beta_value,
            BatchView<T>{c, stride_c}, count);
        for (Index i = 0; i < count; ++i) disturb(BatchView<T>{c, stride_c}[i]);
    });
    return CUBLAS_STATUS_SUCCESS;
}

/// Halves of either kind, sums in float; the result is of the same kind, or float.
cublasStatus_t gemm_of_halves(Call& call, cublasHandle_t handle, Index m, Index n, Index k,
                              const void* alpha, Factor A, Factor B, const void* beta, void* C,
                              cudaDataType type, cudaDataType type_c, Index ldc, Index stride_c,
                              Index count) {
    auto& machine = call.machine;
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    const auto* const a = number_at<const float>(machine, *state, alpha, "alpha");
    const auto* const b = number_at<const float>(machine, *state, beta, "beta");
    const bool plain_a = A.op == CUBLAS_OP_N, plain_b = B.op == CUBLAS_OP_N,
               wide = type_c == CUDA_R_32F;
    if (!machine.require(m > 0 && n > 0 && k > 0 && count > 0 && count <= 65535,
                         "sizes out of range") ||
        a == nullptr || b == nullptr ||
        !machine.require(*b == 0, "the fake overwrites results of halves"))
        return refused;
    const auto* const left = matrix_at<std::uint16_t>(machine, A.data, plain_a ? m : k,
                                                      plain_a ? k : m, A.ld, "A", count, A.stride);
    const auto* const right = matrix_at<std::uint16_t>(machine, B.data, plain_b ? k : n,
                                                       plain_b ? n : k, B.ld, "B", count, B.stride);
    void* const result =
        wide ? static_cast<void*>(matrix_at<float>(machine, C, m, n, ldc, "C", count, stride_c))
             : static_cast<void*>(
                   matrix_at<std::uint16_t>(machine, C, m, n, ldc, "C", count, stride_c));
    if (left == nullptr || right == nullptr || result == nullptr) return refused;
    ++machine.statistics.products;
    machine.issue(state->stream, [=, times = *a] {
        const auto value = [&](std::uint16_t x) {
            return type == CUDA_R_16F ? mpo::half_to_float(x) : mpo::bfloat16_to_float(x);
        };
        for (Index item = 0; item < count; ++item)
            for (Index j = 0; j < n; ++j)
                for (Index i = 0; i < m; ++i) {
                    float sum = 0;
                    for (Index q = 0; q < k; ++q)
                        sum +=
                            value(left[item * A.stride + (plain_a ? i + q * A.ld : q + i * A.ld)]) *
                            value(right[item * B.stride + (plain_b ? q + j * B.ld : j + q * B.ld)]);
                    const Index at = item * stride_c + i + j * ldc;
                    if (wide)
                        static_cast<float*>(result)[at] = times * sum;
                    else
                        static_cast<std::uint16_t*>(result)[at] =
                            type == CUDA_R_16F ? mpo::float_to_half(times * sum)
                                               : mpo::float_to_bfloat16(times * sum);
                }
    });
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t gemm_of(Call& call, cublasHandle_t handle, Index m, Index n, Index k,
                       const void* alpha, Factor A, cudaDataType type_a, Factor B,
                       cudaDataType type_b, const void* beta, void* C, cudaDataType type_c,
                       Index ldc, Index stride_c, Index count, cublasComputeType_t compute) {
    if (call.told_to_fail()) return failed(call);
    const bool in_float = compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    if (type_a == CUDA_R_16F || type_a == CUDA_R_16BF) {
        if (!call.machine.require(type_a == type_b && (type_c == type_a || type_c == CUDA_R_32F) &&
                                      compute == CUBLAS_COMPUTE_32F,
                                  "types that do not go together"))
            return CUBLAS_STATUS_NOT_SUPPORTED;
        return gemm_of_halves(call, handle, m, n, k, alpha, A, B, beta, C, type_a, type_c, ldc,
                              stride_c, count);
    }
    const bool fits = call.machine.require(type_a == type_b && type_b == type_c,
                                           "types that do not go together") &&
                      call.machine.require((type_a == CUDA_R_64F || type_a == CUDA_C_64F)
                                               ? compute == CUBLAS_COMPUTE_64F
                                               : in_float,
                                           "a compute type that does not go with the types");
    if (!fits) return CUBLAS_STATUS_NOT_SUPPORTED;
    switch (type_a) {
        case CUDA_R_32F:
            return gemm<float>(call, handle, m, n, k, alpha, A, B, beta, C, ldc, stride_c, count);
        case CUDA_R_64F:
            return gemm<double>(call, handle, m, n, k, alpha, A, B, beta, C, ldc, stride_c, count);
        case CUDA_C_32F:
            return gemm<std::complex<float>>(call, handle, m, n, k, alpha, A, B, beta, C, ldc,
                                             stride_c, count);
        case CUDA_C_64F:
            return gemm<std::complex<double>>(call, handle, m, n, k, alpha, A, B, beta, C, ldc,
                                              stride_c, count);
        default:
            return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

template <class T>
cublasStatus_t geam(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, Index m,
                    Index n, const void* alpha, const void* A, Index lda, const void* beta,
                    const void* B, Index ldb, void* C, Index ldc) {
    Call call("cublas<t>geam");
    if (call.told_to_fail()) return failed(call);
    auto& machine = call.machine;
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    const auto* const a = number_at<const T>(machine, *state, alpha, "alpha");
    const auto* const b = number_at<const T>(machine, *state, beta, "beta");
    if (a == nullptr || b == nullptr || !machine.require(m > 0 && n > 0, "an empty matrix"))
        return refused;
    const bool plain_a = op_a == CUBLAS_OP_N, plain_b = op_b == CUBLAS_OP_N, adds = *b != T{0};
    auto* const left = matrix_at<T>(machine, A, plain_a ? m : n, plain_a ? n : m, lda, "A");
    auto* const right = matrix_at<T>(machine, B, plain_b ? m : n, plain_b ? n : m, ldb, "B");
    auto* const result = matrix_at<T>(machine, C, m, n, ldc, "C");
    if (left == nullptr || right == nullptr || result == nullptr) return refused;
    const auto c = in_columns(result, m, n, ldc);
    const auto in_place = [&](const T* M, bool plain, Index ld) {
        return M == result && plain && ld == ldc;
    };
    const bool fits = in_place(left, plain_a, lda) ||
                      !share_elements(c, in_columns(left, plain_a ? m : n, plain_a ? n : m, lda));
    const bool fits_b =
        in_place(right, plain_b, ldb) ||
        !share_elements(c, in_columns(right, plain_b ? m : n, plain_b ? n : m, ldb));
    if (!machine.require(fits && fits_b, "C overlaps an operand")) return refused;
    machine.issue(state->stream, [=, alpha_value = *a, beta_value = *b] {
        const auto x = read_as<T>(op_a, left, m, n, lda), y = read_as<T>(op_b, right, m, n, ldb);
        const auto value = [](const MatrixView<const T>& M, Index i, Index j) {
            const T stored = M.data[i * M.row_stride + j * M.col_stride];
            return M.conjugation == mpo::Conjugation::conjugate ? conjugate_of(stored) : stored;
        };
        for (Index j = 0; j < n; ++j)
            for (Index i = 0; i < m; ++i) {
                T sum = alpha_value == T{1} ? value(x, i, j) : alpha_value * value(x, i, j);
                if (adds) sum += beta_value * value(y, i, j);
                result[i + j * ldc] = sum;
            }
    });
    return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t scal(cublasHandle_t handle, Index n, const void* alpha, void* x, Index step) {
    Call call("cublas<t>scal");
    if (call.told_to_fail()) return failed(call);
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    const auto* const a = number_at<const T>(call.machine, *state, alpha, "alpha");
    auto* const data = vector_at<T>(call.machine, x, n, step, "x");
    if (a == nullptr || data == nullptr) return refused;
    call.machine.issue(state->stream, [=, factor = *a] {
        for (Index i = 0; i < n; ++i) data[i * step] *= factor;
    });
    return CUBLAS_STATUS_SUCCESS;
}

/// y = alpha x + y, or y = x without alpha.
template <class T>
cublasStatus_t axpy(const char* name, cublasHandle_t handle, Index n, const void* alpha,
                    const void* x, Index step_x, void* y, Index step_y) {
    Call call(name);
    if (call.told_to_fail()) return failed(call);
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    static const T one{1};
    const auto* const a =
        alpha == nullptr ? &one : number_at<const T>(call.machine, *state, alpha, "alpha");
    auto* const from = vector_at<T>(call.machine, x, n, step_x, "x");
    auto* const to = vector_at<T>(call.machine, y, n, step_y, "y");
    if (a == nullptr || from == nullptr || to == nullptr) return refused;
    call.machine.issue(state->stream, [=, adds = alpha != nullptr, factor = *a] {
        for (Index i = 0; i < n; ++i)
            to[i * step_y] = adds ? factor * from[i * step_x] + to[i * step_y] : from[i * step_x];
    });
    return CUBLAS_STATUS_SUCCESS;
}

/// A result on the host is there when the call returns.
void deliver(Call& call, LibraryState& handle) {
    if (handle.pointers == Pointers::host) call.machine.wait(*handle.stream);
}

template <class T>
cublasStatus_t dot(cublasHandle_t handle, Index n, const void* x, Index step_x, const void* y,
                   Index step_y, void* result) {
    Call call("cublas<t>dot");
    if (call.told_to_fail()) return failed(call);
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    auto* const to = number_at<T>(call.machine, *state, result, "result");
    auto* const left = vector_at<T>(call.machine, x, n, step_x, "x");
    auto* const right = vector_at<T>(call.machine, y, n, step_y, "y");
    if (to == nullptr || left == nullptr || right == nullptr) return refused;
    call.machine.issue(state->stream, [=] {
        using Wide = typename mpo::detail::WideOf<T>::type;
        Wide sum{};
        for (Index i = 0; i < n; ++i)
            sum += Wide(conjugate_of(left[i * step_x])) * Wide(right[i * step_y]);
        *to = static_cast<T>(sum);
        disturb(in_columns(to, 1, 1, 1));
    });
    deliver(call, *state);
    return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t asum(cublasHandle_t handle, Index n, const void* x, Index step, void* result) {
    Call call("cublas<t>asum");
    if (call.told_to_fail()) return failed(call);
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    auto* const to = number_at<Real<T>>(call.machine, *state, result, "result");
    auto* const data = vector_at<T>(call.machine, x, n, step, "x");
    if (to == nullptr || data == nullptr) return refused;
    call.machine.issue(state->stream, [=] {
        Real<T> sum = 0;
        for (Index i = 0; i < n; ++i)
            sum += std::abs(std::real(data[i * step])) + std::abs(std::imag(data[i * step]));
        *to = sum;
    });
    deliver(call, *state);
    return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t amin(cublasHandle_t handle, Index n, const void* x, Index step,
                    std::int64_t* result) {
    Call call("cublasI<t>amin");
    if (call.told_to_fail()) return failed(call);
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    auto* const to = number_at<std::int64_t>(call.machine, *state, result, "result");
    auto* const data = vector_at<T>(call.machine, x, n, step, "x");
    if (to == nullptr || data == nullptr) return refused;
    call.machine.issue(state->stream, [=] {
        const auto size = [&](Index i) {
            return std::abs(std::real(data[i * step])) + std::abs(std::imag(data[i * step]));
        };
        Index least = 0;
        for (Index i = 1; i < n; ++i)
            if (size(i) < size(least)) least = i;
        *to = least + 1;
    });
    deliver(call, *state);
    return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t herk(cublasHandle_t handle, cublasFillMode_t triangle, cublasOperation_t op, Index n,
                    Index k, const void* alpha, const void* A, Index lda, const void* beta, void* C,
                    Index ldc) {
    Call call("cublas<t>herk");
    if (call.told_to_fail()) return failed(call);
    auto& machine = call.machine;
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    const bool plain = op == CUBLAS_OP_N;
    const auto* const a = number_at<const Real<T>>(machine, *state, alpha, "alpha");
    const auto* const b = number_at<const Real<T>>(machine, *state, beta, "beta");
    auto* const data = matrix_at<T>(machine, A, plain ? n : k, plain ? k : n, lda, "A");
    auto* const result = matrix_at<T>(machine, C, n, n, ldc, "C");
    const bool fits =
        machine.require(n > 0 && k > 0, "an empty product") &&
        machine.require(plain || op == (mpo::is_complex<T> ? CUBLAS_OP_C : CUBLAS_OP_T),
                        "herk takes N and C, syrk N and T");
    if (!fits || a == nullptr || b == nullptr || data == nullptr || result == nullptr)
        return refused;
    machine.issue(state->stream, [=, factor = *a, keep = *b] {
        std::vector<T> product(static_cast<std::size_t>(n * n));
        const auto X = read_as<T>(op, data, n, k, lda);
        const auto P = in_columns(product.data(), n, n, n);
        EigenOperations<T>::gemm_batched(T{factor}, {X, 0}, {mpo::adjoint(X), 0}, T{0}, {P, 0}, 1);
        disturb(P);
        for (Index j = 0; j < n; ++j)
            for (Index i = 0; i < n; ++i) {
                if (triangle == CUBLAS_FILL_MODE_LOWER ? i < j : i > j) continue;
                T x = product[static_cast<std::size_t>(i + j * n)];
                if (keep != 0) x += keep * result[i + j * ldc];
                result[i + j * ldc] = i == j ? T{std::real(x)} : x;
            }
    });
    return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t trsm(cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t triangle,
                    cublasOperation_t op, cublasDiagType_t diagonal, Index m, Index n,
                    const void* alpha, const void* A, Index lda, void* B, Index ldb) {
    Call call("cublas<t>trsm");
    if (call.told_to_fail()) return failed(call);
    auto& machine = call.machine;
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    const bool fits = machine.require(
        side == CUBLAS_SIDE_LEFT && op == CUBLAS_OP_N && diagonal == CUBLAS_DIAG_NON_UNIT,
        "a form of trsm that the fake lacks");
    const auto* const a = number_at<const T>(machine, *state, alpha, "alpha");
    auto* const factor = matrix_at<T>(machine, A, m, m, lda, "A");
    auto* const data = matrix_at<T>(machine, B, m, n, ldb, "B");
    if (!fits || a == nullptr || factor == nullptr || data == nullptr) return refused;
    if (!machine.require(
            !share_elements(in_columns(factor, m, m, lda), in_columns(data, m, n, ldb)),
            "A overlaps B"))
        return refused;
    machine.issue(state->stream, [=, times = *a] {
        const bool lower = triangle == CUBLAS_FILL_MODE_LOWER;
        for (Index j = 0; j < n; ++j)
            for (Index step = 0; step < m; ++step) {
                const Index i = lower ? step : m - 1 - step;
                T x = times * data[i + j * ldb];
                for (Index q = lower ? 0 : i + 1; q < (lower ? i : m); ++q)
                    x -= factor[i + q * lda] * data[q + j * ldb];
                data[i + j * ldb] = x / factor[i + i * lda];
            }
    });
    return CUBLAS_STATUS_SUCCESS;
}

/// Between a triangle in a matrix and the same one packed, column by column.
template <class T>
cublasStatus_t pack(const char* name, bool into_packed, cublasHandle_t handle,
                    cublasFillMode_t triangle, int n, const void* A, int lda, const void* packed) {
    Call call(name);
    if (call.told_to_fail()) return failed(call);
    auto* const state = ready(call, handle);
    if (state == nullptr) return refused;
    auto* const matrix = matrix_at<T>(call.machine, A, n, n, lda, "A");
    auto* const line =
        matrix_at<T>(call.machine, packed, Index{n} * (n + 1) / 2, 1, Index{n} * (n + 1) / 2, "AP");
    if (matrix == nullptr || line == nullptr) return refused;
    call.machine.issue(state->stream, [=] {
        Index at = 0;
        for (Index j = 0; j < n; ++j)
            for (Index i = triangle == CUBLAS_FILL_MODE_LOWER ? j : 0;
                 i < (triangle == CUBLAS_FILL_MODE_LOWER ? n : j + 1); ++i) {
                T &inside = matrix[i + j * lda], &outside = line[at++];
                into_packed ? outside = inside : inside = outside;
            }
    });
    return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
    Call call("cublasCreate");
    if (call.told_to_fail()) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = call.machine.add<LibraryState, cublasHandle_t>(new LibraryState);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    Call call("cublasDestroy", false);
    return call.machine.destroy<LibraryState>(handle, "handle") ? CUBLAS_STATUS_SUCCESS : refused;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
    Call call("cublasSetStream");
    if (call.told_to_fail()) return failed(call);
    auto* const state = call.machine.set_stream(handle, stream);
    if (state == nullptr) return refused;
    state->workspace = nullptr;  // back to the pool that all handles share
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, std::size_t bytes) {
    Call call("cublasSetWorkspace");
    if (call.told_to_fail()) return failed(call);
    auto* const state = call.machine.find<LibraryState>(handle, "handle");
    if (state == nullptr || call.machine.host_of(workspace, bytes, "workspace") == nullptr ||
        !call.machine.require(reinterpret_cast<std::uintptr_t>(workspace) % 256 == 0,
                              "workspace is not aligned"))
        return refused;
    state->workspace = workspace;
    state->workspace_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t mode) {
    Call call("cublasSetPointerMode", mode != CUBLAS_POINTER_MODE_HOST);
    if (call.told_to_fail()) return failed(call);
    auto* const state = call.machine.find<LibraryState>(handle, "handle");
    if (state == nullptr) return refused;
    state->pointers = mode == CUBLAS_POINTER_MODE_HOST ? Pointers::host : Pointers::device;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
    Call call("cublasSetMathMode");
    if (call.told_to_fail()) return failed(call);
    return call.machine.require(mode == CUBLAS_DEFAULT_MATH,
                                "a mode that may round float to TF32") &&
                   call.machine.find<LibraryState>(handle, "handle") != nullptr
               ? CUBLAS_STATUS_SUCCESS
               : refused;
}

const char* cublasGetStatusName(cublasStatus_t status) {
    switch (status) {
        case CUBLAS_STATUS_NOT_INITIALIZED:
            return "CUBLAS_STATUS_NOT_INITIALIZED";
        case CUBLAS_STATUS_ALLOC_FAILED:
            return "CUBLAS_STATUS_ALLOC_FAILED";
        case CUBLAS_STATUS_INVALID_VALUE:
            return "CUBLAS_STATUS_INVALID_VALUE";
        case CUBLAS_STATUS_EXECUTION_FAILED:
            return "CUBLAS_STATUS_EXECUTION_FAILED";
        default:
            return "another cublasStatus_t";
    }
}

const char* cublasGetStatusString(cublasStatus_t) {
    return "the fake device says so";
}

cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t op_a,
                               cublasOperation_t op_b, std::int64_t m, std::int64_t n,
                               std::int64_t k, const void* alpha, const void* A,
                               cudaDataType type_a, std::int64_t lda, const void* B,
                               cudaDataType type_b, std::int64_t ldb, const void* beta, void* C,
                               cudaDataType type_c, std::int64_t ldc, cublasComputeType_t compute,
                               cublasGemmAlgo_t) {
    Call call("cublasGemmEx");
    return gemm_of(call, handle, m, n, k, alpha, {op_a, A, lda, 0}, type_a, {op_b, B, ldb, 0},
                   type_b, beta, C, type_c, ldc, 0, 1, compute);
}

cublasStatus_t cublasGemmStridedBatchedEx_64(
    cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, std::int64_t m,
    std::int64_t n, std::int64_t k, const void* alpha, const void* A, cudaDataType type_a,
    std::int64_t lda, long long stride_a, const void* B, cudaDataType type_b, std::int64_t ldb,
    long long stride_b, const void* beta, void* C, cudaDataType type_c, std::int64_t ldc,
    long long stride_c, std::int64_t count, cublasComputeType_t compute, cublasGemmAlgo_t) {
    Call call("cublasGemmStridedBatchedEx");
    return gemm_of(call, handle, m, n, k, alpha, {op_a, A, lda, stride_a}, type_a,
                   {op_b, B, ldb, stride_b}, type_b, beta, C, type_c, ldc, stride_c, count,
                   compute);
}

// The typed triangle, once a scalar: letter, letter behind I or a norm, scalar of CUDA, its real type.
#define FAKE_CUDA_BLAS_OF(S, ASUM, DOT, HERK, T, R)                                                \
    cublasStatus_t cublas##S##geam_64(cublasHandle_t handle, cublasOperation_t op_a,               \
                                      cublasOperation_t op_b, std::int64_t m, std::int64_t n,      \
                                      const T* alpha, const T* A, std::int64_t lda, const T* beta, \
                                      const T* B, std::int64_t ldb, T* C, std::int64_t ldc) {      \
        return geam<OursOf<T>>(handle, op_a, op_b, m, n, alpha, A, lda, beta, B, ldb, C, ldc);     \
    }                                                                                              \
    cublasStatus_t cublas##S##scal_v2_64(cublasHandle_t handle, std::int64_t n, const T* alpha,    \
                                         T* x, std::int64_t step) {                                \
        return scal<OursOf<T>>(handle, n, alpha, x, step);                                         \
    }                                                                                              \
    cublasStatus_t cublas##S##axpy_v2_64(cublasHandle_t handle, std::int64_t n, const T* alpha,    \
                                         const T* x, std::int64_t step_x, T* y,                    \
                                         std::int64_t step_y) {                                    \
        return axpy<OursOf<T>>("cublas<t>axpy", handle, n, alpha, x, step_x, y, step_y);           \
    }                                                                                              \
    cublasStatus_t cublas##S##copy_v2_64(cublasHandle_t handle, std::int64_t n, const T* x,        \
                                         std::int64_t step_x, T* y, std::int64_t step_y) {         \
        return axpy<OursOf<T>>("cublas<t>copy", handle, n, nullptr, x, step_x, y, step_y);         \
    }                                                                                              \
    cublasStatus_t cublas##DOT##_v2_64(cublasHandle_t handle, std::int64_t n, const T* x,          \
                                       std::int64_t step_x, const T* y, std::int64_t step_y,       \
                                       T* result) {                                                \
        return dot<OursOf<T>>(handle, n, x, step_x, y, step_y, result);                            \
    }                                                                                              \
    cublasStatus_t cublas##ASUM##asum_v2_64(cublasHandle_t handle, std::int64_t n, const T* x,     \
                                            std::int64_t step, R* result) {                        \
        return asum<OursOf<T>>(handle, n, x, step, result);                                        \
    }                                                                                              \
    cublasStatus_t cublas##HERK##_v2_64(cublasHandle_t handle, cublasFillMode_t triangle,          \
                                        cublasOperation_t op, std::int64_t n, std::int64_t k,      \
                                        const R* alpha, const T* A, std::int64_t lda,              \
                                        const R* beta, T* C, std::int64_t ldc) {                   \
        return herk<OursOf<T>>(handle, triangle, op, n, k, alpha, A, lda, beta, C, ldc);           \
    }                                                                                              \
    cublasStatus_t cublas##S##trsm_v2_64(                                                          \
        cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t triangle,                   \
        cublasOperation_t op, cublasDiagType_t diagonal, std::int64_t m, std::int64_t n,           \
        const T* alpha, const T* A, std::int64_t lda, T* B, std::int64_t ldb) {                    \
        return trsm<OursOf<T>>(handle, side, triangle, op, diagonal, m, n, alpha, A, lda, B, ldb); \
    }                                                                                              \
    cublasStatus_t cublas##S##trttp(cublasHandle_t handle, cublasFillMode_t triangle, int n,       \
                                    const T* A, int lda, T* packed) {                              \
        return pack<OursOf<T>>("cublas<t>trttp", true, handle, triangle, n, A, lda, packed);       \
    }                                                                                              \
    cublasStatus_t cublas##S##tpttr(cublasHandle_t handle, cublasFillMode_t triangle, int n,       \
                                    const T* packed, T* A, int lda) {                              \
        return pack<OursOf<T>>("cublas<t>tpttr", false, handle, triangle, n, A, lda, packed);      \
    }

FAKE_CUDA_BLAS_OF(S, S, Sdot, Ssyrk, float, float)
FAKE_CUDA_BLAS_OF(D, D, Ddot, Dsyrk, double, double)
FAKE_CUDA_BLAS_OF(C, Sc, Cdotc, Cherk, cuComplex, float)
FAKE_CUDA_BLAS_OF(Z, Dz, Zdotc, Zherk, cuDoubleComplex, double)

#define FAKE_CUDA_AMIN_OF(S, T)                                                              \
    cublasStatus_t cublasI##S##amin_v2_64(cublasHandle_t handle, std::int64_t n, const T* x, \
                                          std::int64_t step, std::int64_t* result) {         \
        return amin<OursOf<T>>(handle, n, x, step, result);                                  \
    }

FAKE_CUDA_AMIN_OF(s, float)
FAKE_CUDA_AMIN_OF(d, double)
FAKE_CUDA_AMIN_OF(c, cuComplex)
FAKE_CUDA_AMIN_OF(z, cuDoubleComplex)
}

// What CUDA's libraries answer, as exceptions; and whether there is a device at all.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "mpo/core/error.hpp"
#include "mpo/core/tensor.hpp"

namespace mpo::cuda {
namespace detail {

/// Throws BackendError: call, sizes, status by name and number, and what the library says of it.
[[noreturn, gnu::cold]] inline void fail(const char* call, std::string_view name, int number,
                                         std::string_view words,
                                         std::initializer_list<Index> sizes) {
    mpo::detail::raise<BackendError>(
        {"CudaBackend: ", call, sizes.size() == 0 ? "" : " (",
         sizes.size() == 0 ? std::string() : mpo::detail::joined(Shape(sizes), ", "),
         sizes.size() == 0 ? "" : ")", ": ", name, " (", number, ")", words.empty() ? "" : ", ",
         words});
}

/// cuSOLVER has no function for the names of its statuses.
[[nodiscard]] inline std::string_view name_of(cusolverStatus_t status) {
    constexpr std::string_view names[] = {"CUSOLVER_STATUS_SUCCESS",
                                          "CUSOLVER_STATUS_NOT_INITIALIZED",
                                          "CUSOLVER_STATUS_ALLOC_FAILED",
                                          "CUSOLVER_STATUS_INVALID_VALUE",
                                          "CUSOLVER_STATUS_ARCH_MISMATCH",
                                          "CUSOLVER_STATUS_MAPPING_ERROR",
                                          "CUSOLVER_STATUS_EXECUTION_FAILED",
                                          "CUSOLVER_STATUS_INTERNAL_ERROR",
                                          "CUSOLVER_STATUS_MATRIX_TYPE_NOT_SUPPORTED",
                                          "CUSOLVER_STATUS_NOT_SUPPORTED",
                                          "CUSOLVER_STATUS_ZERO_PIVOT",
                                          "CUSOLVER_STATUS_INVALID_LICENSE"};
    const auto at = static_cast<std::size_t>(status);
    if (status == CUSOLVER_STATUS_INVALID_WORKSPACE) return "CUSOLVER_STATUS_INVALID_WORKSPACE";
    return at < std::size(names) ? names[at] : "an unknown cusolverStatus_t";
}

/// Throws BackendError unless the call succeeded. An error that does not stick is taken back, so that
/// nobody else finds it.
inline void check(cudaError_t status, const char* call, std::initializer_list<Index> sizes = {}) {
    if (status == cudaSuccess) return;
    (void)cudaGetLastError();
    fail(call, cudaGetErrorName(status), status, cudaGetErrorString(status), sizes);
}
inline void check(cublasStatus_t status, const char* call,
                  std::initializer_list<Index> sizes = {}) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    fail(call, cublasGetStatusName(status), status, cublasGetStatusString(status), sizes);
}
inline void check(cusolverStatus_t status, const char* call,
                  std::initializer_list<Index> sizes = {}) {
    if (status == CUSOLVER_STATUS_SUCCESS) return;
    fail(call, name_of(status), status, {}, sizes);
}

/// Throws ShapeError with the numbers unless `fits`.
[[gnu::cold]] inline void check_shape(bool fits, const char* operation, const char* rule,
                                      std::initializer_list<Index> sizes) {
    if (fits) return;
    mpo::detail::raise<ShapeError>({"CudaBackend::", operation, ": ", rule, ", got ",
                                    mpo::detail::joined(Shape(sizes), ", ")});
}

/// A size for an interface that counts in int. Throws BackendError where it does not fit.
[[nodiscard]] inline int to_int(Index size, const char* call) {
    if (size < 0 || size > (std::numeric_limits<int>::max)())
        mpo::detail::raise<BackendError>(
            {"CudaBackend: ", call, " counts in int, ", size, " is too large for it"});
    return static_cast<int>(size);
}

/// Devices, or what the driver said instead of a number.
struct DeviceCount {
    int devices = 0;                   // 0 unless status is cudaSuccess
    cudaError_t status = cudaSuccess;  // of cudaGetDeviceCount
};
[[nodiscard]] inline DeviceCount count_devices() {
    DeviceCount count;
    count.status = cudaGetDeviceCount(&count.devices);  // leaves the number alone where it fails
    if (count.status == cudaSuccess) return count;
    (void)cudaGetLastError();
    count.devices = 0;
    return count;
}

}  // namespace detail

/// Whether there is a driver and at least one device. Never throws.
[[nodiscard]] inline bool available() noexcept {
    return detail::count_devices().devices > 0;
}

/// Why available() is false, in the driver's words; empty where it is true.
[[nodiscard]] inline std::string why_unavailable() {
    const auto count = detail::count_devices();
    if (count.devices > 0) return {};
    const cudaError_t status = count.status == cudaSuccess ? cudaErrorNoDevice : count.status;
    return mpo::detail::concat("cudaGetDeviceCount: ", cudaGetErrorName(status), " (",
                               static_cast<int>(status), "), ", cudaGetErrorString(status));
}

}  // namespace mpo::cuda

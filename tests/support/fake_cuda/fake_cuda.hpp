// A CUDA device that is not there: the symbols of cudart, cuBLAS and cuSOLVER that CudaBackend calls, computed
// on the host, as a shared library for LD_PRELOAD.
//
// It cannot show: speed; TF32 and the order in which a real device adds; real workspace sizes; two streams at
// once; whether NVIDIA's libraries take and do what their manuals say; faults of a driver.
//
// It shows whether the backend keeps the contracts of those interfaces, because it is as strict as they allow:
//   - device pointers fault when the host touches them; every argument is checked for where it comes from and
//     where it ends; memory that was freed is never handed out again; what is left at the end is reported
//   - new memory holds NaN; what a routine may destroy is destroyed, triangles it may leave alone are poisoned
//   - streams do nothing before somebody waits; page-locked and pageable memory are read only then
//   - workspaces are used to the last byte asked for, and one byte less is refused
//   - singular and eigenvectors have random signs (phases), products are off by the last bit
//   - any call can be made to fail, iterations not to converge, devices to be missing
// A breach is a fault: the call does nothing and returns an error, and the process ends with status 99.
// It is built with the toolkit's own headers: a signature that is not theirs does not compile.
#pragma once

namespace fake_cuda {

/// What was done since the process started.
struct Statistics {
    long long bytes_to_device = 0, bytes_to_host = 0, bytes_on_device = 0;  // of copies
    long long launches = 0;  // whatever a device would have to start, copies too
    long long waits = 0;     // of the host for the device
    long long products = 0;  // multiplications of matrices, a batch is one
    long long live_blocks = 0, live_bytes = 0, live_handles = 0;
    long long peak_bytes = 0;
    long long calls = 0;  // that can be made to fail
};

}  // namespace fake_cuda

extern "C" {
void fake_cuda_statistics(fake_cuda::Statistics* statistics);
/// The n-th call from now on that can fail fails, 1 is the next one; 0: none. `execution`: as the device
/// does, else for lack of memory.
void fake_cuda_fail_call(long long n, int execution);
/// cudaGetDeviceCount: `error`, and where that is 0, `count`.
void fake_cuda_set_devices(int error, int count);
/// Whether the devices have memory pools.
void fake_cuda_set_pools(int has);
/// The next `times` runs of a routine ("gesvd", "gesvdj", "syevd") do not converge.
void fake_cuda_no_convergence(const char* routine, int times);
/// Faults so far as lines; they are forgotten. Valid until the next call.
const char* fake_cuda_take_faults();
}

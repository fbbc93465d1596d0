// The fake device notices what a real one would punish: every kind of breach, committed on purpose. On a real
// device there is nothing to see here.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <vector>

#include "mpo/cuda.hpp"
#include "support/catch.hpp"
#include "support/fake_cuda/control.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// The fault that `breach` leaves; empty where the fake saw none.
[[nodiscard]] std::string fault_of(const std::function<void()>& breach) {
    const auto& fake = *FakeDevice::get();
    REQUIRE(fake.take_faults().empty());
    breach();
    return fake.take_faults();
}

[[nodiscard]] bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// How a child that does this ends: its wait status.
[[nodiscard]] int child_status(const std::function<void()>& body) {
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        (void)freopen("/dev/null", "w", stderr);
        body();
        std::exit(0);  // with the last word of the fake
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return status;
}

/// Handles as CudaBackend has them, for calls of one's own.
struct Raw {
    CudaBackend backend;
    cudaStream_t stream = backend.stream();
    cublasHandle_t blas = nullptr;
    CudaBackend::Buffer<float> room = backend.allocate<float>(1024),
                               a = backend.allocate<float>(16), b = backend.allocate<float>(16),
                               c = backend.allocate<float>(16);
    float one = 1, zero = 0;
    Raw() {
        REQUIRE(cublasCreate(&blas) == CUBLAS_STATUS_SUCCESS);
        REQUIRE(cublasSetStream(blas, stream) == CUBLAS_STATUS_SUCCESS);
        REQUIRE(cublasSetWorkspace(blas, room.data(), 4096) == CUBLAS_STATUS_SUCCESS);
    }
    ~Raw() { (void)cublasDestroy(blas); }
    cublasStatus_t gemm(const float* A, std::int64_t lda, float* C, std::int64_t ldc,
                        cublasComputeType_t compute = CUBLAS_COMPUTE_32F) {
        return cublasGemmEx_64(blas, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, A, CUDA_R_32F, lda,
                               b.data(), CUDA_R_32F, 4, &zero, C, CUDA_R_32F, ldc, compute,
                               CUBLAS_GEMM_DEFAULT);
    }
};

}  // namespace

TEST_CASE("fake device: memory is guarded") {
    if (FakeDevice::get() == nullptr) return;
    Raw raw;
    const auto stale = [&] {
        auto gone = raw.backend.allocate<float>(16);
        return gone.data();
    }();
    std::vector<float> host(16);
    const auto copy = [&](void* to, const void* from, cudaMemcpyKind kind, std::size_t bytes = 64) {
        (void)cudaMemcpyAsync(to, from, bytes, kind, raw.stream);
    };
    CHECK(contains(fault_of([&] { copy(raw.a.data(), host.data(), cudaMemcpyDeviceToHost); }),
                   "wrong direction"));
    CHECK(contains(fault_of([&] { copy(raw.a.data(), host.data(), cudaMemcpyDefault); }),
                   "direction"));
    CHECK(contains(fault_of([&] { copy(raw.a.data() + 1, host.data(), cudaMemcpyHostToDevice); }),
                   "64 bytes from byte 4 of a block of 64"));
    CHECK(
        contains(fault_of([&] { copy(stale, host.data(), cudaMemcpyHostToDevice); }), "was freed"));
    CHECK(contains(fault_of([&] { (void)cudaFreeAsync(stale, raw.stream); }), "second time"));
    CHECK(contains(fault_of([&] { (void)cudaFreeAsync(raw.a.data() + 1, raw.stream); }),
                   "does not begin a block"));
    CHECK(contains(fault_of([&] { (void)cudaFreeAsync(host.data(), raw.stream); }),
                   "no device memory"));
    CHECK(contains(fault_of([&] { copy(raw.a.data(), raw.a.data(), cudaMemcpyDeviceToDevice); }),
                   "overlap"));
    Tensor<float> fresh({16});
    raw.backend.download(static_cast<const float*>(raw.backend.allocate<float>(16).data()),
                         fresh.view());
    for (Index k = 0; k < 16; ++k) CHECK(std::isnan(fresh(k)));
    // the host that touches device memory dies, in either direction
    for (const bool writes : {false, true}) {
        const int status = child_status([&] {
            volatile float* const p = raw.a.data();
            if (writes)
                *p = 1;
            else
                (void)*p;
        });
        CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV));
    }
}

TEST_CASE("fake device: streams do nothing before somebody waits") {
    if (FakeDevice::get() == nullptr) return;
    const CudaBackend backend;
    const auto there = backend.allocate<float>(1);
    void* pinned = nullptr;
    REQUIRE(cudaMallocHost(&pinned, 2 * sizeof(float)) == cudaSuccess);
    auto* const host = static_cast<float*>(pinned);
    const auto copy = [&](void* to, const void* from, cudaMemcpyKind kind) {
        REQUIRE(cudaMemcpyAsync(to, from, sizeof(float), kind, backend.stream()) == cudaSuccess);
    };
    host[0] = 1;
    copy(there.data(), host, cudaMemcpyHostToDevice);
    host[0] = 2;  // too early: the device has not read it yet, and will read this
    host[1] = 3;
    copy(host + 1, there.data(), cudaMemcpyDeviceToHost);
    CHECK(host[1] == 3);
    backend.synchronize();
    CHECK(host[1] == 2);
    REQUIRE(cudaFreeHost(pinned) == cudaSuccess);
}

TEST_CASE("fake device: products keep their contracts") {
    if (FakeDevice::get() == nullptr) return;
    Raw raw;
    const auto fault = [&](const std::function<void()>& breach) { return fault_of(breach); };
    CHECK(fault([&] { (void)raw.gemm(raw.a.data(), 4, raw.c.data(), 4); }).empty());
    CHECK(contains(fault([&] { (void)raw.gemm(raw.a.data(), 3, raw.c.data(), 4); }),
                   "ld 3 below 4 rows"));
    CHECK(contains(fault([&] { (void)raw.gemm(raw.a.data(), 5, raw.c.data(), 4); }),
                   "of a block of 64"));
    CHECK(contains(fault([&] { (void)raw.gemm(raw.a.data(), 4, raw.a.data(), 4); }), "overlaps"));
    CHECK(contains(
        fault([&] { (void)raw.gemm(raw.a.data(), 4, raw.c.data(), 4, CUBLAS_COMPUTE_64F); }),
        "compute type"));
    std::vector<float> host(16);
    CHECK(contains(fault([&] { (void)raw.gemm(host.data(), 4, raw.c.data(), 4); }),
                   "is host memory"));
    const auto batch = [&](std::int64_t count, long long stride) {
        (void)cublasGemmStridedBatchedEx_64(
            raw.blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &raw.one, raw.a.data(), CUDA_R_32F, 1, 0,
            raw.b.data(), CUDA_R_32F, 1, 0, &raw.zero, raw.c.data(), CUDA_R_32F, 1, stride, count,
            CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    };
    CHECK(contains(fault([&] { batch(65536, 1); }), "65535"));
    CHECK(contains(fault([&] { batch(2, 0); }), "overlap"));
    CHECK(contains(fault([&] { (void)cublasSscal_64(raw.blas, 4, raw.a.data(), raw.a.data(), 1); }),
                   "wrong side for the pointer mode"));
    (void)cublasSetStream(raw.blas, raw.stream);  // takes the workspace away
    CHECK(
        contains(fault([&] { (void)raw.gemm(raw.a.data(), 4, raw.c.data(), 4); }), "no workspace"));
}

TEST_CASE("fake device: factorisations keep their contracts") {
    if (FakeDevice::get() == nullptr) return;
    Raw raw;
    cusolverDnHandle_t solver = nullptr;
    cusolverDnParams_t params = nullptr;
    REQUIRE(cusolverDnCreate(&solver) == CUSOLVER_STATUS_SUCCESS);
    REQUIRE(cusolverDnSetStream(solver, raw.stream) == CUSOLVER_STATUS_SUCCESS);
    REQUIRE(cusolverDnCreateParams(&params) == CUSOLVER_STATUS_SUCCESS);
    const auto verdict = raw.backend.allocate<float>(1);
    auto* const info = reinterpret_cast<int*>(verdict.data());
    std::vector<char> host(4096);
    const auto svd = [&](std::int64_t m, std::int64_t n, std::size_t less_there,
                         std::size_t less_here) {
        std::size_t there = 0, here = 0;
        (void)cusolverDnXgesvd_bufferSize(solver, params, 'S', 'S', m, n, CUDA_R_32F, raw.a.data(),
                                          m, CUDA_R_32F, raw.b.data(), CUDA_R_32F, raw.c.data(), m,
                                          CUDA_R_32F, raw.c.data(), n, CUDA_R_32F, &there, &here);
        (void)cusolverDnXgesvd(solver, params, 'S', 'S', m, n, CUDA_R_32F, raw.a.data(), m,
                               CUDA_R_32F, raw.b.data(), CUDA_R_32F, raw.c.data(), m, CUDA_R_32F,
                               raw.room.data(), n, CUDA_R_32F, raw.room.data() + 64,
                               there - less_there, host.data(), here - less_here, info);
    };
    for (const auto* const block : {&raw.a, &raw.b, &raw.c})
        raw.backend.upload<float>(Tensor<float>({block->size()}).view(), block->data());
    CHECK(fault_of([&] { svd(4, 3, 0, 0); }).empty());
    CHECK(contains(fault_of([&] { svd(3, 4, 0, 0); }), "m >= n"));
    CHECK(contains(fault_of([&] { svd(4, 3, 1, 0); }), "a workspace of"));
    CHECK(contains(fault_of([&] { svd(4, 3, 0, 1); }), "a host workspace of"));
    raw.backend.synchronize();
    REQUIRE(cusolverDnDestroyParams(params) == CUSOLVER_STATUS_SUCCESS);
    REQUIRE(cusolverDnDestroy(solver) == CUSOLVER_STATUS_SUCCESS);
}

TEST_CASE("fake device: what was not given back is reported at the end") {
    if (FakeDevice::get() == nullptr) return;
    const auto leaves = [](int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; };
    CHECK(leaves(child_status([] { const CudaBackend backend; })) == 0);
    CHECK(leaves(child_status([] {
              void* memory = nullptr;
              (void)cudaMalloc(&memory, 8);
          })) == 99);
    CHECK(leaves(child_status([] {
              cublasHandle_t handle = nullptr;
              (void)cublasCreate(&handle);
          })) == 99);
    CHECK(leaves(child_status([] { (void)cudaFree(nullptr); })) == 99);  // a fault that nobody took
}

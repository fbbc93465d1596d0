// What CudaBackend promises beyond the concept: what crosses the bus, how many launches an operation takes, what
// becomes of failures, and that it is refused in words where there is no device.
#include <memory>
#include <thread>
#include <vector>

#include "mpo/cuda.hpp"
#include "mpo/linalg/orthonormalize.hpp"
#include "mpo/network/contract.hpp"
#include "mpo/network/decompose.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"
#include "support/fake_cuda/control.hpp"
#include "support/memory_conformance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

using T = float;
constexpr long long bytes_each = sizeof(T);

/// What the fake counted while `body` ran.
template <class F>
[[nodiscard]] fake_cuda::Statistics counted(const F& body) {
    const auto before = FakeDevice::get()->statistics();
    body();
    auto after = FakeDevice::get()->statistics();
    after.bytes_to_device -= before.bytes_to_device;
    after.bytes_to_host -= before.bytes_to_host;
    after.bytes_on_device -= before.bytes_on_device;
    after.launches -= before.launches;
    after.waits -= before.waits;
    after.products -= before.products;
    after.calls -= before.calls;
    return after;
}

[[nodiscard]] Mpo<T> small_mpo(const CudaBackend& backend) {
    return decompose(normal_tensor<T>({24, 30}, 81),
                     {.layout = {{4, 3, 2}, {5, 3, 2}}, .truncation = {.max_bond_dim = 7}}, backend)
        .mpo;
}

}  // namespace

TEST_CASE("cuda: apply moves X and Y across the bus, and nothing where they live on the device") {
    if (FakeDevice::get() == nullptr) return;
    const CudaBackend backend;
    const auto op = small_mpo(backend);
    for (const auto direction : {SweepDirection::right_to_left, SweepDirection::left_to_right}) {
        const auto plan = make_plan(op, {.batch = 50, .direction = direction}, backend);
        const auto X = normal_tensor<T>({50, 30}, 82);
        Tensor<T> Y({50, 24});
        const auto over_host = counted([&] { plan.apply(X, Y); });
        CHECK(over_host.bytes_to_device == X.size() * bytes_each);
        CHECK(over_host.bytes_to_host == Y.size() * bytes_each);
        CHECK(over_host.bytes_on_device == 0);
        CHECK(over_host.products == 3);  // one launch a core, whatever the batch: no permutation
        const auto x = detail::send<T>(X, backend);
        auto y = backend.allocate<T>(Y.size());
        plan.apply_resident(x.data(), y.data(), 50);  // its workspace is there from now on
        const auto resident = counted([&] { plan.apply_resident(x.data(), y.data(), 50); });
        CHECK(resident.bytes_to_device == 0);
        CHECK(resident.bytes_to_host == 0);
        CHECK(resident.bytes_on_device == 0);
        CHECK(resident.launches == 3);
        CHECK(resident.waits == 0);
        CHECK(naive::distance(detail::fetch<T>(y.data(), 50, 24, backend), Y) == 0);
    }
}

TEST_CASE("cuda: gradient moves X, dY, dX and the gradients of the cores") {
    if (FakeDevice::get() == nullptr) return;
    const CudaBackend backend;
    const auto op = small_mpo(backend);
    const auto plan = make_plan(op, {.batch = 9, .with_gradient = true}, backend);
    const auto X = normal_tensor<T>({9, 30}, 83), dY = normal_tensor<T>({9, 24}, 84);
    Tensor<T> dX({9, 30});
    std::vector<Tensor<T>> dcores;
    for (const auto& core : op.cores()) dcores.emplace_back(core.shape());
    const auto moved = counted([&] { plan.gradient(X, dY, dX, dcores); });
    CHECK(moved.bytes_to_device == (X.size() + dY.size()) * bytes_each);
    CHECK(moved.bytes_to_host == (dX.size() + op.num_parameters()) * bytes_each);
}

TEST_CASE("cuda: decompose moves W in and cores out, and small factors") {
    if (FakeDevice::get() == nullptr) return;
    const CudaBackend backend;
    const Index m = 96, n = 128;
    const auto W = normal_tensor<T>({m, n}, 85);
    const Layout layout{{12, 8}, {16, 8}};
    const Index rows = 12 * 16, columns = 8 * 8;  // of the one unfolding
    for (const auto method :
         {LowRankMethod::exact, LowRankMethod::gram, LowRankMethod::randomized}) {
        const Index rank = 6, sampled = 16;  // 6 + 10 rounded up to a multiple of 16
        Index cores = 0;
        int rounds = 0;
        const auto moved = counted([&] {
            const auto result = decompose(
                W, {.layout = layout, .truncation = {.max_bond_dim = rank}, .method = method},
                backend);
            cores = result.mpo.num_parameters();
            REQUIRE(result.report.methods.front() == method);
        });
        CAPTURE(to_string(method));
        rounds = 2 * 14;  // of randomized at most, two Cholesky QRs each, of up to 4 passes
        const long long numbers = 64;  // norms, verdicts, singular values: a few at a time
        long long in = W.size(), out = cores;
        if (method == LowRankMethod::exact) out += columns;  // singular values
        if (method == LowRankMethod::gram) {
            in += 2 * columns * (rank + 1);  // eigenvectors kept, twice
            in += 4 * columns * columns;     // triangular solves of the Cholesky QR
            out += columns * columns + 8 * (rank + 1) * (rank + 1) + columns;
        }
        if (method == LowRankMethod::randomized) {
            in += columns * sampled;                     // the test matrix
            in += (4 * rounds + 1) * sampled * sampled;  // triangular factors
            out += (8 * rounds + 1) * sampled * sampled;
        }
        CHECK(moved.bytes_to_device >= W.size() * bytes_each);
        CHECK(moved.bytes_to_device <= (in + numbers) * bytes_each);
        CHECK(moved.bytes_to_host >= cores * bytes_each);
        CHECK(moved.bytes_to_host <= (out + 64 * numbers) * bytes_each);
        CHECK(rows * columns == W.size());
    }
}

TEST_CASE("cuda: a permutation takes the launches it states") {
    const CudaBackend backend;
    const auto size = Index{1} << 12;
    const auto host = normal_tensor<T>({size}, 86);
    const auto from = detail::send<T>(host, backend);
    const auto to = backend.allocate<T>(size);
    const auto launches = [&](const TensorView<const T>& view) {
        const auto stated = CudaBackend::permute_launches(view);
        if (FakeDevice::get() == nullptr) return stated;
        const auto made = counted([&] { backend.permute<T>(view, to.data()); });
        CHECK(made.launches == stated);
        CHECK(made.waits == 0);
        return stated;
    };
    const auto view = [&](const Shape& shape) { return TensorView<const T>(from.data(), shape); };
    CHECK(launches(view({size})) == 1);
    CHECK(launches(permuted(view({64, 64}), {1, 0})) == 1);
    CHECK(launches(permuted(view({8, 32, 16}), {1, 0, 2})) ==
          8);  // runs of 16: the shorter side loops
    CHECK(launches(permuted(view({8, 32, 16}), {0, 2, 1})) == 8);  // 8 transposes
    // out and in legs of six sites apart: 1024 transposes at once, 48 launches one leg after another
    const auto legs = permuted(view(Shape(12, 2)), {0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11});
    CHECK(launches(legs) == 48);
    backend.permute<T>(legs, to.data());
    const TensorView<const T> same(host.data(), legs.shape, legs.strides);
    CHECK(naive::distance(detail::fetch<T>(to.data(), 1, size, backend).reshape({size}),
                          naive::widen(same).reshape({size})) == 0);
}

TEST_CASE("cuda: batches beyond 65535 are cut") {
    const CudaBackend backend;
    const Index count = 65535 + 3;
    const auto A = normal_tensor<T>({count}, 87);
    const auto a = detail::send<T>(A, backend);
    const auto b = detail::send<T>(Tensor<T>({1, 1}, {T(2)}), backend);
    const auto c = backend.allocate<T>(count);
    backend.gemm_batched(T{1}, BatchView<const T>{matrix<const T>(a.data(), 1, 1), 1},
                         BatchView<const T>{matrix<const T>(b.data(), 1, 1), 0}, T{0},
                         BatchView<T>{matrix(c.data(), 1, 1), 1}, count);
    const auto C = detail::fetch<T>(c.data(), 1, count, backend);
    double largest = 0;
    for (Index k = 0; k < count; ++k)
        largest = std::max<double>(largest, std::abs(C(0, k) - 2 * A(k)) / (1 + std::abs(A(k))));
    CHECK(largest <= tolerance<T>(1, 1));
}

TEST_CASE("cuda: what is larger than the staging memory arrives in parts, and so it comes back") {
    const CudaBackend backend(cuda::Options{.staging_bytes = 4096});
    conforms_copies<float>(backend);
    conforms_copies<std::complex<double>>(backend);
}

TEST_CASE("cuda: devices without memory pools will do") {
    if (FakeDevice::get() == nullptr) return;
    FakeDevice::get()->set_pools(false);
    {
        const CudaBackend backend;
        conforms_memory<float>(backend);
        conforms_qr<double>(backend);
    }
    FakeDevice::get()->set_pools(true);
}

TEST_CASE("cuda: a buffer outlives its backend, and moves") {
    auto backend = std::make_unique<CudaBackend>();
    auto first = backend->allocate<T>(5);
    backend.reset();
    {
        const CudaBackend other;
        first = other.allocate<T>(7);  // gives the old one back to a device that only it kept
    }
    CHECK(first.size() == 7);
}

TEST_CASE("cuda: one plan serves many threads, which take turns") {
    const CudaBackend backend;
    const auto op = small_mpo(backend);
    const auto plan = make_plan(op, {.batch = 4}, backend);
    const auto X = normal_tensor<T>({4, 30}, 88);
    Tensor<T> alone({4, 24});
    plan.apply(X, alone);
    std::vector<Tensor<T>> results(4, Tensor<T>({4, 24}));
    {
        std::vector<std::thread> callers;
        for (auto& mine : results)
            callers.emplace_back([&] {
                for (int repeat = 0; repeat < 5; ++repeat) plan.apply(X, mine);
            });
        for (auto& caller : callers) caller.join();
    }
    for (const auto& result : results) CHECK(naive::distance(result, alone) == 0);
}

TEST_CASE("cuda: both SVDs conform, and one steps in for the other") {
    const CudaBackend jacobi(cuda::Options{.svd = cuda::SvdDriver::jacobi});
    conforms_svd<float>(jacobi);
    conforms_svd<std::complex<double>>(jacobi);
    if (FakeDevice::get() == nullptr) return;
    const auto& fake = *FakeDevice::get();
    const CudaBackend backend;
    const auto a = normal_tensor<T>({9, 6}, 89);
    fake.no_convergence("gesvd", 1);
    check_svd(a, {}, {}, backend);
    fake.no_convergence("gesvdj", 1);
    check_svd(a, {}, {}, jacobi);
    fake.no_convergence("gesvd", 1);
    fake.no_convergence("gesvdj", 1);
    CHECK_THROWS_WITH(check_svd(a, {}, {}, backend),
                      "svd: neither gesvd nor gesvdj converged for a 9 x 6 matrix");
    fake.no_convergence("syevd", 1);
    const auto g = backend.allocate<T>(16);
    const auto values = backend.allocate<T>(4);
    backend.upload<T>(hermitian<T>({4, 3, 2, 1}, 90).view(), g.data());
    CHECK_THROWS_WITH(backend.eigh(matrix(g.data(), 4, 4), values.data()),
                      "eigh: syevd did not converge for a 4 x 4 matrix, info 2");
}

TEST_CASE(
    "cuda: every call may fail once: BackendError, nothing lost, and the next attempt succeeds") {
    if (FakeDevice::get() == nullptr) return;
    const auto& fake = *FakeDevice::get();
    const auto W = normal_tensor<T>({12, 12}, 91);
    const auto X = normal_tensor<T>({3, 12}, 92);
    const auto everything = [&] {
        const CudaBackend backend;
        for (const auto method : {LowRankMethod::exact, LowRankMethod::gram}) {
            const auto op =
                decompose(W, {.layout = {{4, 3}, {3, 4}}, .method = method}, backend).mpo;
            Tensor<T> Y({3, 12});
            make_plan(op, {.batch = 3}, backend).apply(X, Y);
        }
    };
    const auto calls = counted(everything).calls;
    REQUIRE(calls > 100);
    for (const bool in_execution : {false, true})
        for (long long n = 1; n <= calls; n += n < 60 ? 1 : 7) {
            CAPTURE(n, calls, in_execution);
            const auto before = fake.statistics();
            std::string message;
            fake.fail_call(n, in_execution);
            try {
                everything();
            } catch (const BackendError& error) {
                message = error.what();
            }
            fake.fail_call(0, false);
            const auto after = fake.statistics();
            CHECK(after.live_blocks == before.live_blocks);
            CHECK(after.live_handles == before.live_handles);
            CHECK(fake.take_faults().empty());
            // memory that was short once is asked for again; everything else is reported
            if (message.empty())
                CHECK(!in_execution);
            else
                CHECK(message.find("CudaBackend: cu") == 0);
        }
    everything();
}

TEST_CASE("cuda: without driver or device there is no backend, and the driver's words say why") {
    if (FakeDevice::get() == nullptr) return;
    const auto& fake = *FakeDevice::get();
    struct Missing {
        int error, count;
        std::string name;
    };
    for (const auto& [error, count, name] : {Missing{0, 0, "cudaErrorNoDevice (100)"},
                                             {35, 1, "cudaErrorInsufficientDriver (35)"},
                                             {100, 1, "cudaErrorNoDevice (100)"}}) {
        fake.set_devices(error, count);
        CHECK(!cuda::available());
        CHECK(cuda::why_unavailable() ==
              "cudaGetDeviceCount: " + name + ", the fake device says so");
        CHECK_THROWS_WITH(CudaBackend(), "CudaBackend: " + cuda::why_unavailable());
    }
    fake.set_devices(0, 1);
    CHECK(cudaGetLastError() == cudaSuccess);  // no error is left behind for others
    CHECK(cuda::available());
    CHECK(cuda::why_unavailable().empty());
    CHECK_THROWS_WITH(CudaBackend(cuda::Options{.device = 1}),
                      "CudaBackend: there is no device 1 of 1");
    CHECK_THROWS_AS(CudaBackend(cuda::Options{.device = -1}), BackendError);
    CHECK_THROWS_AS(CudaBackend(cuda::Options{.workspace_bytes = 0}), ArgumentError);
    CHECK_THROWS_AS(CudaBackend(cuda::Options{.staging_bytes = -1}), ArgumentError);
}

TEST_CASE("cuda: results cannot be conjugated views, strides must be those of columns or rows") {
    const CudaBackend backend;
    using C = std::complex<double>;
    const auto a = detail::send<C>(normal_tensor<C>({4, 4}, 93), backend);
    const auto c = backend.allocate<C>(64);
    const auto A = matrix<const C>(a.data(), 4, 4);
    CHECK_THROWS_AS(backend.gemm(C{1}, A, A, C{0}, adjoint(matrix(c.data(), 4, 4))), ArgumentError);
    const MatrixView<C> apart{c.data(), 4, 4, 8, 2, Conjugation::none};
    CHECK_THROWS_WITH(
        backend.gemm(C{1}, A, A, C{0}, apart),
        "CudaBackend::gemm: one stride must be 1, the other at least the extent, of 4 x 4 "
        "got 8, 2");
    auto L = lower_triangle<C>(3, 94);
    L(1, 1) = 0;
    const auto l = detail::send<C>(L, backend);
    CHECK_THROWS_WITH(backend.solve_triangular(Triangle::lower, matrix<const C>(l.data(), 3, 3),
                                               matrix(c.data(), 3, 3)),
                      Catch::Contains("solve_triangular"));
}

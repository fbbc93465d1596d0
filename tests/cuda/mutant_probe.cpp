// What run_mutants compiles against a backend with one fault: every operation once, judged by plain loops, on the
// fake device. Status 0 says that nothing was noticed.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "mpo/core/random.hpp"
#include "mpo/cuda.hpp"
#include "support/fake_cuda/control.hpp"

using namespace mpo;

namespace {

void expect(bool holds, const char* law) {
    if (holds) return;
    std::fprintf(stderr, "broken: %s\n", law);
    std::_Exit(1);
}

template <class T>
T conjugated(T x) {
    if constexpr (is_complex<T>)
        return std::conj(x);
    else
        return x;
}

template <class T>
Tensor<T> product(const Tensor<T>& A, const Tensor<T>& B) {
    Tensor<T> C({A.extent(0), B.extent(1)});
    for (Index i = 0; i < A.extent(0); ++i)
        for (Index j = 0; j < B.extent(1); ++j)
            for (Index k = 0; k < A.extent(1); ++k) C(i, j) += A(i, k) * B(k, j);
    return C;
}
template <class T>
Tensor<T> adjoint_of(const Tensor<T>& A) {
    Tensor<T> H({A.extent(1), A.extent(0)});
    for (Index i = 0; i < A.extent(0); ++i)
        for (Index j = 0; j < A.extent(1); ++j) H(j, i) = conjugated(A(i, j));
    return H;
}
template <class T>
bool close(const Tensor<T>& A, const Tensor<T>& B) {
    bool all = A.shape() == B.shape();
    for (Index n = 0; all && n < A.size(); ++n)
        all = std::abs(A.data()[n] - B.data()[n]) <= Real<T>(1e-3);  // not for NaN
    return all;
}
template <class T, class R>
Tensor<T> scaled_columns(Tensor<T> U, const Tensor<R>& values) {
    for (Index i = 0; i < U.extent(0); ++i)
        for (Index k = 0; k < U.extent(1); ++k) U(i, k) *= values(k);
    return U;
}

/// A matrix on the device, with room behind its rows.
template <class T>
struct There {
    There(const Tensor<T>& A, const CudaBackend& to)
        : backend(to), buffer(to.allocate<T>(A.extent(0) * (A.extent(1) + 2))), shape(A.shape()) {
        Tensor<T> wide({A.extent(0), A.extent(1) + 2});
        for (Index i = 0; i < A.extent(0); ++i)
            for (Index j = 0; j < A.extent(1); ++j) wide(i, j) = A(i, j);
        backend.upload<T>(wide.view(), buffer.data());
    }
    MatrixView<T> view() const { return {buffer.data(), shape[0], shape[1], shape[1] + 2, 1}; }
    MatrixView<const T> read() const { return view(); }
    Tensor<T> now() const {
        Tensor<T> wide({shape[0], shape[1] + 2}), A(shape);
        backend.download(static_cast<const T*>(buffer.data()), wide.view());
        for (Index i = 0; i < shape[0]; ++i)
            for (Index j = 0; j < shape[1]; ++j) A(i, j) = wide(i, j);
        return A;
    }
    const CudaBackend& backend;
    CudaBackend::Buffer<T> buffer;
    Shape shape;
};

template <class T>
Tensor<T> values_of(const CudaBackend::Buffer<T>& buffer, const CudaBackend& backend) {
    Tensor<T> values({buffer.size()});
    backend.download(static_cast<const T*>(buffer.data()), values.view());
    return values;
}

template <class T>
void products(const CudaBackend& backend) {
    const auto a = normal_tensor<T>({5, 4}, 1), b = normal_tensor<T>({4, 6}, 2);
    const There<T> A(a, backend), B(b, backend), C(Tensor<T>({5, 6}), backend);
    backend.gemm(T{1}, A.read(), B.read(), T{0}, C.view());
    expect(close(C.now(), product(a, b)), "gemm");
    const There<T> H(adjoint_of(a), backend);
    backend.gemm(T{1}, adjoint(H.read()), B.read(), T{0}, C.view());
    expect(close(C.now(), product(a, b)), "gemm of an adjoint");
    const There<T> Bh(adjoint_of(b), backend), Ct(Tensor<T>({6, 5}), backend);
    backend.gemm(T{1}, A.read(), adjoint(Bh.read()), T{0},
                 transpose(Ct.view()));  // conjugates in place
    Tensor<T> ct({6, 5});
    const auto ab = product(a, b);
    for (Index i = 0; i < 6; ++i)
        for (Index j = 0; j < 5; ++j) ct(i, j) = ab(j, i);
    expect(close(Ct.now(), ct), "gemm into a transpose, conjugated");
    backend.gemm(T{1}, block(A.read(), 0, 0, 5, 0), block(B.read(), 0, 0, 0, 6), T{0}, C.view());
    expect(close(C.now(), Tensor<T>({5, 6})), "gemm of nothing");
    const There<T> G(Tensor<T>({5, 5}), backend);
    backend.syrk(A.read(), G.view());
    const auto gram = G.now();
    expect(close(gram, product(a, adjoint_of(a))), "syrk");
    for (Index i = 0; i < 5; ++i)
        for (Index j = 0; j < 5; ++j)
            expect(gram(i, j) == conjugated(gram(j, i)), "syrk is Hermitian");
    auto sum = backend.allocate<T>(1);
    backend.dot(4, static_cast<const T*>(A.buffer.data()), static_cast<const T*>(A.buffer.data()),
                sum.data());
    T direct{};
    for (Index k = 0; k < 4; ++k) direct += conjugated(a(0, k)) * a(0, k);
    expect(std::abs(values_of(sum, backend)(0) - direct) < 1e-3, "dot");
}

template <class T>
void factorisations(const CudaBackend& backend) {
    for (const auto& [m, n] : {std::pair<Index, Index>{7, 4}, {4, 7}}) {
        const auto a = normal_tensor<T>({m, n}, 3);
        const Index r = std::min(m, n);
        const There<T> A(a, backend), U(Tensor<T>({m, r}), backend), Vt(Tensor<T>({r, n}), backend);
        const auto sigma = backend.allocate<Real<T>>(r);
        backend.svd(A.read(), U.view(), sigma.data(), Vt.view());
        const auto s = values_of(sigma, backend);
        expect(close(product(scaled_columns(U.now(), s), Vt.now()), a), "svd");
        expect(close(A.now(), a), "svd leaves its input");
        if (m < n) continue;
        const There<T> Q(a, backend), R(Tensor<T>({n, n}), backend);
        backend.qr(Q.view(), R.view());
        const auto triangle = R.now();
        expect(close(product(Q.now(), triangle), a), "qr");
        for (Index i = 0; i < n; ++i)
            for (Index j = 0; j < i; ++j) expect(triangle(i, j) == T{0}, "R is upper");
        std::vector<Index> pivots(static_cast<std::size_t>(n));
        backend.lu(There<T>(a, backend).view(), pivots.data());
        for (Index k = 0; k < n; ++k)
            expect(
                pivots[static_cast<std::size_t>(k)] >= k && pivots[static_cast<std::size_t>(k)] < m,
                "pivots");
    }
    const auto x = normal_tensor<T>({5, 9}, 4);
    const auto g = product(x, adjoint_of(x));
    const There<T> G(g, backend), L(g, backend), I(g, backend);
    const auto lambda = backend.allocate<Real<T>>(5);
    backend.eigh(G.view(), lambda.data());
    const auto values = values_of(lambda, backend);
    const auto V = G.now();
    expect(close(product(scaled_columns(V, values), adjoint_of(V)), g), "eigh");
    for (Index k = 1; k < 5; ++k) expect(values(k) <= values(k - 1), "eigenvalues fall");
    expect(backend.cholesky(L.view()) == 5, "cholesky succeeds");
    const auto l = L.now();
    expect(close(product(l, adjoint_of(l)), g), "cholesky");
    backend.solve_triangular(Triangle::lower, L.read(), I.view());  // L^-1 L L^H
    expect(close(I.now(), adjoint_of(l)), "solve_triangular");
    auto bad = g;
    bad(3, 3) = T{-1};
    expect(backend.cholesky(There<T>(bad, backend).view()) == 3, "cholesky finds the pivot");
}

void convergence(const CudaBackend& backend) {
    const auto a = normal_tensor<float>({6, 4}, 5);
    const There<float> A(a, backend), U(Tensor<float>({6, 4}), backend),
        Vt(Tensor<float>({4, 4}), backend);
    const auto sigma = backend.allocate<float>(4);
    test::FakeDevice::get()->no_convergence("gesvd", 1);
    backend.svd(A.read(), U.view(), sigma.data(), Vt.view());
    const auto s = values_of(sigma, backend);
    expect(close(product(scaled_columns(U.now(), s), Vt.now()), a), "gesvdj steps in");
    const std::vector<float> before(4096, 1);
    test::FakeDevice::get()->fail_call(1, true);
    bool thrown = false;
    try {
        backend.scale(4, 2.0F, sigma.data());
    } catch (const BackendError&) {
        thrown = true;
    }
    expect(thrown, "a failing call is noticed");
}

void copies(const CudaBackend& backend) {
    const auto host = normal_tensor<float>({6, 5000}, 6);  // in several parts
    const auto there = backend.allocate<float>(host.size());
    const TensorView<const float> view = host.view();
    backend.upload<float>(permuted(view, {1, 0}), there.data());
    Tensor<float> back({6, 5000});
    backend.download(static_cast<const float*>(there.data()), permuted(back.view(), {1, 0}));
    expect(close(back, host), "there and back");
    const auto turned = backend.allocate<float>(host.size());
    const Shape shape{50, 100, 6};
    for (const Shape& order :
         {Shape{1, 2, 0}, {1, 0, 2}, {2, 1, 0}}) {  // transposes, runs, planes apart
        const auto from = permuted(TensorView<const float>(there.data(), shape), order);
        backend.permute<float>(from, turned.data());
        Tensor<float> result(from.shape);
        backend.download(static_cast<const float*>(turned.data()), result.view());
        Index at[3] = {};
        for (at[0] = 0; at[0] < 50; ++at[0])
            for (at[1] = 0; at[1] < 100; ++at[1])
                for (at[2] = 0; at[2] < 6; ++at[2])
                    expect(result(at[order[0]], at[order[1]], at[order[2]]) ==
                               host(at[2], 100 * at[0] + at[1]),
                           "permute");
    }
    const TensorView<const float> apart(there.data(), {3, 10, 7},
                                        {1, 100, 1000});  // with gaps: planes
    backend.permute<float>(apart, turned.data());
    Tensor<float> planes({3, 10, 7});
    backend.download(static_cast<const float*>(turned.data()), planes.view());
    for (Index i = 0; i < 3; ++i)
        for (Index j = 0; j < 10; ++j)
            for (Index k = 0; k < 7; ++k) {
                const Index at = i + 100 * j + 1000 * k;
                expect(planes(i, j, k) == host(at % 6, at / 6), "permute with gaps");
            }
    const Index count = 70000;
    const auto x = backend.allocate<float>(count);
    backend.upload<float>(Tensor<float>({count}).view(), x.data());
    const auto y = backend.allocate<float>(count);
    backend.gemm_batched(1.0F, BatchView<const float>{matrix<const float>(x.data(), 1, 1), 1},
                         BatchView<const float>{matrix<const float>(x.data(), 1, 1), 0}, 0.0F,
                         BatchView<float>{matrix(y.data(), 1, 1), 1}, count);
    backend.synchronize();
}

}  // namespace

int main() {
    {
        const CudaBackend backend(cuda::Options{.staging_bytes = 32768});
        products<float>(backend);
        products<std::complex<double>>(backend);
        factorisations<float>(backend);
        factorisations<std::complex<double>>(backend);
        copies(backend);
        convergence(backend);
    }
    const auto faults = test::FakeDevice::get()->take_faults();
    expect(faults.empty(), "no fault");
    return 0;  // and now the fake says what was not given back
}

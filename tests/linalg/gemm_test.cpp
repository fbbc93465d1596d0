// The register tiles of every instruction set that this processor has, under the laws of a backend.
#include "mpo/impl/gemm_inl.hpp"
#include "mpo/impl/gram_inl.hpp"

#include "mpo/linalg/eigen_backend.hpp"
#include "support/catch.hpp"
#include "support/product_conformance.hpp"
#include "support/scalars.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// Products as a backend makes them, by the tiles of one instruction set; memory as EigenBackend.
class TileBackend {
  public:
    template <class T>
    using Buffer = EigenBackend::Buffer<T>;
    template <class T>
    using GramScalar = EigenBackend::GramScalar<T>;
    template <class T>
    struct Operand {
        Buffer<Real<T>> panels;
        Index rows = 0, cols = 0;
    };

    explicit TileBackend(detail::Isa isa) : isa_(isa) {}

    template <Scalar T>
    [[nodiscard]] Buffer<T> allocate(Index n) const {
        return host_.allocate<T>(n);
    }
    template <Scalar T>
    void upload(std::type_identity_t<TensorView<const T>> from, T* to) const {
        host_.upload<T>(from, to);
    }
    template <Scalar T>
    void download(const T* from, const TensorView<T>& to) const {
        host_.download(from, to);
    }
    template <Scalar T>
    void scale(Index n, T alpha, T* x) const {
        host_.scale(n, alpha, x);
    }
    void synchronize() const {}

    template <Scalar T>
    void gemm(T alpha, MatrixView<const T> A, MatrixView<const T> B, T beta,
              MatrixView<T> C) const {
        detail::gemm_shared(alpha, A, BatchView<const T>{B, 0}, beta, BatchView<T>{C, 0}, 1, isa_);
    }
    template <Scalar T>
    void gemm_batched(T alpha, BatchView<const T> A, BatchView<const T> B, T beta, BatchView<T> C,
                      Index count) const {
        if (A.stride == 0) return detail::gemm_shared(alpha, A.first, B, beta, C, count, isa_);
        for (Index i = 0; i < count; ++i) gemm(alpha, A[i], B[i], beta, C[i]);
    }
    template <Scalar T>
    [[nodiscard]] Operand<T> prepare(Side side, MatrixView<const T> A) const {
        detail::Product<T, T> product{T{1}, {}, {}, {}, 1, &detail::kernel_set<Real<T>>(isa_)};
        if (side == Side::left) {
            product.A = A;
            Operand<T> operand{Buffer<Real<T>>(product.prepared_a_size()), A.rows, A.cols};
            product.prepare_a(operand.panels.data());
            return operand;
        }
        product.A.cols = A.rows;
        product.B.first = A;
        Operand<T> operand{Buffer<Real<T>>(product.prepared_b_size()), A.rows, A.cols};
        product.prepare_b(operand.panels.data());
        return operand;
    }
    template <Scalar T>
    void gemm_left(const Operand<T>& A, BatchView<const T> B, T beta, BatchView<T> C,
                   Index count) const {
        detail::Product<T, T> product{T{1},  matrix<const T>(nullptr, A.rows, A.cols), B, C,
                                      count, &detail::kernel_set<Real<T>>(isa_)};
        product.prepared_a = A.panels.data();
        detail::multiply(product, beta);
    }
    template <Scalar T>
    void gemm_right(MatrixView<const T> A, const Operand<T>& B, T beta, MatrixView<T> C) const {
        detail::Product<T, T> product{T{1},   A, {matrix<const T>(nullptr, B.rows, B.cols), 0},
                                      {C, 0}, 1, &detail::kernel_set<Real<T>>(isa_)};
        product.prepared_b = B.panels.data();
        detail::multiply(product, beta);
    }
    template <Scalar T>
    void syrk(MatrixView<const T> A, MatrixView<GramScalar<T>> G) const {
        detail::gram(A, G, isa_);
    }

  private:
    EigenBackend host_;
    detail::Isa isa_;
};

template <class T>
void check_tiles(detail::Isa isa) {
    const TileBackend backend(isa);
    conforms_gemm<T>(backend);
    conforms_gemm_batched<T>(backend);
    conforms_prepared<T>(backend);
    conforms_syrk<T>(backend);
}

/// Rows of A that are contiguous are read where they are, others packed: the same sums in the same order.
template <class T>
void check_rows_in_place(detail::Isa isa) {
    const Index page = 4096 / static_cast<Index>(sizeof(T));
    for (const Index m : {1, 5, 12, 13, 31})
        for (const Index k : {15, 16, 40, 600})
            for (const Index n : {3, 17, 70})
                for (const Index stride : {k + 3, (k + page - 1) / page * page}) {
                    const auto rows = normal_tensor<T>({m, stride}, 7);
                    const auto right = normal_tensor<T>({k, n}, 8);
                    Tensor<T> columns({k, m}), in_place({m, n}), packed({m, n}), twice({m, n});
                    for (Index i = 0; i < m; ++i)
                        for (Index p = 0; p < k; ++p)
                            columns.data()[p * m + i] = rows.data()[i * stride + p];
                    const MatrixView<const T> A{rows.data(), m, k, stride, 1},
                        same{columns.data(), m, k, 1, m}, B = as_matrix(right.view());
                    const auto multiply = [&](T alpha, MatrixView<const T> left, Tensor<T>& C) {
                        detail::gemm_shared(alpha, left, BatchView<const T>{B, 0}, T{0},
                                            BatchView<T>{as_matrix(C.view()), 0}, 1, isa);
                    };
                    multiply(1, A, in_place), multiply(1, same, packed), multiply(2, A, twice);
                    for (Index i = 0; i < m * n; ++i) {
                        INFO(m << " x " << k << " x " << n << ", rows " << stride << " apart");
                        REQUIRE(in_place.data()[i] == packed.data()[i]);
                        REQUIRE(twice.data()[i] == 2 * packed.data()[i]);
                    }
                }
}

}  // namespace

TEMPLATE_TEST_CASE("rows that tiles read in place", "", float, double) {
    for (const auto isa : {detail::Isa::generic, detail::Isa::avx2, detail::Isa::avx512})
        if (isa <= detail::best_isa()) check_rows_in_place<TestType>(isa);
}

TEMPLATE_LIST_TEST_CASE("generic tiles conform", "", EveryScalar) {
    check_tiles<TestType>(detail::Isa::generic);
}

TEMPLATE_LIST_TEST_CASE("AVX2 tiles conform", "", EveryScalar) {
    if (detail::best_isa() != detail::Isa::generic)
        check_tiles<TestType>(detail::Isa::avx2);
    else
        WARN("not run: this processor has no AVX2");
}

TEMPLATE_LIST_TEST_CASE("AVX-512 tiles conform", "", EveryScalar) {
    if (detail::best_isa() == detail::Isa::avx512)
        check_tiles<TestType>(detail::Isa::avx512);
    else
        WARN("not run: this processor has no AVX-512");
}

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

}  // namespace

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

// Every backend, every scalar, every operation of the concept against plain loops.
#include "mpo/linalg/backend.hpp"

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/factorisation_conformance.hpp"
#include "support/memory_conformance.hpp"
#include "support/product_conformance.hpp"

using namespace mpo;
using namespace mpo::test;

TEMPLATE_LIST_TEST_CASE("backend: memory, copies and vectors", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    static_assert(BackendFor<typename TestType::Backend, T>);
    conforms_memory<T>(backend);
    conforms_copies<T>(backend);
    conforms_vectors<T>(backend);
}

TEMPLATE_LIST_TEST_CASE("backend: products", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    conforms_gemm<T>(backend);
    conforms_gemm_batched<T>(backend);
    conforms_prepared<T>(backend);
    conforms_syrk<T>(backend);
}

TEMPLATE_LIST_TEST_CASE("backend: factorisations", "", BackendCases) {
    using T = typename TestType::T;
    using B = typename TestType::Backend;
    const B backend;
    conforms_qr<T>(backend);
    conforms_svd<T>(backend);
    conforms_eigh<GramScalar<B, T>>(backend);
    conforms_cholesky<T>(backend);
    conforms_solve_triangular<T>(backend);
    conforms_lu<T>(backend);
}

TEMPLATE_LIST_TEST_CASE("backend: what cannot be done is refused", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    refuses_shapes<T>(backend);
    refuses_non_finite<T>(backend);
}

// Every operation on chains is the operation on matrices.
#include "mpo/network/algebra.hpp"

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/matrices.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

template <class T>
T some_scalar() {
    if constexpr (is_complex<T>)
        return T(Real<T>(-0.75), Real<T>(1.5));
    else
        return T(-0.75);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("to_dense and element read the matrix", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [layout, bonds] : awkward_chains()) {
        CAPTURE(to_string(layout), to_string(bonds));
        const auto mpo = random_mpo<T>(layout, bonds, 1);
        const auto W = naive::to_dense(mpo);
        const double allowed = sweep_rounding(mpo, naive::norm(W));
        CHECK(naive::distance(to_dense(mpo, backend), W) <= allowed);
        for (Index i = 0; i < mpo.rows(); ++i)
            for (Index j = 0; j < mpo.cols(); ++j)
                CHECK(std::abs(static_cast<Wide<T>>(element(mpo, i, j)) - W(i, j)) <= allowed);
    }
}

TEMPLATE_LIST_TEST_CASE("add and scale are linear combinations", "", BackendCases) {
    using T = typename TestType::T;
    const T alpha = some_scalar<T>();
    for (const auto& [layout, bonds] : awkward_chains()) {
        CAPTURE(to_string(layout), to_string(bonds));
        const auto A = random_mpo<T>(layout, bonds, 2);
        const auto B = random_mpo<T>(layout, uniform_bonds(layout, 3), 3);
        const auto a = naive::to_dense(A), b = naive::to_dense(B);
        const double allowed = sweep_rounding(A, naive::norm(a) + naive::norm(b));
        const auto sum = add(A, scale(B, alpha));
        CHECK(naive::distance(naive::to_dense(sum),
                              naive::combination<Wide<T>>(1, a, static_cast<Wide<T>>(alpha), b)) <=
              allowed * (1 + std::abs(alpha)));
        for (Index k = 1; k < A.num_sites(); ++k)
            CHECK(sum.bond_dim(k) == A.bond_dim(k) + B.bond_dim(k));
        CHECK(naive::norm(naive::to_dense(add(A, scale(A, T(-1))))) <= allowed);
        CHECK(naive::norm(naive::to_dense(scale(A, T(0)))) == 0);
    }
}

TEMPLATE_LIST_TEST_CASE("transpose, conjugate and adjoint only move numbers", "", BackendCases) {
    using T = typename TestType::T;
    for (const auto& [layout, bonds] : awkward_chains()) {
        CAPTURE(to_string(layout), to_string(bonds));
        const auto mpo = random_mpo<T>(layout, bonds, 4);
        const auto W = naive::to_dense(mpo);
        CHECK(transpose(mpo).layout() == transposed(layout));
        CHECK(naive::distance(naive::to_dense(transpose(mpo)), naive::transpose(W)) == 0);
        CHECK(naive::distance(naive::to_dense(conjugate(mpo)), naive::conjugate(W)) == 0);
        CHECK(naive::distance(naive::to_dense(adjoint(mpo)), naive::adjoint(W)) == 0);
    }
}

TEMPLATE_LIST_TEST_CASE("the canonical form survives what keeps cores orthonormal", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto mpo = random_mpo<T>({{2, 3, 2}, {3, 2, 2}}, {1, 5, 4, 1}, 5);
    for (Index center = 0; center < 3; ++center) {
        const auto gauged = move_center(mpo, center, backend);
        for (const auto& same : {transpose(gauged), conjugate(gauged), adjoint(gauged),
                                 scale(gauged, some_scalar<T>())}) {
            CHECK(same.canonical_form() == gauged.canonical_form());
            CHECK(same.orthogonality_center() == center);
            CHECK(naive::canonical_defect(same) <= sweep_rounding(mpo, 1));
        }
        CHECK(add(gauged, gauged).canonical_form() == CanonicalForm::none);
        CHECK(compose(gauged, adjoint(gauged), backend).canonical_form() == CanonicalForm::none);
    }
}

TEMPLATE_LIST_TEST_CASE("compose is the matrix product", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    struct Pair {
        Chain a, b;
    };
    const std::vector<Pair> pairs = {
        {{{{3}, {5}}, {1, 1}}, {{{5}, {2}}, {1, 1}}},
        {{{{2, 3}, {4, 1}}, {1, 3, 1}}, {{{4, 1}, {1, 7}}, {1, 2, 1}}},
        {{{{2, 1, 3}, {3, 2, 2}}, {1, 2, 5, 1}}, {{{3, 2, 2}, {1, 5, 1}}, {1, 3, 2, 1}}},
        {{{Shape(12, 1), Shape(12, 1)}, Shape(13, 1)},
         {{Shape(12, 1), Shape(12, 2)}, Shape(13, 1)}},
    };
    for (const auto& [a, b] : pairs) {
        CAPTURE(to_string(a.layout), to_string(b.layout));
        const auto A = random_mpo<T>(a.layout, a.bonds, 6);
        const auto B = random_mpo<T>(b.layout, b.bonds, 7);
        const auto C = compose(A, B, backend);
        const auto Wa = naive::to_dense(A), Wb = naive::to_dense(B);
        CHECK(C.layout() == Layout{a.layout.out, b.layout.in});
        for (Index k = 0; k <= C.num_sites(); ++k)
            CHECK(C.bond_dim(k) == A.bond_dim(k) * B.bond_dim(k));
        CHECK(naive::distance(naive::to_dense(C), naive::product(Wa, Wb)) <=
              sweep_rounding(C, naive::norm(Wa) * naive::norm(Wb)));
    }
}

TEMPLATE_LIST_TEST_CASE("inner and norm are those of the matrices", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [layout, bonds] : awkward_chains()) {
        CAPTURE(to_string(layout), to_string(bonds));
        const auto A = random_mpo<T>(layout, bonds, 8);
        const auto B = random_mpo<T>(layout, uniform_bonds(layout, 2), 9);
        const auto a = naive::to_dense(A), b = naive::to_dense(B);
        const double size = naive::norm(a);
        CHECK(std::abs(static_cast<Wide<T>>(inner(A, B, backend)) - naive::inner(a, b)) <=
              sweep_rounding(A, size * naive::norm(b)));
        CHECK(std::abs(norm(A, backend) - size) <= sweep_rounding(A, size));
        CHECK(std::abs(inner(A, A, backend) - static_cast<Real<T>>(size * size)) <=
              sweep_rounding(A, size * size));
        for (Index center = 0; center < A.num_sites(); ++center)
            CHECK(std::abs(norm(move_center(A, center, backend), backend) - size) <=
                  sweep_rounding(A, size));
    }
}

TEMPLATE_LIST_TEST_CASE("norm of a difference is right far below sqrt(eps)", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto A = random_mpo<T>({{3, 2, 4}, {2, 5, 2}}, {1, 6, 7, 1}, 10);
    const auto [B, report] = truncate(A, {.max_bond_dim = 3}, backend);
    const auto difference = add(A, scale(B, T(-1)));
    const double size = norm(A, backend);
    CHECK(std::abs(norm(difference, backend) - report.relative_error * size) <=
          sweep_rounding(A, size));
    CHECK(norm(add(A, scale(A, T(-1))), backend) <= sweep_rounding(A, size));
}

TEMPLATE_LIST_TEST_CASE("algebra refuses what does not fit", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto A = random_mpo<T>({{2, 3}, {3, 2}}, {1, 4, 1}, 11);
    const auto B = random_mpo<T>({{3, 2}, {3, 2}}, {1, 4, 1}, 12);
    CHECK_THROWS_AS(add(A, B), ShapeError);
    CHECK_THROWS_WITH(add(A, B),
                      "add: both must have the same layout, got 2x3 : 3x2 and 3x2 : 3x2");
    CHECK_THROWS_AS(inner(A, B, backend), ShapeError);
    CHECK_THROWS_WITH(compose(A, A, backend),
                      "compose: the in legs of A must equal the out legs of B, got 2x3 : 3x2 and "
                      "2x3 : 3x2");
    CHECK_THROWS_AS(compose(A, A, backend), ShapeError);
    CHECK_THROWS_WITH(element(A, 6, 0), "element: (6, 0) is outside a matrix of 6 x 6");
    for (const auto& [row, col] : {std::pair<Index, Index>{-1, 0}, {0, -1}, {6, 0}, {0, 6}})
        CHECK_THROWS_AS(element(A, row, col), ArgumentError);
    const Mpo<T> empty;
    CHECK_THROWS_AS(add(empty, empty), ArgumentError);
    CHECK_THROWS_AS(scale(empty, T(1)), ArgumentError);
    CHECK_THROWS_AS(transpose(empty), ArgumentError);
    CHECK_THROWS_AS(conjugate(empty), ArgumentError);
    CHECK_THROWS_AS(adjoint(empty), ArgumentError);
    CHECK_THROWS_AS(compose(empty, empty, backend), ArgumentError);
    CHECK_THROWS_AS(inner(empty, empty, backend), ArgumentError);
    CHECK_THROWS_AS(norm(empty, backend), ArgumentError);
    CHECK_THROWS_AS(element(empty, 0, 0), ArgumentError);
    CHECK_THROWS_AS(to_dense(empty, backend), ArgumentError);
}

TEMPLATE_LIST_TEST_CASE("merged sites stand for the same matrix", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto mpo =
        random_mpo<T>({{2, 3, 4, 1}, {3, 1, 2, 4}}, {1, 3, 7, 5, 1}, 41);  // W (24, 24)
    const auto W = naive::to_dense(mpo);
    double size = 1;
    for (const auto& core : mpo.cores()) size *= naive::norm(core);
    for (const Shape& groups :
         {Shape{1, 1, 1, 1}, Shape{2, 1, 1}, Shape{1, 2, 1}, Shape{1, 3}, Shape{2, 2}, Shape{4}}) {
        CAPTURE(to_string(groups));
        const auto merged = merge_sites(mpo, groups, backend);
        CHECK(merged.num_sites() == static_cast<Index>(groups.size()));
        Index site = 0;
        for (std::size_t g = 0; g < groups.size(); site += groups[g++]) {
            CHECK(merged.bond_dim(static_cast<Index>(g)) == mpo.bond_dim(site));
            Index out = 1;
            for (Index k = site; k < site + groups[g]; ++k) out *= mpo.core(k).extent(1);
            CHECK(merged.core(static_cast<Index>(g)).extent(1) == out);
        }
        CHECK(naive::distance(naive::to_dense(merged), W) <=
              tolerance<T>(mpo.num_parameters(), size));
    }
    CHECK_THROWS_AS(merge_sites(mpo, {2, 1}, backend), ArgumentError);
    CHECK_THROWS_AS(merge_sites(mpo, {5, -1}, backend), ArgumentError);
    CHECK_THROWS_AS(merge_sites(mpo, {}, backend), ArgumentError);
}

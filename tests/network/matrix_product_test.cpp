// Mpo<T>: what it accepts, what it counts, what it refuses.
#include "mpo/network/matrix_product.hpp"

#include "support/catch.hpp"
#include "support/matrices.hpp"
#include "support/scalars.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

template <class T>
std::vector<Tensor<T>> zeros(const std::vector<Shape>& shapes) {
    std::vector<Tensor<T>> cores;
    for (const auto& shape : shapes) cores.emplace_back(shape);
    return cores;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("an Mpo knows its layout, bonds and size", "", EveryScalar) {
    for (const auto& [layout, bonds] : awkward_chains()) {
        const auto mpo = random_mpo<TestType>(layout, bonds, 1);
        CHECK(mpo.num_sites() == num_sites(layout));
        CHECK(mpo.layout() == layout);
        CHECK(mpo.bond_dims() == bonds);
        CHECK(mpo.rows() == rows(layout));
        CHECK(mpo.cols() == cols(layout));
        CHECK(mpo.num_parameters() == num_parameters(layout, bonds));
        CHECK(mpo.num_bytes(16) == 2 * mpo.num_parameters());
        CHECK(mpo.canonical_form() == CanonicalForm::none);
        CHECK(mpo.orthogonality_center() == -1);
        for (Index k = 0; k <= mpo.num_sites(); ++k)
            CHECK(mpo.bond_dim(k) == bonds[static_cast<std::size_t>(k)]);
        for (Index k = 0; k < mpo.num_sites(); ++k)
            CHECK(mpo.core(k).shape() ==
                  Shape{mpo.bond_dim(k), layout.out[static_cast<std::size_t>(k)],
                        layout.in[static_cast<std::size_t>(k)], mpo.bond_dim(k + 1)});
        CHECK_THROWS_AS(mpo.core(mpo.num_sites()), std::out_of_range);
    }
}

TEST_CASE("bytes follow the bits of an element and round up per core") {
    const Mpo<float> mpo(zeros<float>({{1, 3, 1, 3}, {3, 5, 1, 1}}));  // 9 and 15 elements
    CHECK(mpo.num_bytes(32) == 96);
    CHECK(mpo.num_bytes(4.5) == 6 + 9);  // 40.5 and 67.5 bits
    CHECK(mpo.num_bytes(1) == 2 + 2);
    CHECK_THROWS_AS(mpo.num_bytes(0), ArgumentError);
    CHECK_THROWS_AS(mpo.num_bytes(-8), ArgumentError);
    CHECK_THROWS_AS(mpo.num_bytes(std::nan("")), ArgumentError);
}

TEST_CASE("the canonical form fixes the centre") {
    const auto cores = zeros<double>({{1, 2, 2, 2}, {2, 2, 2, 2}, {2, 2, 2, 1}});
    CHECK(Mpo<double>(cores, CanonicalForm::left).orthogonality_center() == 2);
    CHECK(Mpo<double>(cores, CanonicalForm::right).orthogonality_center() == 0);
    CHECK(Mpo<double>(cores, CanonicalForm::mixed, 1).orthogonality_center() == 1);
    CHECK(Mpo<double>(cores, CanonicalForm::none, 1).orthogonality_center() == -1);
    CHECK_THROWS_AS(Mpo<double>(cores, CanonicalForm::mixed), ArgumentError);
    CHECK_THROWS_WITH(Mpo<double>(cores, CanonicalForm::mixed, 3),
                      "Mpo: the centre of 3 sites must be in 0..2, got 3");
    CHECK(to_string(CanonicalForm::mixed) == "mixed");
}

TEST_CASE("cores that are no chain are refused, and what was there stays") {
    const auto good = zeros<float>({{1, 2, 3, 4}, {4, 5, 6, 1}});
    Mpo<float> mpo(good, CanonicalForm::left);
    const auto refuses = [&](const std::vector<Shape>& shapes, const std::string& message) {
        CHECK_THROWS_WITH(Mpo<float>(zeros<float>(shapes)), message);
        CHECK_THROWS_WITH(mpo.set_cores(zeros<float>(shapes)), message);
        CHECK(mpo.bond_dims() == Shape{1, 4, 1});
        CHECK(mpo.canonical_form() == CanonicalForm::left);
    };
    refuses({}, "Mpo: need 1 to 12 sites, got 0");
    refuses(std::vector<Shape>(13, Shape{1, 1, 1, 1}), "Mpo: need 1 to 12 sites, got 13");
    refuses({{1, 2, 3}}, "Mpo: core 0 must be of rank 4 (D, out, in, D'), got 1 x 2 x 3");
    refuses({{1, 2, 0, 1}}, "Mpo: every extent must be at least 1, core 0 is 1 x 2 x 0 x 1");
    refuses({{1, 2, 2, 3}, {4, 2, 2, 1}},
            "Mpo: the left bond of core 1 must be 3, its shape is 4 x 2 x 2 x 1");
    refuses({{2, 2, 2, 1}}, "Mpo: the left bond of core 0 must be 1, its shape is 2 x 2 x 2 x 1");
    refuses({{1, 2, 2, 2}}, "Mpo: the last bond must be 1, got 2");
    CHECK_THROWS_AS(mpo.set_cores(zeros<float>({{1, 2, 3}})), ShapeError);
    CHECK_THROWS_AS(mpo.set_cores({}), ArgumentError);
    CHECK_THROWS_AS(mpo.set_cores(zeros<float>({{1, 2, 0, 1}})), ArgumentError);
}

TEST_CASE("cores are replaced and taken as a whole") {
    auto mpo = random_mpo<double>({{2, 3}, {3, 2}}, {1, 4, 1}, 3);
    const auto other = random_mpo<double>({{5}, {7}}, {1, 1}, 4);
    const Mpo<double> copy = mpo;
    mpo.set_cores(other.cores(), CanonicalForm::right);
    CHECK(mpo.layout() == Layout{{5}, {7}});
    CHECK(mpo.orthogonality_center() == 0);
    CHECK(copy.bond_dims() == Shape{1, 4, 1});  // a copy owns its cores

    const auto cores = std::move(mpo).take_cores();
    CHECK(naive::distance(cores.front(), other.core(0)) == 0);
    CHECK(mpo.num_sites() == 0);
    CHECK(mpo.canonical_form() == CanonicalForm::none);
    CHECK(mpo.orthogonality_center() == -1);
}

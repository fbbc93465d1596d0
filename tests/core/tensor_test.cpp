// Tensors and views: where an element lies, and what is refused.
#include "mpo/core/tensor.hpp"

#include <complex>
#include <limits>
#include <numeric>

#include "support/catch.hpp"
#include "support/naive.hpp"
#include "support/scalars.hpp"

using namespace mpo;
using test::naive::entry;
using test::naive::for_each_index;

namespace {

/// 0, 1, 2, .. in C order.
Tensor<double> counting(const Shape& shape) {
    Tensor<double> tensor(shape);
    std::iota(tensor.data(), tensor.data() + tensor.size(), 0.0);
    return tensor;
}

const std::vector<Shape> shapes = {{}, {1}, {7}, {3, 5}, {1, 4, 1}, {2, 3, 1, 5}, {2, 2, 2, 2, 3}};

}  // namespace

TEST_CASE("num_elements multiplies the extents and refuses what an index cannot hold") {
    const Index huge = std::numeric_limits<Index>::max();
    CHECK(num_elements({}) == 1);
    CHECK(num_elements({3, 0, 5}) == 0);
    CHECK(num_elements({3, 1, 5}) == 15);
    CHECK(num_elements({huge, 1}) == huge);
    CHECK_THROWS_AS(num_elements({huge, 2}), ShapeError);
    CHECK_THROWS_WITH(num_elements({2, -3}), "shape 2 x -3 has a negative extent");
    // an empty shape whose strides would overflow is refused wherever the 0 stands
    CHECK_THROWS_AS(num_elements({0, huge, huge}), ShapeError);
    CHECK_THROWS_AS(num_elements({huge, huge, 0}), ShapeError);
    CHECK_THROWS_AS(row_major_strides({0, huge, huge}), ShapeError);
    CHECK_THROWS_AS(Tensor<float>(Shape{-1}), ShapeError);
}

TEST_CASE("shapes read as text") {
    CHECK(to_string(Shape{}) == "scalar");
    CHECK(to_string(Shape{3}) == "3");
    CHECK(to_string(Shape{3, 4, 5}) == "3 x 4 x 5");
}

TEMPLATE_LIST_TEST_CASE("a tensor begins as zeros and owns a copy", "", test::EveryScalar) {
    Tensor<TestType> a({2, 3});
    for (Index n = 0; n < a.size(); ++n) CHECK(a.data()[n] == TestType(0));
    Tensor<TestType> b = a;
    b(1, 2) = TestType(1);
    CHECK(a(1, 2) == TestType(0));
    CHECK(b.view()(1, 2) == TestType(1));
    CHECK(Tensor<TestType>().size() == 0);
    CHECK(Tensor<TestType>(Shape{}).size() == 1);
}

TEST_CASE("elements lie in C order") {
    for (const Shape& shape : shapes) {
        const auto tensor = counting(shape);
        const auto view = tensor.view();
        CHECK(view.is_contiguous());
        CHECK(view.size() == tensor.size());
        double expected = 0;
        for_each_index(shape, [&](const Shape& at) { CHECK(entry(view, at) == expected++); });
    }
    const auto tensor = counting({2, 3, 4});
    CHECK(tensor(1, 2, 3) == 23);
    CHECK(tensor.view()(1, 0, 2) == 14);
    CHECK(tensor.extent(2) == 4);
    CHECK(tensor.rank() == 3);
    CHECK_THROWS_AS(tensor.extent(3), std::out_of_range);
}

TEST_CASE("reshape keeps the elements and their order") {
    auto tensor = counting({2, 6});
    const double* before = tensor.data();
    const auto reshaped = std::move(tensor).reshape({3, 1, 4});
    CHECK(reshaped.data() == before);  // free
    CHECK(reshaped(2, 0, 3) == 11);
    CHECK_THROWS_WITH(counting({2, 6}).reshape({5}), "Tensor: shape 5 needs 5 elements, got 12");
    CHECK_THROWS_AS(Tensor<float>({2, 2}, {1, 2, 3}), ShapeError);
}

TEST_CASE("permuted renames the axes") {
    const auto tensor = counting({2, 3, 1, 4});
    Shape order{0, 1, 2, 3};
    do {
        const auto view = permuted(tensor.view(), order);
        for_each_index(view.shape, [&](const Shape& at) {
            Shape original(4);
            for (std::size_t k = 0; k < 4; ++k)
                original[static_cast<std::size_t>(order[k])] = at[k];
            REQUIRE(entry(view, at) == entry(tensor.view(), original));
        });
    } while (std::next_permutation(order.begin(), order.end()));
    for (const Shape& bad :
         {Shape{0, 1, 2}, {0, 1, 2, 2}, {0, 1, 2, 4}, {-1, 1, 2, 3}, {0, 1, 2, 3, 3}, {}})
        CHECK_THROWS_AS(permuted(tensor.view(), bad), ShapeError);
}

TEST_CASE("split_axis gives the legs of an axis, first slowest, for any strides") {
    const auto tensor = counting({5, 12});
    for (const Shape& order : {Shape{0, 1}, {1, 0}}) {
        const auto view = permuted(tensor.view(), order);
        const Index axis = order[0] == 0 ? 1 : 0;  // the one of extent 12
        for (const auto& source :
             {view, TensorView<const double>(tensor.data() + 59, view.shape,
                                             {-view.strides[0], -view.strides[1]})}) {
            const auto split = split_axis(source, axis, {2, 1, 3, 2});
            CHECK(split.rank() == 5);
            for_each_index(split.shape, [&](const Shape& at) {
                const auto leg = [&](Index k) { return at[static_cast<std::size_t>(axis + k)]; };
                const Index whole = leg(0) * 6 + leg(2) * 2 + leg(3);
                const Index other = axis == 0 ? at[4] : at[0];
                const Shape joined = axis == 0 ? Shape{whole, other} : Shape{other, whole};
                REQUIRE(entry(split, at) == entry(source, joined));
            });
        }
    }
    const auto thin = counting({4, 3});  // an axis of stride 3
    CHECK(split_axis(thin.view(), 0, {2, 2})(1, 1, 2) == 11);
    CHECK(split_axis(thin.view(), 0, {2, 2})(1, 0, 0) == 6);
    CHECK_THROWS_WITH(split_axis(tensor.view(), 1, {3, 5}),
                      "split_axis: legs 3 x 5 = 15 must equal the extent 12 of axis 1");
    CHECK_THROWS_AS(split_axis(tensor.view(), 1, {3, 5}), ShapeError);
    CHECK_THROWS_AS(split_axis(tensor.view(), 2, {1}), std::out_of_range);
}

TEST_CASE("contiguity is a matter of strides, not of size-1 axes") {
    const auto tensor = counting({2, 3, 4});
    CHECK(!permuted(tensor.view(), {1, 0, 2}).is_contiguous());
    CHECK(TensorView<const double>(tensor.data(), {3, 1, 4}, {4, 999, 1}).is_contiguous());
    CHECK(!TensorView<const double>(tensor.data(), {3, 2}, {4, 1}).is_contiguous());
    CHECK(!TensorView<const double>(tensor.data(), {3}, {-1}).is_contiguous());
    CHECK_THROWS_WITH(TensorView<const double>(tensor.data(), {3, 2}, {2}),
                      "TensorView: rank 2 needs as many strides, got 1");
}

TEST_CASE("matrix views transpose, conjugate and cut without copying") {
    using T = std::complex<double>;
    std::vector<T> data;
    for (int n = 0; n < 12; ++n) data.emplace_back(n, -n);
    const auto A = matrix(data.data(), 3, 4);
    const auto At = transpose(A), Ah = adjoint(A), B = block(A, 1, 1, 2, 3);
    CHECK(A.size() == 12);
    for (Index i = 0; i < 3; ++i)
        for (Index j = 0; j < 4; ++j) {
            const T expected(static_cast<double>(4 * i + j), -static_cast<double>(4 * i + j));
            CHECK(entry(A, i, j) == expected);
            CHECK(entry(At, j, i) == expected);
            CHECK(entry(Ah, j, i) == std::conj(expected));
            CHECK(entry(adjoint(Ah), i, j) == expected);
            if (i > 0 && j > 0) CHECK(entry(B, i - 1, j - 1) == expected);
            if (i > 0 && j > 0)
                CHECK(entry(block(Ah, 1, 1, 3, 2), j - 1, i - 1) == std::conj(expected));
        }
    double real = 1;
    CHECK(adjoint(matrix(&real, 1, 1)).conjugation == Conjugation::none);
}

TEST_CASE("a rank-2 view is a matrix, any other is not") {
    const auto tensor = counting({3, 4});
    const auto A = as_matrix(permuted(tensor.view(), {1, 0}));
    for (Index i = 0; i < 4; ++i)
        for (Index j = 0; j < 3; ++j) CHECK(entry(A, i, j) == tensor(j, i));
    CHECK_THROWS_WITH(as_matrix(counting({2, 2, 2}).view()),
                      "as_matrix: expected rank 2, got shape 2 x 2 x 2");
    CHECK_THROWS_AS(as_matrix(counting({2}).view()), ShapeError);
}

TEST_CASE("a batch steps from matrix to matrix") {
    auto tensor = counting({4, 2, 3});
    const BatchView<double> batch{matrix(tensor.data(), 2, 3), 6};
    const BatchView<const double> repeated{{tensor.data(), 2, 3, 3, 1}, 0};
    for (Index k = 0; k < 4; ++k) {
        CHECK(entry(batch[k], 1, 2) == tensor(k, 1, 2));
        CHECK(entry(repeated[k], 1, 2) == tensor(0, 1, 2));
        CHECK(entry(BatchView<const double>(batch)[k], 0, 0) == tensor(k, 0, 0));
    }
}

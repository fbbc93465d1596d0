// Views between Eigen and us: the same elements at the same addresses, whatever the storage.
#include "mpo/eigen.hpp"

#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/scalars.hpp"

using namespace mpo;

namespace {

const std::vector<std::pair<Index, Index>> shapes = {{1, 1}, {1, 7}, {5, 1}, {3, 4}, {13, 7}};

/// Element by element the same object in memory, not an equal copy.
template <class T, class M>
void check_same_elements(const TensorView<T>& view, M& matrix) {
    REQUIRE(view.shape == Shape{matrix.rows(), matrix.cols()});
    for (Index i = 0; i < matrix.rows(); ++i)
        for (Index j = 0; j < matrix.cols(); ++j) CHECK(&view(i, j) == &matrix.coeffRef(i, j));
}

template <class T, int Storage>
using Dense = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Storage>;

}  // namespace

TEMPLATE_LIST_TEST_CASE("as_view: a matrix of any storage order is seen where it lies", "",
                        test::EveryScalar) {
    for (const auto& [rows, cols] : shapes) {
        Dense<TestType, Eigen::ColMajor> by_columns(rows, cols);
        Dense<TestType, Eigen::RowMajor> by_rows(rows, cols);
        check_same_elements(as_view(by_columns), by_columns);
        check_same_elements(as_view(by_rows), by_rows);
        CHECK(as_view(by_rows).is_contiguous());
        CHECK(as_view(by_columns.transpose()).is_contiguous());  // (in, B) is (B, in)
        CHECK(as_view(by_columns).is_contiguous() == (rows == 1 || cols == 1));
    }
}

TEST_CASE("as_view: blocks, maps, arrays, vectors and fixed sizes keep their strides") {
    Eigen::MatrixXd A(6, 5);
    auto block = A.block(1, 2, 3, 2);
    check_same_elements(as_view(block), block);
    check_same_elements(as_view(A.block(1, 2, 3, 2)), block);

    std::vector<double> numbers(40);
    using AnyStride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
    Eigen::Map<Eigen::MatrixXd, Eigen::Unaligned, AnyStride> map(numbers.data(), 3, 4,
                                                                 AnyStride(10, 2));
    check_same_elements(as_view(map), map);

    Eigen::ArrayXXd array(3, 2);
    check_same_elements(as_view(array), array);
    Eigen::Matrix<double, 2, 3> fixed;
    check_same_elements(as_view(fixed), fixed);
    Eigen::VectorXd column(5);
    check_same_elements(as_view(column), column);
    Eigen::RowVectorXd row(5);
    check_same_elements(as_view(row), row);
    auto strided_row = A.row(2);
    check_same_elements(as_view(strided_row), strided_row);

    const Eigen::MatrixXd empty(0, 3);
    CHECK(as_view(empty).shape == Shape{0, 3});
}

TEST_CASE("as_view: what Eigen may not write, we may not") {
    const Eigen::MatrixXf constant(2, 3);
    Eigen::MatrixXf A(2, 3);
    const float numbers[6] = {};
    const Eigen::Map<const Eigen::MatrixXf> map(numbers, 2, 3);
    const Eigen::Ref<const Eigen::MatrixXf> ref(A);
    STATIC_REQUIRE(std::is_same_v<decltype(as_view(constant)), TensorView<const float>>);
    STATIC_REQUIRE(
        std::is_same_v<decltype(as_view(constant.transpose())), TensorView<const float>>);
    STATIC_REQUIRE(std::is_same_v<decltype(as_view(map)), TensorView<const float>>);
    STATIC_REQUIRE(std::is_same_v<decltype(as_view(ref)), TensorView<const float>>);
    STATIC_REQUIRE(std::is_same_v<decltype(as_view(A)), TensorView<float>>);
    STATIC_REQUIRE(std::is_same_v<decltype(as_view(A.transpose())), TensorView<float>>);
    CHECK(as_view(ref).data == A.data());
    CHECK(as_view(map).data == numbers);
}

TEMPLATE_LIST_TEST_CASE("as_eigen: a view of any strides is mapped where it lies", "",
                        test::EveryScalar) {
    for (const auto& [rows, cols] : shapes) {
        Tensor<TestType> tensor({rows, cols});
        const auto view = tensor.view();
        const std::vector<TensorView<TestType>> views = {
            view,
            permuted(view, {1, 0}),
            {&tensor(rows - 1, 0), {rows, cols}, {-cols, 1}}};  // rows from the last to the first
        for (const auto& each : views) {
            auto map = as_eigen(each);
            check_same_elements(each, map);
        }
        const TensorView<const TestType> constant = view;
        CHECK(&as_eigen(constant).coeff(rows - 1, 0) == &tensor(rows - 1, 0));
    }
}

TEST_CASE(
    "as_eigen: a tensor is a row-major map, written through and taken by Ref without a copy") {
    using RowMajor = Dense<float, Eigen::RowMajor>;
    Tensor<float> tensor({3, 2});
    as_eigen(tensor)(2, 1) = 5;
    CHECK(tensor(2, 1) == 5);
    const Tensor<float>& constant = tensor;
    const Eigen::Ref<const RowMajor> ref(as_eigen(constant));
    CHECK(ref.data() == tensor.data());
    CHECK(as_eigen(as_view(as_eigen(tensor))).data() == tensor.data());
}

TEST_CASE("as_eigen: only rank 2 is a matrix") {
    Tensor<float> vector({3}), cube({2, 3, 5});
    const Tensor<float>& constant = cube;
    CHECK_THROWS_AS(as_eigen(vector), ShapeError);
    CHECK_THROWS_WITH(as_eigen(cube), "as_eigen: expected rank 2, got shape 2 x 3 x 5");
    CHECK_THROWS_WITH(as_eigen(constant), "as_eigen: expected rank 2, got shape 2 x 3 x 5");
    CHECK_THROWS_WITH(as_eigen(cube.view()), "as_eigen: expected rank 2, got shape 2 x 3 x 5");
}

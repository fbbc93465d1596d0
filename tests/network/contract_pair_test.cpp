// Pairs of tensors against one loop over all legs, and what is copied for them: nothing where the
// order of the legs allows.
#include "mpo/network/contract_pair.hpp"

#include <limits>

#include "mpo/core/random.hpp"
#include "mpo/linalg/orthonormalize.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/counting_backend.hpp"
#include "support/einsum.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

struct Pair {
    const char* equation;
    Shape extents;  // of a, b, c, ..
    int copies;     // that a plan needs
};

/// Legs in every place, batches, sums over several legs, outer products, scalars, legs of size 1.
std::vector<Pair> pairs() {
    return {
        {"ab,bc->ac", {3, 5, 7}, 0},
        {"ba,bc->ac", {3, 5, 7}, 0},
        {"ab,cb->ac", {3, 5, 7}, 0},
        {"ba,cb->ca", {3, 5, 7}, 0},
        {"abc,cd->abd", {3, 5, 7, 2}, 0},   // two rows at once
        {"abc,bcd->ad", {3, 5, 7, 2}, 0},   // two legs summed at once
        {"abc,cbd->ad", {3, 5, 7, 2}, 1},   // in different orders
        {"abc,ac->b", {3, 5, 7}, 1},        // the summed ones apart, no unit stride
        {"abc,acd->abd", {4, 3, 5, 2}, 0},  // a is a batch
        {"bac,acd->bad", {4, 3, 5, 2}, 0},  // a batch in the middle
        {"abc,cad->bad", {4, 3, 5, 2}, 0},  // anywhere, as long as a leg of each matrix is fastest
        {"bca,cda->bda", {4, 3, 5, 2}, 1},  // the batch is fastest in all three
        {"abef,befc->abec", {2, 3, 2, 1, 3, 5}, 0},  // two batches, one of size 1 leg summed
        {"abc,de->abcde", {2, 3, 2, 3, 2}, 0},       // outer
        {"abc,cd->adb", {16, 32, 8, 32}, 0},         // a counts as batch
        {"acb,cd->abd", {16, 9, 32, 32}, 0},         // summed in the middle: a counts as batch
        {"abc,abc->", {3, 5, 7}, 0},
        {"a,b->ab", {3, 5}, 0},
        {"a,a->", {6}, 0},
        {",->", {}, 0},
        {",a->a", {4}, 0},
        {"abc,cde->aebd", {3, 2, 5, 2, 3}, 1},
        {"a,ab->ab", {3, 5}, 0},  // scaling of rows: a batch of outer products
        {"abc,dbe->adce", {1, 1, 1, 1, 1}, 0},
        {"abcd,dcef->abef", {2, 3, 4, 5, 3, 2}, 1},
        {"aab,bc->ac", {3, 4, 5}, 0},  // a diagonal that stays: its rows are far apart
        {"aab,ab->", {3, 4}, 1},
        {"aa,aa->", {5}, 0},  // two diagonals
    };
}

template <class T>
StridedLegs contiguous(const std::vector<Index>& legs, const Tensor<T>& tensor) {
    return {legs, row_major_strides(tensor.shape())};
}

Shape shape_of(const std::vector<Index>& legs, const Shape& extents) {
    Shape shape;
    for (const Index leg : legs) shape.push_back(extents[static_cast<std::size_t>(leg)]);
    return shape;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("contract_pair: every pair is one loop over its legs", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [equation, extents, copies] : pairs())
        for (const auto order : {LegOrder::as_given, LegOrder::free}) {
            CAPTURE(equation, static_cast<int>(order));
            auto network = naive::lettered(equation, extents);
            const auto A = normal_tensor<T>(shape_of(network.tensors[0], extents), 1);
            const auto B = normal_tensor<T>(shape_of(network.tensors[1], extents), 2);
            const auto plan =
                plan_pair(contiguous(network.tensors[0], A), contiguous(network.tensors[1], B),
                          network.open, extents, order);
            if (order == LegOrder::as_given)
                CHECK(plan.result_legs.legs == network.open);
            else
                network.open = plan.result_legs.legs;
            Tensor<T> C(shape_of(network.open, extents));
            std::fill(C.data(), C.data() + C.size(), T(std::numeric_limits<Real<T>>::quiet_NaN()));
            const auto a = detail::send<T>(A, backend), b = detail::send<T>(B, backend),
                       c = detail::send<T>(C, backend);
            contract_pair<T>(plan, a.data(), b.data(), c.data(), backend);
            backend.download(static_cast<const T*>(c.data()), C.view());
            const auto expected =
                naive::einsum<Wide<T>>(network, {naive::widen(A), naive::widen(B)});
            CHECK(naive::distance(C, expected) <=
                  tolerance<T>(naive::num_terms(network), naive::norm(A) * naive::norm(B)));
        }
}

TEST_CASE("contract_pair: nothing is copied where the order of the legs allows") {
    const CountingBackend backend;
    for (const auto& [equation, extents, copies] : pairs()) {
        CAPTURE(equation);
        const auto network = naive::lettered(equation, extents);
        const Tensor<double> A(shape_of(network.tensors[0], extents)),
            B(shape_of(network.tensors[1], extents));
        Tensor<double> C(shape_of(network.open, extents));
        const auto plan = plan_pair(contiguous(network.tensors[0], A),
                                    contiguous(network.tensors[1], B), network.open, extents);
        backend.reset();
        contract_pair(plan, A.data(), B.data(), C.data(), backend);
        CHECK(plan.num_copies() == copies);
        CHECK(backend.calls().permutes == copies);  // at most one an operand
        CHECK(backend.calls().gemms + backend.calls().batched >= 1);
    }
}

TEST_CASE(
    "contract_pair: batch legs are one batched product, also where another leg counts as one") {
    const CountingBackend backend;
    for (const auto& [equation, extents] :
         {std::pair<const char*, Shape>{"abc,acd->abd", {4, 3, 5, 2}},
          {"abce,abed->abcd", {2, 3, 4, 5, 6}},  // two legs, one batch
          {"abc,cd->adb", {16, 32, 8, 32}}}) {
        CAPTURE(equation);
        const auto network = naive::lettered(equation, extents);
        const Tensor<double> A(shape_of(network.tensors[0], extents)),
            B(shape_of(network.tensors[1], extents));
        Tensor<double> C(shape_of(network.open, extents));
        backend.reset();
        contract_pair(plan_pair(contiguous(network.tensors[0], A),
                                contiguous(network.tensors[1], B), network.open, extents),
                      A.data(), B.data(), C.data(), backend);
        CHECK(backend.calls().batched == 1);
        CHECK(backend.calls().gemms == 0);
    }
}

TEST_CASE("contract_pair: a result in a free order is never copied") {
    for (const auto& [equation, extents, copies] : pairs()) {
        CAPTURE(equation);
        const auto network = naive::lettered(equation, extents);
        const Tensor<double> A(shape_of(network.tensors[0], extents)),
            B(shape_of(network.tensors[1], extents));
        const auto plan =
            plan_pair(contiguous(network.tensors[0], A), contiguous(network.tensors[1], B),
                      network.open, extents, LegOrder::free);
        CHECK_FALSE(plan.result_copy);
        CHECK(plan.num_copies() <= copies);
    }
}

TEST_CASE("contract_pair: operands lie in any strides, also backwards") {
    const EigenBackend backend;
    const Shape extents{3, 4, 5};
    auto network = naive::lettered("ab,bc->ac", extents);
    const auto big = normal_tensor<double>({7, 9}, 3), B = normal_tensor<double>({4, 5}, 4);
    for (const auto& [first, strides] :
         {std::pair<Index, Shape>{62, {-18, -2}}, {0, {9, 2}}, {0, {2, 18}}, {0, {0, 1}}}) {
        CAPTURE(to_string(strides));
        const TensorView<const double> A(big.data() + first, {3, 4}, strides);
        const auto plan = plan_pair({{0, 1}, strides}, contiguous({1, 2}, B), {0, 2}, extents);
        Tensor<double> C({3, 5});
        contract_pair(plan, A.data, B.data(), C.data(), backend);
        const auto expected = naive::einsum<double>(network, {naive::widen(A), naive::widen(B)});
        CHECK(naive::distance(C, expected) <=
              tolerance<double>(4, naive::norm(naive::widen(A)) * naive::norm(B)));
    }
}

TEST_CASE("contract_pair: vectors that lie backwards or stand still are copied") {
    for (const Index stride : {-1, 0, 1, 3}) {  // what no BLAS takes
        const auto plan = plan_pair({{0}, {stride}}, {{0, 1}, {4, 1}}, {1}, {5, 4});
        CHECK(plan.num_copies() == (stride < 1 ? 1 : 0));
    }
}

TEST_CASE("contract_pair: a large batch that is fastest in all three tensors is copied in all") {
    const Shape extents{64, 64, 64, 64}, strides{4096, 64, 1};
    CHECK(plan_pair({{1, 2, 0}, strides}, {{2, 3, 0}, strides}, {1, 3, 0}, extents).num_copies() ==
          3);
}

TEST_CASE("contract_pair: copies are read in runs") {
    // A (t b i q) x B (i p t) -> (b p q): t and i of A lie apart, q is its fastest leg
    const Shape extents{32, 64, 64, 64, 64};
    const auto plan = plan_pair({{0, 1, 2, 3}, row_major_strides({32, 64, 64, 64})},
                                {{2, 4, 0}, row_major_strides({64, 64, 32})}, {1, 4, 3}, extents);
    REQUIRE(plan.left_copy);
    CHECK(plan.left_copy->strides.back() == 1);
}

TEST_CASE("contract_pair: small slivers are copied, large ones are not") {
    // a (a b c) x (b d): a counts as batch of c x b matrices, unless c is a sliver
    const auto copies = [](Index c) {
        const Shape extents{256, 64, c, 64};
        return plan_pair({{0, 1, 2}, row_major_strides({256, 64, c})}, {{1, 3}, {64, 1}}, {0, 2, 3},
                         extents)
            .num_copies();
    };
    CHECK(copies(64) == 0);
    CHECK(copies(2) == 1);
}

TEST_CASE("contract_pair: what makes no sense is refused, with numbers") {
    const auto refused = [](const StridedLegs& left, const StridedLegs& right,
                            const std::vector<Index>& result, const Shape& extents,
                            const std::string& message) {
        CHECK_THROWS_AS(plan_pair(left, right, result, extents), ArgumentError);
        CHECK_THROWS_WITH(plan_pair(left, right, result, extents), message);
    };
    const StridedLegs A{{0, 1}, {3, 1}}, B{{1, 2}, {2, 1}};
    const Shape extents{2, 3, 2};
    refused(A, B, {0}, extents, "plan_pair: leg 2 is in one tensor and not in the result");
    refused(A, B, {0, 2, 0}, extents, "plan_pair: the result cannot have leg 0 twice");
    refused(A, B, {0, 2, 3}, {2, 3, 2, 2},
            "plan_pair: the result cannot have leg 3, no tensor has it");
    refused({{0, 7}, {3, 1}}, B, {0, 2, 7}, extents,
            "plan_pair: leg 7 does not exist, there are 3");
    refused({{0, 1}, {3}}, B, {0, 2}, extents, "plan_pair: 2 legs need as many strides, got 1");
    refused(A, B, {0, 2}, {2, 0, 2}, "plan_pair: every extent must be at least 1, got 2 x 0 x 2");
}

// Diagrams against one loop over all legs; splits against the error they report; chains against MPOs.
#include "mpo/network/tensor_diagram.hpp"

#include "mpo/core/random.hpp"
#include "mpo/network/decompose.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/einsum.hpp"
#include "support/matrices.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;
using Names = std::vector<std::string>;

namespace {

/// What the diagram must give, by loops.
template <class T>
Tensor<Wide<T>> expected(const TensorDiagram<T>& diagram) {
    std::vector<Tensor<Wide<T>>> wide;
    for (const auto& tensor : diagram.wiring().tensors())
        wide.push_back(naive::widen(diagram.tensor(tensor.name)));
    return naive::einsum(diagram.wiring().network(), wide);
}

template <class T>
double sweep_rounding(const TensorDiagram<T>& diagram) {
    double norms = 1;
    for (const auto& tensor : diagram.wiring().tensors())
        norms *= naive::norm(diagram.tensor(tensor.name));
    const auto network = diagram.wiring().network();
    for (const Index leg : network.open)  // a leg that others lack repeats them
        norms *= std::sqrt(static_cast<double>(network.extents[static_cast<std::size_t>(leg)]));
    return tolerance<T>(naive::num_terms(network) + 1, norms);
}

/// X (x, a, b), Y (x, b, c), Z (c, d): a batch leg x, two bonds.
template <class T>
TensorDiagram<T> some_diagram() {
    TensorDiagram<T> diagram;
    diagram.add("X", normal_tensor<T>({2, 3, 4}, 1), {"x", "a", "b"})
        .add("Y", normal_tensor<T>({2, 4, 5}, 2), {"x", "b", "c"})
        .add("Z", normal_tensor<T>({5, 3}, 3), {"c", "d"})
        .set_open({"d", "x", "a"});
    return diagram;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("tensor_diagram: contract is one loop over all legs", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto diagram = some_diagram<T>();
    const auto whole = expected(diagram);
    CHECK(naive::distance(diagram.contract(backend), whole) <= sweep_rounding(diagram));
    CHECK(naive::distance(diagram.contract({{{2, 0}, {1, 3}}, {}}, backend), whole) <=
          sweep_rounding(diagram));
    const PathOptions limited{.max_peak_elements = 30};  // the result takes 18
    CHECK(naive::distance(diagram.contract(backend, limited), whole) <= sweep_rounding(diagram));
    auto summed = diagram;
    summed.set_open({"a"});  // the batch leg is summed, d too
    CHECK(naive::distance(summed.contract(backend), expected(summed)) <= sweep_rounding(summed));
    // a pair first, whatever its order
    for (const auto& [first, second] : {std::pair{"X", "Y"}, {"Y", "X"}, {"Z", "X"}, {"Y", "Z"}}) {
        CAPTURE(first, second);
        auto merged = diagram;
        merged.contract(first, second, "M", backend);
        CHECK(merged.wiring().tensors().size() == 2);
        CHECK(naive::distance(merged.contract(backend), whole) <= sweep_rounding(diagram));
    }
    auto merged = diagram;
    merged.contract("X", "Y", "XY", backend);
    CHECK(merged.wiring().tensors()[0].legs == Names{"x", "a", "c"});
    CHECK(merged.wiring().tensors()[0].name == "XY");
}

TEMPLATE_LIST_TEST_CASE("tensor_diagram: traces, scalars, parts that do not touch, size-1 legs", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    TensorDiagram<T> diagram;
    diagram.add("trace", normal_tensor<T>({3, 2, 3}, 1), {"t", "a", "t"})
        .add("scalar", normal_tensor<T>({}, 2), {})
        .add("ones", normal_tensor<T>({1, 4, 1}, 3), {"one", "b", "uno"})
        .add("alone", normal_tensor<T>({5, 1}, 4), {"c", "one"});
    CHECK(diagram.wiring().open() == Names{"a", "b", "uno", "c"});
    const auto whole = expected(diagram);
    CHECK(naive::distance(diagram.contract(backend), whole) <= sweep_rounding(diagram));
    diagram.contract("trace", "alone", "T", backend);
    CHECK(naive::distance(diagram.contract(backend), whole) <= sweep_rounding(diagram));
    TensorDiagram<T> scalar;
    scalar.add("s", normal_tensor<T>({}, 5), {});
    CHECK(scalar.contract(backend).shape().empty());
    CHECK(scalar.contract(backend).data()[0] == scalar.tensor("s").data()[0]);
}

TEMPLATE_LIST_TEST_CASE("tensor_diagram: the letters of einsum", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto A = normal_tensor<T>({2, 3, 4}, 1), B = normal_tensor<T>({4, 5, 2}, 2);
    for (const char* equation : {"aib,bjc->aijc", "aib,bja->ij", "aib,bjc", "xyz,pqr->rqpzyx"}) {
        CAPTURE(equation);
        const TensorDiagram<T> diagram(equation, {A, B});
        CHECK(naive::distance(einsum<T>(equation, {A, B}, backend), expected(diagram)) <=
              sweep_rounding(diagram));
    }
    CHECK_THROWS_WITH(TensorDiagram<T>("ab->a", {A, B}),
                      "TensorDiagram: 'ab->a' needs 1 tensors, got 2");
    CHECK_THROWS_AS(TensorDiagram<T>("ab->a", {A, B}), ShapeError);
    CHECK_THROWS_AS(TensorDiagram<T>("ab->a", {A}), ShapeError);
}

TEMPLATE_LIST_TEST_CASE("tensor_diagram: fused and split legs leave the result as it is", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto diagram = some_diagram<T>();
    const auto whole = expected(diagram);
    auto changed = diagram;
    changed.split_leg("b", {"b1", "b2", "b3"}, {2, 1, 2});
    CHECK(naive::distance(changed.contract(backend), whole) <= sweep_rounding(diagram));
    changed.fuse_legs({"b3", "b1"}, "f").fuse_legs({"f", "b2"}, "f");  // out of order, in both
    CHECK(changed.wiring().legs() == Names{"x", "a", "f", "c", "d"});
    CHECK(changed.wiring().extent("f") == 4);
    CHECK(naive::distance(changed.contract(backend), whole) <= sweep_rounding(diagram));
}

TEMPLATE_LIST_TEST_CASE("tensor_diagram: fused legs are read in their order", "", BackendCases) {
    using T = typename TestType::T;
    TensorDiagram<T> diagram;
    const auto A = normal_tensor<T>({2, 3, 4, 5}, 1);
    diagram.add("A", A, {"a", "b", "c", "d"}).fuse_legs({"d", "b"}, "f");
    const auto& fused = diagram.tensor("A");  // (a, c, (d b))
    CHECK(fused.shape() == Shape{2, 4, 15});
    CHECK(diagram.wiring().open() == Names{"a", "c", "f"});
    naive::for_each_index(A.shape(), [&](const Shape& at) {
        CHECK(fused(at[0], at[2], 3 * at[3] + at[1]) == A(at[0], at[1], at[2], at[3]));
    });
}

TEMPLATE_LIST_TEST_CASE("tensor_diagram: a split loses what it reports", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto W = normal_tensor<T>({4, 3, 1, 5}, 1);
    const double norm = naive::norm(W);
    for (const auto& left :
         {Names{"a", "c"}, Names{"d", "a"}, Names{"b"}, Names{}, Names{"a", "b", "c", "d"}})
        for (const auto& truncation :
             {Truncation{}, Truncation{.max_bond_dim = 3}, Truncation{.max_relative_error = 0.3}}) {
            CAPTURE(left, truncation.max_bond_dim, truncation.max_relative_error);
            TensorDiagram<T> diagram;
            diagram.add("W", W, {"a", "b", "c", "d"});
            const auto report =
                diagram.split("W", left, {"U", "V", "bond"}, {.truncation = truncation}, backend);
            CHECK(diagram.wiring().open() == Names{"a", "b", "c", "d"});
            const double lost = naive::distance(diagram.contract(backend), W);
            CHECK(std::abs(lost - report.relative_error * norm) <= tolerance<T>(60, norm));
            CHECK(std::abs(report.norm - norm) <= tolerance<T>(60, norm));
            CHECK(report.bond.bond_dim == diagram.wiring().extent("bond"));
            CHECK(report.bond.bond_dim <= truncation.max_bond_dim);
            CHECK(report.bond.discarded_weight <= 1);
            if (truncation.max_relative_error > 0)
                CHECK(report.relative_error <= truncation.max_relative_error);
            if (truncation.max_bond_dim > 60 && truncation.max_relative_error == 0) {
                CHECK(report.bond.bond_dim == report.bond.useful_bond_dim);
                CHECK(report.relative_error <= tolerance<T>(60, 1));
            }
            const auto U = naive::widen(diagram.tensor("U"))
                               .reshape({diagram.tensor("U").size() / report.bond.bond_dim,
                                         report.bond.bond_dim});  // orthonormal columns
            CHECK(naive::distance(naive::product(naive::adjoint(U), U),
                                  naive::identity<Wide<T>>(report.bond.bond_dim)) <=
                  tolerance<T>(60, std::sqrt(static_cast<double>(report.bond.bond_dim))));
        }
}

TEMPLATE_LIST_TEST_CASE("tensor_diagram: a split of zeros, of huge and of tiny numbers", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const double size : {0.0, 1e-30, 1e30}) {
        CAPTURE(size);
        auto W = normal_tensor<T>({4, 6}, 1);
        for (Index n = 0; n < W.size(); ++n) W.data()[n] *= static_cast<Real<T>>(size);
        TensorDiagram<T> diagram;
        diagram.add("W", W, {"a", "b"});
        const auto report = diagram.split("W", {"a"}, {"U", "V", "bond"}, {}, backend);
        CHECK(std::abs(report.norm - naive::norm(W)) <= tolerance<T>(24, naive::norm(W)));
        CHECK(naive::distance(diagram.contract(backend), W) <= tolerance<T>(24, naive::norm(W)));
    }
}

TEMPLATE_LIST_TEST_CASE("tensor_diagram: an MPO is a diagram, and a chain is an MPO", "",
                        BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [layout, bonds] : awkward_chains()) {
        CAPTURE(to_string(layout), to_string(bonds));
        const auto mpo = random_mpo<T>(layout, bonds, 1);
        const auto diagram = to_diagram(mpo);
        CHECK(diagram.num_parameters() == mpo.num_parameters());
        const auto W = naive::to_dense(mpo);
        CHECK(naive::distance(diagram.contract(backend).reshape({mpo.rows(), mpo.cols()}), W) <=
              tolerance<T>(mpo.num_parameters(), naive::norm(W)));
        std::vector<DiagramSite> sites, backwards;
        for (Index k = 0; k < mpo.num_sites(); ++k)
            sites.push_back({"C" + std::to_string(k), "o" + std::to_string(k + 1),
                             "i" + std::to_string(k + 1)});
        const auto back = to_mpo(diagram, sites);
        CHECK(back.bond_dims() == mpo.bond_dims());
        for (Index k = 0; k < mpo.num_sites(); ++k)
            CHECK(naive::distance(back.core(k), mpo.core(k)) == 0);
        backwards.assign(sites.rbegin(), sites.rend());  // the chain read from its other end
        const auto mirrored_mpo = to_mpo(diagram, backwards);
        CHECK(mirrored_mpo.layout() == mirrored(mpo.layout()));
        CHECK(mirrored_mpo.num_parameters() == mpo.num_parameters());
    }
}

TEMPLATE_LIST_TEST_CASE("tensor_diagram: splits in a row are decompose", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto W = normal_tensor<T>({24, 30}, 1);
    const Truncation cap{.max_bond_dim = 7};
    TensorDiagram<T> diagram;
    diagram.add("W", W, {"out", "in"})
        .split_leg("out", {"o1", "o2", "o3"}, {2, 3, 4})
        .split_leg("in", {"i1", "i2", "i3"}, {3, 2, 5});
    const auto first = diagram.split("W", {"o1", "i1"}, {"C0", "rest", "b1"}, {cap}, backend);
    const auto second =
        diagram.split("rest", {"b1", "o2", "i2"}, {"C1", "C2", "b2"}, {cap}, backend);
    const auto [op, report] =
        decompose(W, {.layout = {{2, 3, 4}, {3, 2, 5}}, .truncation = cap}, backend);
    const auto made = to_mpo(diagram, {{"C0", "o1", "i1"}, {"C1", "o2", "i2"}, {"C2", "o3", "i3"}});
    CHECK(made.bond_dims() == op.bond_dims());
    CHECK(naive::distance(naive::to_dense(made), naive::to_dense(op)) <=
          tolerance<T>(W.size(), naive::norm(W)));
    const double kept = 1 - first.relative_error * first.relative_error;
    const double lost =
        std::sqrt(first.bond.discarded_weight + kept * second.bond.discarded_weight);
    CHECK(std::abs(lost - report.relative_error) <= tolerance<T>(W.size(), 1));
}

TEST_CASE("tensor_diagram: legs of one side, and several legs in a bond") {
    const EigenBackend backend;
    TensorDiagram<double> diagram;
    diagram.add("A", normal_tensor<double>({3, 2, 4, 1}, 1), {"o", "p", "q", "i"})
        .add("B", normal_tensor<double>({4, 5, 2}, 2), {"q", "j", "p"});
    const auto mpo = to_mpo(diagram, {{"A", "o", "i"}, {"B", "", "j"}});
    CHECK(mpo.bond_dims() == Shape{1, 8, 1});
    CHECK(mpo.layout() == Layout{{3, 1}, {1, 5}});
    diagram.set_open({"o", "i", "j"});
    CHECK(
        naive::distance(naive::to_dense(mpo), diagram.contract(backend).reshape({3, 5})) <=
        tolerance<double>(8, naive::norm(diagram.tensor("A")) * naive::norm(diagram.tensor("B"))));
}

TEST_CASE("tensor_diagram: what makes no sense is refused, and nothing has changed") {
    const EigenBackend backend;
    auto diagram = some_diagram<double>();
    const auto refused = [&](const auto& call, const std::string& message) {
        CHECK_THROWS_AS(call(), ArgumentError);
        CHECK_THROWS_WITH(call(), message);
        CHECK(diagram.wiring().legs() == some_diagram<double>().wiring().legs());
        CHECK(diagram.wiring().open() == some_diagram<double>().wiring().open());
        CHECK(naive::distance(diagram.tensor("Y"), some_diagram<double>().tensor("Y")) == 0);
    };
    const auto split = [&](const Names& legs, const SplitNames& names,
                           const SplitOptions& options = {}) {
        return [&, legs, names, options] { diagram.split("Y", legs, names, options, backend); };
    };
    refused(split({"z"}, {"U", "V", "n"}), "split: tensor 'Y' (x, b, c) must have leg 'z' once");
    refused(split({"x", "x"}, {"U", "V", "n"}), "split: leg 'x' stands twice in (x, x)");
    refused(split({"x"}, {"U", "V", "a"}), "split: there is a leg 'a' (3) already");
    refused(split({"x"}, {"X", "V", "n"}), "add: there is a tensor 'X' (2 x 3 x 4) already");
    refused(split({"x"}, {"U", "U", "n"}), "add: there is a tensor 'U' (2 x 1) already");
    refused(split({"x"}, {"U", "V", ""}), "add: tensor 'U': leg 1 has no name");
    refused(split({"x"}, {"U", "V", "n"}, {.truncation = {.max_bond_dim = 0}}),
            "split: max_bond_dim must be at least 1, got 0");
    refused([&] { diagram.contract("X", "X", "Q", backend); },
            "contract: need two tensors, got 'X' twice");
    refused([&] { (void)diagram.tensor("Q"); },
            "TensorDiagram: there is no tensor 'Q' among (X, Y, Z)");
    CHECK_THROWS_AS(diagram.contract(backend, {.max_peak_elements = 17}), ArgumentError);
    refused([&] { diagram.contract("X", "Q", "Q", backend); },
            "TensorDiagram: there is no tensor 'Q' among (X, Y, Z)");
    refused([&] { diagram.contract("X", "Y", "Z", backend); },
            "add: there is a tensor 'Z' (5 x 3) already");
    refused(
        [&] {
            (void)to_mpo(diagram, {{"X", "a", ""}});
        },
        "to_mpo: 3 tensors need as many sites, got 1");
    refused(
        [&] {
            (void)to_mpo(diagram, {{"X", "a", ""}, {"Y", "", ""}, {"X", "", ""}});
        },
        "to_mpo: tensor 'X' stands at sites 0 and 2");
    refused(
        [&] {
            (void)to_mpo(diagram, {{"X", "a", ""}, {"Y", "", ""}, {"Z", "d", ""}});
        },
        "to_mpo: leg 'x' of tensor 'X' (x, a, b) is open, a bond must not");
    refused(
        [&] {
            (void)to_mpo(diagram, {{"X", "z", ""}, {"Y", "", ""}, {"Z", "d", ""}});
        },
        "to_mpo: leg 'z' of tensor 'X' (x, a, b) does not exist");
    CHECK_THROWS_AS(TensorDiagram<double>().contract(backend), ArgumentError);
    TensorDiagram<double> nan;
    Tensor<double> bad({2, 3});
    bad(1, 1) = std::nan("");
    nan.add("bad", bad, {"a", "b"});
    CHECK_THROWS_AS(nan.split("bad", {"a"}, {"U", "V", "n"}, {}, backend), NumericalError);
    CHECK_THROWS_WITH(nan.split("bad", {"a"}, {"U", "V", "n"}, {}, backend),
                      "split: element 4 of 6 of tensor 'bad' is nan, need finite values");
}

TEST_CASE("tensor_diagram: chains that are none") {
    const auto fails = [](const TensorDiagram<double>& diagram,
                          const std::vector<DiagramSite>& sites, const std::string& message) {
        CHECK_THROWS_AS(to_mpo(diagram, sites), ArgumentError);
        CHECK_THROWS_WITH(to_mpo(diagram, sites), message);
    };
    TensorDiagram<double> ring(
        "ab,bc,ca->", {Tensor<double>({2, 3}), Tensor<double>({3, 4}), Tensor<double>({4, 2})});
    fails(ring, {{"T0", "", ""}, {"T1", "", ""}, {"T2", "", ""}},
          "to_mpo: leg 'a' of tensor 'T0' (a, b) must be one out leg, one in leg or a bond to a "
          "neighbour");
    TensorDiagram<double> pair("ab,bc->ac", {Tensor<double>({2, 3}), Tensor<double>({3, 4})});
    fails(pair, {{"T0", "b", ""}, {"T1", "c", ""}},
          "to_mpo: leg 'b' of tensor 'T0' (a, b) must be open");
    fails(pair, {{"T0", "", ""}, {"T1", "c", ""}},
          "to_mpo: leg 'a' of tensor 'T0' (a, b) must be one out leg, one in leg or a bond to a "
          "neighbour");
    TensorDiagram<double> star(
        "ab,bc,bd->acd", {Tensor<double>({2, 3}), Tensor<double>({3, 4}), Tensor<double>({3, 4})});
    fails(star, {{"T0", "a", ""}, {"T1", "c", ""}, {"T2", "d", ""}},
          "to_mpo: leg 'b' of tensor 'T0' (a, b) must join two tensors");
    CHECK_THROWS_AS(to_diagram(Mpo<double>()), ArgumentError);
}

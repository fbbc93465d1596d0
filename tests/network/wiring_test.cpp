// Names of tensors and legs: what is open, what is joined, what is refused.
#include "mpo/network/wiring.hpp"

#include "support/catch.hpp"

using namespace mpo;
using Names = std::vector<std::string>;

namespace {

/// A (2, 3), B (3, 4) and the batch leg x of 5 that both have.
Wiring pair() {
    Wiring wiring;
    wiring.add("A", {5, 2, 3}, {"x", "a", "b"});
    wiring.add("B", {5, 3, 4}, {"x", "b", "c"});
    return wiring;
}

template <class E, class F>
void refused(F&& call, const std::string& message) {
    CHECK_THROWS_AS(call(), E);
    CHECK_THROWS_WITH(call(), message);
}

}  // namespace

TEST_CASE("wiring: a leg is open from its first axis on and summed from its second on") {
    Wiring wiring;
    wiring.add("A", {2, 3}, {"a", "b"});
    CHECK(wiring.open() == Names{"a", "b"});
    wiring.add("B", {3, 4}, {"b", "c"});
    CHECK(wiring.open() == Names{"a", "c"});
    wiring.add("T", {7, 7}, {"t", "t"});  // a trace is never open
    CHECK(wiring.open() == Names{"a", "c"});
    wiring.set_open({"c", "b", "a"});
    wiring.add("C", {3, 2}, {"b", "d"});  // a third axis changes nothing
    CHECK(wiring.open() == Names{"c", "b", "a", "d"});
    CHECK(wiring.legs() == Names{"a", "b", "c", "t", "d"});
    CHECK(wiring.num_axes("b") == 3);
    CHECK(wiring.num_axes("z") == 0);
    CHECK(wiring.num_parameters() == 6 + 12 + 49 + 6);
    Wiring huge;
    huge.add("A", {Index{1} << 62}, {"a"});
    huge.add("B", {Index{1} << 62}, {"b"});
    CHECK_THROWS_AS(huge.num_parameters(), ShapeError);
    CHECK_THROWS_AS(huge.add("C", {Index{1} << 40, Index{1} << 40}, {"c", "d"}), ShapeError);
    const auto network = wiring.network();
    CHECK(network.tensors == std::vector<std::vector<Index>>{{0, 1}, {1, 2}, {3, 3}, {1, 4}});
    CHECK(network.extents == Shape{2, 3, 4, 7, 2});
    CHECK(network.open == std::vector<Index>{2, 1, 0, 4});
}

TEST_CASE("wiring: connect joins two legs under the first name") {
    Wiring wiring;
    wiring.add("A", {2, 3}, {"a", "b"});
    wiring.add("B", {3, 2}, {"c", "d"});
    wiring.connect("b", "c");
    CHECK(wiring.open() == Names{"a", "d"});
    CHECK(wiring.tensors()[1].legs == Names{"b", "d"});
    wiring.connect("a", "d");  // a ring
    CHECK(wiring.open().empty());
    const auto fails = [&](const char* first, const char* second) {
        return [&wiring, first, second] { wiring.connect(first, second); };
    };
    refused<ShapeError>(fails("a", "b"), "connect: leg 'a' has extent 2, leg 'b' 3");
    refused<ArgumentError>(fails("a", "a"), "connect: need two legs, got 'a' twice");
    refused<ArgumentError>(fails("a", "z"), "TensorDiagram: there is no leg 'z' among (a, b)");
}

TEST_CASE("wiring: fuse_legs and split_leg are inverse to each other") {
    auto wiring = pair();
    wiring.set_open({"x", "a", "c"});
    wiring.split_leg("b", {"b1", "b2"}, {3, 1});
    CHECK(wiring.tensors()[0].legs == Names{"x", "a", "b1", "b2"});
    CHECK(wiring.tensors()[1].shape == Shape{5, 3, 1, 4});
    CHECK(wiring.fuse_legs({"b1", "b2"}, "b") == std::vector<Shape>{{0, 1, 2, 3}, {0, 1, 2, 3}});
    CHECK(wiring.tensors()[0].legs == pair().tensors()[0].legs);
    CHECK(wiring.tensors()[1].shape == pair().tensors()[1].shape);
    wiring.split_leg("a", {"p", "a"}, {1, 2});
    CHECK(wiring.open() == Names{"x", "p", "a", "c"});
    // where the first one was, the first slowest
    CHECK(wiring.fuse_legs({"a", "p"}, "q") == std::vector<Shape>{{0, 2, 1, 3}, {}});
    CHECK(wiring.open() == Names{"x", "q", "c"});
}

TEST_CASE("wiring: replace puts tensors where others were") {
    auto wiring = pair();
    wiring.add("C", {4}, {"c"});
    wiring.set_open({"x"});
    wiring.replace({2, 0}, {{"D", {"x", "b", "c"}, {5, 3, 4}}});
    CHECK(wiring.tensors()[0].name == "B");
    CHECK(wiring.tensors()[1].name == "D");
    CHECK(wiring.open() == Names{"x"});
    wiring.set_open({"x", "c"});
    wiring.replace({0, 1}, {{"E", {"x", "new"}, {5, 9}}});
    CHECK(wiring.open() == Names{"x"});
}

TEST_CASE("wiring: bad names and extents are refused, and nothing has changed") {
    auto wiring = pair();
    const auto add = [&](const char* name, const Shape& shape, const Names& legs) {
        return [&wiring, name, shape, legs] { wiring.add(name, shape, legs); };
    };
    refused<ArgumentError>(add("A", {2}, {"a"}), "add: there is a tensor 'A' (5 x 2 x 3) already");
    refused<ArgumentError>(add("", {2}, {"a"}), "add: a tensor must have a name");
    refused<ShapeError>(add("C", {2, 3}, {"a"}),
                        "add: tensor 'C' (2 x 3) has 2 axes, got 1 legs (a)");
    refused<ShapeError>(add("C", {7}, {"a"}),
                        "add: tensor 'C': leg 'a' has extent 7, in tensor 'A' 2");
    refused<ShapeError>(add("C", {7, 6}, {"t", "t"}),
                        "add: tensor 'C': leg 't' has extent 7, in tensor 'C' 6");
    refused<ArgumentError>(add("C", {0}, {"z"}),
                           "add: tensor 'C': leg 'z' must have at least extent 1, got 0");
    refused<ArgumentError>(add("C", {2}, {""}), "add: tensor 'C': leg 0 has no name");
    refused<ArgumentError>(
        [&] {
            wiring.set_open({"a", "c", "a"});
        },
        "set_open: leg 'a' stands twice in (a, c, a)");
    refused<ArgumentError>([&] { wiring.set_open({"z"}); },
                           "TensorDiagram: there is no leg 'z' among (x, a, b, c)");
    refused<ArgumentError>([&] { (void)wiring.position("Z"); },
                           "TensorDiagram: there is no tensor 'Z' among (A, B)");
    refused<ArgumentError>([&] { wiring.fuse_legs({}, "f"); },
                           "fuse_legs: need at least one leg, and a name for the new one");
    refused<ArgumentError>(
        [&] {
            wiring.fuse_legs({"x", "b", "x"}, "f");
        },
        "fuse_legs: leg 'x' stands twice in (x, b, x)");
    refused<ArgumentError>(
        [&] {
            wiring.fuse_legs({"x", "b"}, "c");
        },
        "fuse_legs: there is a leg 'c' (4) already");
    refused<ArgumentError>(
        [&] {
            wiring.fuse_legs({"x", "a"}, "f");
        },
        "fuse_legs: tensor 'B' (x, b, c) must have each of (x, a) once, or "
        "none");
    refused<ShapeError>(
        [&] {
            wiring.split_leg("c", {"p", "q"}, {2, 3});
        },
        "split_leg: 2 parts (p, q) of 2*3 = 6 must make up leg 'c' of extent 4");
    refused<ShapeError>(
        [&] {
            wiring.split_leg("c", {"p"}, {2, 2});
        },
        "split_leg: 1 parts (p) of 2*2 = 4 must make up leg 'c' of extent 4");
    refused<ArgumentError>(
        [&] {
            wiring.split_leg("c", {"p", "p"}, {2, 2});
        },
        "split_leg: leg 'p' stands twice in (p, p)");
    refused<ArgumentError>(
        [&] {
            wiring.split_leg("c", {"p", "a"}, {2, 2});
        },
        "split_leg: part 'a' of 'c' exists already");
    refused<ArgumentError>(
        [&] {
            wiring.split_leg("c", {"p", ""}, {2, 2});
        },
        "split_leg: part '' of 'c' has no name");
    CHECK(wiring.legs() == pair().legs());
    CHECK(wiring.open() == Names{"a", "c"});
    wiring.set_open({"x", "a"});
    refused<ArgumentError>(
        [&] {
            wiring.fuse_legs({"x", "b"}, "f");
        },
        "fuse_legs: all of (x, b) must be open or none, open are (x, a)");
    wiring.add("C", {3, 3}, {"s", "s"});
    refused<ArgumentError>([&] { wiring.fuse_legs({"s"}, "f"); },
                           "fuse_legs: tensor 'C' (s, s) must have each of (s) once, or none");
}

TEST_CASE("wiring: equations are read as numpy reads them") {
    const auto full = parse_einsum("aib, bjc -> aijc");
    CHECK(full.tensors == std::vector<Names>{{"a", "i", "b"}, {"b", "j", "c"}});
    CHECK(full.open == Names{"a", "i", "j", "c"});
    CHECK(parse_einsum("cb,ba").open == Names{"a", "c"});  // alphabetical
    CHECK(parse_einsum("aab").open == Names{"b"});
    CHECK(parse_einsum("ab,ab->").open.empty());
    CHECK(parse_einsum(",->").tensors == std::vector<Names>{{}, {}});
    const auto fails = [](const char* equation) {
        return [equation] { (void)parse_einsum(equation); };
    };
    refused<ArgumentError>(fails("ab,b1->a"),
                           "parse_einsum: 'ab,b1->a' holds '1', need letters, commas and ->");
    refused<ArgumentError>(fails("ab->ac"),
                           "parse_einsum: 'ab->ac' asks for leg 'c', which no tensor has");
    refused<ArgumentError>(fails("ab->aa"),
                           "parse_einsum: 'ab->aa' has leg 'a' twice in its result");
    refused<ArgumentError>(fails("a...->a"),
                           "parse_einsum: 'a...->a' holds '.', need letters, commas and ->");
}

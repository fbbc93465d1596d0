// Out of memory at every allocation of what changes a diagram: it stays as it was, and the next call
// succeeds.

#include <functional>

#include "mpo/diagram.hpp"
#include "mpo/mpo.hpp"
#include "support/catch.hpp"
#include "support/out_of_memory.hpp"
#include "support/thread_count.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

using Diagram = TensorDiagram<double>;

[[nodiscard]] bool same(const Diagram& a, const Diagram& b) {
    const auto &first = a.wiring().tensors(), &second = b.wiring().tensors();
    if (a.wiring().open() != b.wiring().open() || first.size() != second.size()) return false;
    for (std::size_t k = 0; k < first.size(); ++k) {
        const auto &x = a.tensor(first[k].name), &y = b.tensor(first[k].name);
        if (first[k].legs != second[k].legs || first[k].shape != second[k].shape ||
            x.shape() != first[k].shape || !std::equal(x.data(), x.data() + x.size(), y.data()))
            return false;
    }
    return true;
}

/// Long names, so that every copy of one allocates.
const std::string a = "a leg with a name of more than fifteen letters", b = "b" + a, c = "c" + a,
                  d = "d" + a;

[[nodiscard]] Diagram some_diagram() {
    Diagram diagram;
    diagram.add("A", normal_tensor<double>({2, 6, 3}, 1), {a, b, c})
        .add("B", normal_tensor<double>({6, 4}, 2), {b, d})
        .set_open({d, a, c});
    return diagram;
}

}  // namespace

TEST_CASE("out of memory: a diagram that could not be changed is as it was") {
    const EigenBackend cpu;
    const ThreadCount scope(1);
    const auto before = some_diagram();
    const auto C = normal_tensor<double>({4, 6}, 3);
    const std::vector<std::function<void(Diagram&)>> changes{
        [&](Diagram& x) {
            x.add("C", C, {d, b});
        },
        [&](Diagram& x) {
            x.set_open({a, b});
        },
        [&](Diagram& x) {
            x.fuse_legs({c, a}, a);
        },
        [&](Diagram& x) {
            x.split_leg(b, {"x" + b, "y" + b}, {2, 3});
        },
        [&](Diagram& x) {
            x.split("A", {b}, {"U" + a, "V" + a, "bond" + a}, {}, cpu);
        },
        [&](Diagram& x) { x.contract("B", "A", "AB" + a, cpu); },
    };
    for (std::size_t k = 0; k < changes.size(); ++k) {
        auto expected = before;
        changes[k](expected);
        CHECK_FALSE(same(expected, before));
        long failures = 0;
        for (long n = 1;; ++n) {
            CAPTURE(k, n);
            auto diagram = before;
            FailingAllocation failing(n, Shortage::once);
            bool out_of_memory = false;
            try {
                changes[k](diagram);
            } catch (const std::bad_alloc&) {
                out_of_memory = true;
            }
            failing.stop();
            if (out_of_memory) {
                ++failures;
                CHECK(same(diagram, before));
                changes[k](diagram);
            }
            CHECK(same(diagram, expected));
            if (!failing.happened()) break;
        }
        CHECK(failures > 2);
    }
}

TEST_CASE("out of memory: contract throws bad_alloc, and the next call succeeds") {
    const EigenBackend cpu;
    const ThreadCount scope(1);
    const auto diagram = some_diagram();
    const auto make = [&] { return diagram.contract(cpu); };
    const auto expected = make();
    const auto counts = for_every_allocation(
        Shortage::lasting, make,
        [&](const auto& got) {
            return std::equal(got.data(), got.data() + got.size(), expected.data());
        },
        [&] { return same(diagram, some_diagram()); });
    CHECK(counts.failed > 20);
}

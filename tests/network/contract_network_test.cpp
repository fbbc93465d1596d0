// Networks along any path against one loop over all legs.
#include "mpo/network/contract_network.hpp"

#include <functional>

#include "mpo/core/random.hpp"
#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/counting_backend.hpp"
#include "support/einsum.hpp"
#include "support/tolerance.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

struct NetworkCase {
    const char* equation;
    Shape extents;
};

std::vector<NetworkCase> networks() {
    return {
        {"ab,bc,cd->ad", {2, 3, 5, 4}},
        {"ab,bc,ca->", {2, 3, 5}},                 // a ring, a scalar
        {"ab,cd,ef->cafdeb", {2, 3, 2, 3, 2, 1}},  // parts that do not touch
        {"ab,ac,ad->bcd", {3, 2, 2, 3}},           // a hyperedge, summed when the last comes
        {"ab,ac,ad->bacd", {3, 2, 2, 3}},          // the same, kept
        {"aab,bcc->a", {3, 4, 2}},                 // a diagonal that stays, a trace that goes
        {"aa->", {5}},
        {"aab->ba", {3, 4}},
        {"abc->cab", {2, 3, 4}},
        {"abc->b", {2, 3, 4}},
        {",,->", {}},
        {"a,,b->ba", {2, 3}},
        {"abc,d,ce->be", {2, 3, 4, 3, 2}},  // legs that one tensor alone has
        {"ab,bc,cd,de,ea->", {2, 3, 1, 2, 3}},
        {"abx,bcx,cdx->adx",
         {2, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4}},
    };
}

/// Every order in which pairs can be contracted.
void for_each_path(Index count, std::vector<Index> alive, std::vector<ContractionStep> steps,
                   const std::function<void(const ContractionPath&)>& visit) {
    if (alive.size() < 2) return visit({std::move(steps), {}});
    for (std::size_t p = 0; p < alive.size(); ++p)
        for (std::size_t q = 0; q < alive.size(); ++q) {
            if (p == q) continue;
            auto rest = alive;
            std::erase_if(rest, [&](Index id) { return id == alive[p] || id == alive[q]; });
            auto more = steps;
            rest.push_back(count + std::ssize(steps));
            more.push_back({alive[p], alive[q]});
            for_each_path(count, std::move(rest), std::move(more), visit);
        }
}

template <class T>
std::vector<Tensor<T>> random_tensors(const LegNetwork& network) {
    std::vector<Tensor<T>> tensors;
    for (const auto& legs : network.tensors) {
        Shape shape;
        for (const Index leg : legs)
            shape.push_back(network.extents[static_cast<std::size_t>(leg)]);
        tensors.push_back(normal_tensor<T>(shape, tensors.size() + 1));
    }
    return tensors;
}

template <class T>
std::vector<TensorView<const T>> views(const std::vector<Tensor<T>>& tensors) {
    return {tensors.begin(), tensors.end()};
}

template <class T>
double allowed(const LegNetwork& network, const std::vector<Tensor<T>>& tensors) {
    double norms = 1;
    for (const auto& tensor : tensors) norms *= naive::norm(tensor);
    for (const Index leg : network.open)  // a leg that others lack repeats them
        norms *= std::sqrt(static_cast<double>(network.extents[static_cast<std::size_t>(leg)]));
    return tolerance<T>(naive::num_terms(network) * std::ssize(tensors), norms);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("contract_network: every path gives the same tensor", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    for (const auto& [equation, extents] : networks()) {
        CAPTURE(equation);
        const auto network = naive::lettered(equation, extents);
        const auto tensors = random_tensors<T>(network);
        std::vector<Tensor<Wide<T>>> wide;
        for (const auto& tensor : tensors) wide.push_back(naive::widen(tensor));
        const auto expected = naive::einsum(network, wide);
        const Index count = std::ssize(tensors);
        std::vector<Index> alive;
        for (Index k = 0; k < count; ++k) alive.push_back(k);
        Index paths = 0;
        const auto check = [&](const ContractionPath& path) {
            if (count > 4 && ++paths % 97 != 1) return;
            const auto got = contract_network<T>(network, path, views(tensors), backend);
            CHECK(naive::distance(got, expected) <= allowed(network, tensors));
        };
        for_each_path(count, alive, {}, check);
        check(optimize_path(network));
    }
}

TEST_CASE("contract_network: random networks, of every kind of leg") {
    const EigenBackend backend;
    Random random(7);
    const auto draw = [&](Index n) { return random.below(n); };
    for (int trial = 0; trial < 400; ++trial) {
        LegNetwork network;
        for (Index leg = 0; leg < 7; ++leg) network.extents.push_back(1 + draw(4));
        std::vector<Index> used;
        for (Index count = 1 + draw(4); count > 0; --count) {
            network.tensors.emplace_back();
            for (Index axis = draw(5); axis > 0; --axis) {
                network.tensors.back().push_back(draw(7));
                used.push_back(network.tensors.back().back());
            }
        }
        std::sort(used.begin(), used.end());
        used.erase(std::unique(used.begin(), used.end()), used.end());
        for (const Index leg : used)
            if (draw(2) == 0)
                network.open.insert(network.open.begin() + draw(std::ssize(network.open) + 1), leg);
        for (Index leg = 0; leg < 7; ++leg)  // legs without a tensor: the naive loop would repeat
            if (!std::binary_search(used.begin(), used.end(), leg))
                network.extents[static_cast<std::size_t>(leg)] = 1;
        CAPTURE(trial, network.tensors, network.open, network.extents);
        const auto tensors = random_tensors<double>(network);
        auto path = optimize_path(network);
        const auto expected = naive::einsum(network, tensors);
        CHECK(naive::distance(contract_network<double>(network, path, views(tensors), backend),
                              expected) <= allowed(network, tensors));
        for (const Index leg : used)
            if (std::count(network.open.begin(), network.open.end(), leg) == 0)
                path.sliced.push_back(leg);  // and slice by slice
        CHECK(naive::distance(contract_network<double>(network, path, views(tensors), backend),
                              expected) <= allowed(network, tensors));
    }
}

TEMPLATE_LIST_TEST_CASE("contract_network: slices add up to the whole", "", BackendCases) {
    using T = typename TestType::T;
    const typename TestType::Backend backend;
    const auto network = naive::lettered("aab,bcd,de,fce->f", {2, 3, 4, 5, 3, 2});
    const auto tensors = random_tensors<T>(network);
    std::vector<Tensor<Wide<T>>> wide;
    for (const auto& tensor : tensors) wide.push_back(naive::widen(tensor));
    const auto expected = naive::einsum(network, wide);
    for (const auto& sliced : std::vector<std::vector<Index>>{{1}, {0}, {3, 2}, {0, 1, 2, 3, 4}}) {
        const ContractionPath path{{{0, 1}, {2, 3}, {4, 5}}, sliced};
        const auto got = contract_network<T>(network, path, views(tensors), backend);
        CHECK(naive::distance(got, expected) <= allowed(network, tensors));
    }
}

TEST_CASE("contract_network: a chain of matrices is contracted without a copy") {
    const CountingBackend backend;
    const auto network = naive::lettered("ab,bc,cd,de->ae", {3, 4, 5, 6, 7});
    const auto tensors = random_tensors<double>(network);
    (void)contract_network<double>(network, {{{0, 1}, {4, 2}, {5, 3}}, {}}, views(tensors),
                                   backend);
    CHECK(backend.calls().permutes == 0);
    CHECK(backend.calls().gemms == 3);
}

TEST_CASE("contract_network: what makes no sense is refused, with numbers") {
    const EigenBackend backend;
    const auto network = naive::lettered("ab,bc->ac", {2, 3, 4});
    const auto tensors = random_tensors<double>(network);
    const auto run = [&](const ContractionPath& path,
                         const std::vector<TensorView<const double>>& inputs) {
        return contract_network<double>(network, path, inputs, backend);
    };
    const ContractionPath path{{{0, 1}}, {}};
    CHECK_THROWS_AS(run({}, views(tensors)), ArgumentError);
    CHECK_THROWS_WITH(run({{{0, 1}}, {0}}, views(tensors)),
                      "contract_network: sliced leg 0 of extent 2 is open, only summed ones can "
                      "be sliced");
    CHECK_THROWS_AS(run({{{0, 1}}, {0}}, views(tensors)), ArgumentError);
    CHECK_THROWS_WITH(run({{{0, 1}}, {1, 1}}, views(tensors)),
                      "contract_network: leg 1 is sliced twice");
    CHECK_THROWS_WITH(run(path, {tensors[0]}),
                      "contract_network: the network has 2 tensors, got 1");
    CHECK_THROWS_WITH(run(path, {tensors[0], tensors[0]}),
                      "contract_network: tensor 1 must be 3 x 4, got 2 x 3");
    CHECK_THROWS_AS(run(path, {tensors[0], tensors[0]}), ShapeError);
}

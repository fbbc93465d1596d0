// Out of memory at every allocation of decompose, make_plan and apply.

#include "mpo/mpo.hpp"
#include "support/catch.hpp"
#include "support/matrices.hpp"
#include "support/out_of_memory.hpp"
#include "support/thread_count.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

template <Scalar T>
[[nodiscard]] bool same(const Tensor<T>& a, const Tensor<T>& b) {
    return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

template <Scalar T>
[[nodiscard]] bool same(const Mpo<T>& a, const Mpo<T>& b) {
    if (a.num_sites() != b.num_sites()) return false;
    for (Index k = 0; k < a.num_sites(); ++k)
        if (!same(a.core(k), b.core(k))) return false;
    return true;
}

/// decompose(W) with every allocation failing, or every step-th.
template <Scalar T>
void check_decompose(const Tensor<T>& W, const DecomposeOptions& options, int threads,
                     Shortage shortage, long step = 1) {
    const EigenBackend cpu;
    const auto before = W;
    const ThreadCount scope(threads);
    const auto make = [&] { return decompose(W, options, cpu).mpo; };
    const auto expected = make();
    const auto counts = for_every_allocation(
        shortage, make, [&](const auto& mpo) { return same(mpo, expected); },
        [&] { return same(W, before); }, step);
    INFO(threads << " threads");
    CHECK(counts.failed > 20);
}

}  // namespace

TEMPLATE_TEST_CASE("out of memory: decompose throws bad_alloc, and the next call succeeds", "",
                   float, double, std::complex<float>) {
    const auto W = matrix_with_spectrum<TestType>(12, 20, power_spectrum(12), 3);
    const std::vector<DecomposeOptions> cases{
        {.layout = {.out = {3, 2, 2}, .in = {2, 5, 2}}, .truncation = {.max_bond_dim = 4}},
        {.layout = low_rank_layout(12, 20), .truncation = {.max_relative_error = 0.1}}};
    for (const auto& options : cases)
        for (const int threads : {1, 2})
            for (const auto shortage : {Shortage::once, Shortage::lasting})
                check_decompose(W, options, threads, shortage);
}

TEST_CASE("out of memory: decompose of what is large enough for threads and sketches") {
    const auto W = matrix_with_spectrum<float>(150, 130, power_spectrum(130), 5);
    constexpr long step = 11;  // it makes thousands, many of them in the same places
    check_decompose(W, {.layout = low_rank_layout(150, 130), .truncation = {.max_bond_dim = 8}}, 2,
                    Shortage::once, step);
}

TEST_CASE("out of memory: make_plan and apply, from one thread and from two") {
    const EigenBackend cpu;
    const auto W = matrix_with_spectrum<float>(24, 30, power_spectrum(24), 3);
    const auto mpo = decompose(W, {.layout = {.out = {4, 3, 2}, .in = {3, 5, 2}}}, cpu).mpo;
    const auto X = normal_tensor<float>({64, 30}, 7);
    const auto x_before = X;
    const auto mpo_before = mpo;
    for (const int threads : {1, 2}) {
        const ThreadCount scope(threads);
        const auto make = [&] {
            Tensor<float> Y({64, 24});
            const auto plan = make_plan(mpo, {.batch = 64, .max_workspace_bytes = 20'000}, cpu);
            REQUIRE(plan.max_workers() >= threads);
            plan.apply(X, Y);
            return Y;
        };
        const auto expected = make();
        for (const auto shortage : {Shortage::once, Shortage::lasting}) {
            const auto counts = for_every_allocation(
                shortage, make, [&](const auto& Y) { return same(Y, expected); },
                [&] { return same(X, x_before) && same(mpo, mpo_before); });
            CHECK(counts.failed > 10);
        }
    }
}

TEST_CASE("out of memory: a plan whose apply failed applies again") {
    const EigenBackend cpu;
    const ThreadCount scope(2);
    const auto W = matrix_with_spectrum<float>(24, 30, power_spectrum(24), 3);
    const auto mpo = decompose(W, {.layout = {.out = {4, 3, 2}, .in = {3, 5, 2}}}, cpu).mpo;
    const auto X = normal_tensor<float>({64, 30}, 7);
    Tensor<float> expected({64, 24});
    make_plan(mpo, {.batch = 64, .max_workspace_bytes = 20'000}, cpu).apply(X, expected);
    long failures = 0;
    for (long n = 1; n < 20; ++n) {
        const auto plan = make_plan(mpo, {.batch = 64, .max_workspace_bytes = 20'000}, cpu);
        Tensor<float> Y({64, 24});
        FailingAllocation failing(n, Shortage::once);
        try {
            plan.apply(X, Y);
        } catch (const std::bad_alloc&) {
            ++failures;
        }
        failing.stop();
        plan.apply(X, Y);
        CHECK(same(Y, expected));
    }
    CHECK(failures > 0);
}

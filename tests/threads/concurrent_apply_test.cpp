// Many callers at once: of one plan, of plans of their own, of decompose, while the pool is busy with
// some of them.

#include <thread>

#include "mpo/mpo.hpp"
#include "support/catch.hpp"
#include "support/thread_count.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

const EigenBackend cpu;

[[nodiscard]] bool same(const Tensor<float>& a, const Tensor<float>& b) {
    return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

/// call(k) on `count` threads of the caller's own, all at once.
template <class Call>
void on_callers(int count, Call&& call) {
    std::vector<std::thread> callers;
    for (int k = 0; k < count; ++k) callers.emplace_back([&call, k] { call(k); });
    for (auto& caller : callers) caller.join();
}

[[nodiscard]] Mpo<float> small_mpo(std::uint64_t seed) {
    return decompose(
               normal_tensor<float>({24, 30}, seed),
               {.layout = {.out = {4, 3, 2}, .in = {3, 5, 2}}, .truncation = {.max_bond_dim = 5}},
               cpu)
        .mpo;
}

}  // namespace

TEST_CASE("threads: one plan serves many callers, whose chunks go to the pool") {
    const ThreadCount scope(3);
    const auto X = normal_tensor<float>({200, 30}, 97);
    for (const auto direction : {SweepDirection::right_to_left, SweepDirection::left_to_right}) {
        const auto plan = make_plan(small_mpo(1), {.batch = 50, .direction = direction}, cpu);
        REQUIRE(plan.max_workers() > 1);
        Tensor<float> alone({200, 24});
        plan.apply(X, alone);
        std::vector<Tensor<float>> results(4, Tensor<float>({200, 24}));
        on_callers(4, [&](int k) {
            for (int repeat = 0; repeat < 20; ++repeat)
                plan.apply(X, results[static_cast<std::size_t>(k)]);
        });
        for (const auto& Y : results) CHECK(same(Y, alone));
    }
}

TEST_CASE("threads: callers decompose, plan and apply side by side, with the bits of one alone") {
    const ThreadCount scope(2);
    const auto X = normal_tensor<float>({64, 30}, 97);
    const auto work = [&](int seed) {
        const auto plan =
            make_plan(small_mpo(static_cast<std::uint64_t>(seed)), {.batch = 64}, cpu);
        Tensor<float> Y({64, 24});
        plan.apply(X, Y);
        return Y;
    };
    std::vector<Tensor<float>> expected, results(4, Tensor<float>({64, 24}));
    for (int k = 0; k < 4; ++k) expected.push_back(work(k));
    on_callers(4, [&](int k) {
        for (int repeat = 0; repeat < 5; ++repeat) results[static_cast<std::size_t>(k)] = work(k);
    });
    CHECK(std::equal(results.begin(), results.end(), expected.begin(), same));
}

TEST_CASE("threads: products large enough for the pool, from many callers") {
    const ThreadCount scope(3);
    const auto A = normal_tensor<float>({150, 90}, 1), B = normal_tensor<float>({90, 170}, 2);
    const auto product = [&] {
        Tensor<float> C({150, 170});
        cpu.gemm(1.0f, as_matrix(A.view()), as_matrix(B.view()), 0.0f, as_matrix(C.view()));
        return C;
    };
    const auto expected = product();
    std::vector<Tensor<float>> results(4, expected);
    on_callers(4, [&](int k) {
        for (int repeat = 0; repeat < 5; ++repeat) results[static_cast<std::size_t>(k)] = product();
    });
    for (const auto& C : results) CHECK(same(C, expected));
}

TEST_CASE("threads: the knob may be turned while others compute") {
    const ThreadCount scope(2);
    const auto X = normal_tensor<float>({200, 30}, 97);
    const auto plan = make_plan(small_mpo(3), {.batch = 50}, cpu);
    Tensor<float> expected({200, 24});
    plan.apply(X, expected);
    std::vector<Tensor<float>> results(3, expected);
    on_callers(3, [&](int k) {
        for (int repeat = 0; repeat < 20; ++repeat) {
            if (k == 0) set_num_threads(1 + repeat % 4);
            plan.apply(X, results[static_cast<std::size_t>(k)]);
        }
    });
    for (const auto& Y : results) CHECK(same(Y, expected));
}

// Out of memory inside the thread pool: what fails in a worker arrives in the caller.

#include "mpo/core/parallel.hpp"

#include <memory>
#include <new>
#include <numeric>
#include <vector>

#include "mpo/core/error.hpp"
#include "mpo/model/in_order.hpp"
#include "support/out_of_memory.hpp"
#include "support/thread_count.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

[[nodiscard]] bool always() {
    return true;
}

/// 0, 1, .., count - 1, each made in an allocation of its own by whichever thread.
[[nodiscard]] std::vector<Index> count_in_parallel(Index count) {
    std::vector<std::unique_ptr<Index>> made(static_cast<std::size_t>(count));
    parallel_for(0, count, 1, [&](Index first, Index last) {
        for (Index k = first; k < last; ++k)
            made[static_cast<std::size_t>(k)] = std::make_unique<Index>(k);
    });
    std::vector<Index> numbers;
    for (const auto& number : made) numbers.push_back(*number);
    return numbers;
}

[[nodiscard]] std::vector<Index> count_in_order(Index count) {
    std::vector<Index> numbers;
    detail::for_each_in_order(
        count, [](Index k) { return std::make_unique<Index>(k); },
        [&](Index, std::unique_ptr<Index> number) { numbers.push_back(*number); });
    return numbers;
}

}  // namespace

TEST_CASE("out of memory: an allocation that fails in a worker is bad_alloc in the caller") {
    const ThreadCount scope(2);
    const auto caller = std::this_thread::get_id();
    for (int repeat = 0; repeat < 20; ++repeat) {
        const auto loop = [&] {
            parallel_for(0, 2, 1, [&](Index, Index) {
                if (std::this_thread::get_id() == caller) return;
                const FailingAllocation failing(1, Shortage::once);
                ::operator delete(::operator new(40));  // a vector's a compiler may leave out
            });
        };
        CHECK_THROWS_AS(loop(), std::bad_alloc);
        CHECK(count_in_parallel(10).back() == 9);
    }
}

TEST_CASE("out of memory: parallel loops, and the pool that they make") {
    std::vector<Index> expected(40);
    std::iota(expected.begin(), expected.end(), Index{0});
    const auto equal = [&](const auto& numbers) { return numbers == expected; };
    for (const auto shortage : {Shortage::once, Shortage::lasting})
        for (const bool in_order : {false, true}) {
            int threads = 2;
            const auto make = [&] {
                threads = 5 - threads;  // 2 or 3: the pool is made anew
                const ThreadCount scope(threads);
                return in_order ? count_in_order(40) : count_in_parallel(40);
            };
            const auto counts = for_every_allocation(shortage, make, equal, always);
            CHECK(counts.failed > 40);
        }
}

TEST_CASE("out of memory: a message is whole, or bad_alloc") {
    const std::string long_word(1000, 'w');
    const auto make = [&] { return detail::concat("first ", long_word, 17, " last"); };
    const auto expected = make();
    for (const auto shortage : {Shortage::once, Shortage::lasting}) {
        const auto counts = for_every_allocation(
            shortage, make, [&](const auto& text) { return text == expected; }, always);
        CHECK(counts.failed > 1);
        CHECK(counts.survived == 0);
    }
}

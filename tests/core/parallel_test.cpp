// The pool: every index once, no more threads than asked for, exceptions come out, nothing
// deadlocks.
#include "mpo/core/parallel.hpp"

#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/catch.hpp"

using namespace mpo;

namespace {

/// Sets the one knob and puts it back.
class WithThreads {
  public:
    explicit WithThreads(int threads) : before_(num_threads()) { set_num_threads(threads); }
    ~WithThreads() { set_num_threads(before_); }
    WithThreads(const WithThreads&) = delete;
    WithThreads& operator=(const WithThreads&) = delete;

  private:
    int before_;
};

using Ranges = std::set<std::pair<Index, Index>>;

Ranges pieces_of(Index begin, Index end, Index grain) {
    std::mutex guard;
    Ranges pieces;
    parallel_for(begin, end, grain, [&](Index first, Index last) {
        const std::lock_guard lock(guard);
        pieces.emplace(first, last);
    });
    return pieces;
}

}  // namespace

TEST_CASE("parallel_for covers a range once, in pieces of whole grains") {
    for (const int threads : {1, 2, 3, 5}) {
        const WithThreads scope(threads);
        for (const Index begin : {-3, 0, 5})
            for (const Index length : {0, 1, 2, 7, 64, 101})
                for (const Index grain : {-1, 0, 1, 3, 8, 200}) {
                    CAPTURE(threads, begin, length, grain);
                    const auto pieces = pieces_of(begin, begin + length, grain);
                    REQUIRE(pieces.size() <= static_cast<std::size_t>(threads));
                    REQUIRE(pieces.empty() == (length == 0));
                    Index reached = begin;
                    for (const auto& [first, last] : pieces) {
                        REQUIRE(first == reached);
                        REQUIRE(last > first);
                        const Index whole = std::max<Index>(grain, 1);
                        REQUIRE((last == begin + length || (last - first) % whole == 0));
                        reached = last;
                    }
                    REQUIRE(reached == begin + length);
                    if (length >= threads && grain <= 1)
                        REQUIRE(pieces.size() == static_cast<std::size_t>(threads));
                }
    }
    CHECK(pieces_of(5, 3, 1).empty());
}

TEST_CASE("the same thread count splits a range the same way") {
    const WithThreads scope(3);
    const auto first = pieces_of(0, 1000, 7);
    for (int repeat = 0; repeat < 20; ++repeat) CHECK(pieces_of(0, 1000, 7) == first);
}

TEST_CASE("parallel_tasks runs every task once") {
    for (const int threads : {1, 2, 4}) {
        const WithThreads scope(threads);
        for (const Index count : {0, 1, 2, 3, 100}) {
            std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
            parallel_tasks(count, [&](Index k) { ++runs[static_cast<std::size_t>(k)]; });
            for (const auto& run : runs) REQUIRE(run == 1);
        }
    }
}

TEST_CASE("no more threads than asked for, and they persist") {
    const WithThreads scope(3);
    std::mutex guard;
    std::set<std::thread::id> seen;
    for (int repeat = 0; repeat < 50; ++repeat)
        parallel_for(0, 300, 1, [&](Index, Index) {
            const std::lock_guard lock(guard);
            seen.insert(std::this_thread::get_id());
        });
    CHECK(seen.size() == 3);
    CHECK(seen.count(std::this_thread::get_id()) == 1);
}

TEST_CASE("a nested loop runs on the thread that calls it") {
    const WithThreads scope(4);
    std::atomic<int> elements{0}, strangers{0};
    parallel_for(0, 4, 1, [&](Index, Index) {
        const auto outer = std::this_thread::get_id();
        parallel_for(0, 100, 1, [&](Index first, Index last) {
            elements += static_cast<int>(last - first);
            if (std::this_thread::get_id() != outer) ++strangers;
        });
        parallel_tasks(10, [&](Index) {
            if (std::this_thread::get_id() != outer) ++strangers;
        });
    });
    CHECK(elements == 400);
    CHECK(strangers == 0);
}

TEST_CASE("an exception reaches the caller: that of the lowest piece") {
    for (const int threads : {1, 2, 4}) {
        const WithThreads scope(threads);
        for (int repeat = 0; repeat < 20; ++repeat) {
            CHECK_THROWS_WITH(parallel_for(0, 400, 1,
                                           [](Index first, Index) {
                                               throw ArgumentError(std::to_string(first));
                                           }),
                              "0");
            const Index last_piece = 400 - 400 / threads;
            CHECK_THROWS_WITH(parallel_for(0, 400, 1,
                                           [&](Index first, Index) {
                                               if (first == last_piece)
                                                   throw NumericalError("last");
                                           }),
                              "last");
        }
        CHECK(pieces_of(0, 400, 1).size() == static_cast<std::size_t>(threads));  // the pool lives
    }
}

TEST_CASE("a task that throws keeps the others from starting") {
    const WithThreads scope(2);
    std::atomic<int> started{0};
    CHECK_THROWS_AS(parallel_tasks(1'000'000,
                                   [&](Index k) {
                                       ++started;
                                       if (k == 3) throw NumericalError("task 3");
                                   }),
                    NumericalError);
    CHECK(started < 1'000'000);
    CHECK(started >= 4);
}

TEST_CASE("several callers at once all get their work done") {
    const WithThreads scope(2);
    std::vector<Index> sums(4, 0);
    std::vector<std::thread> callers;
    for (auto& sum : sums)
        callers.emplace_back([&sum] {
            for (int repeat = 0; repeat < 200; ++repeat) {
                std::atomic<Index> total{0};
                parallel_for(0, 1000, 1, [&](Index first, Index last) { total += last - first; });
                sum += total;
            }
        });
    for (auto& caller : callers) caller.join();
    for (const Index sum : sums) CHECK(sum == 200 * 1000);
}

TEST_CASE("the thread count is the caller's and is checked") {
    {
        const WithThreads scope(7);
        CHECK(num_threads() == 7);
        CHECK_THROWS_AS(set_num_threads(0), ArgumentError);
        CHECK_THROWS_WITH(set_num_threads(-2), "set_num_threads: need 1 to 4096 threads, got -2");
        CHECK_THROWS_AS(set_num_threads(4097), ArgumentError);
        CHECK(num_threads() == 7);
    }
    CHECK(num_threads() >= 1);
}

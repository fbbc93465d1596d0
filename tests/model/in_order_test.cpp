#include "mpo/model/in_order.hpp"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace mpo;
using namespace mpo::test;

TEST_CASE("in order: everything is made once and delivered in order, early results wait") {
    const int before = num_threads();
    for (const int threads : {1, 2, 5})
        for (const Index count : {0, 1, 2, 7, 100}) {
            set_num_threads(threads);
            std::vector<Index> delivered;
            std::atomic<Index> made{0}, most_ahead{0};
            detail::for_each_in_order(
                count,
                [&](Index k) {
                    if (k % 7 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
                    ++made;
                    return k * k;
                },
                [&](Index k, Index square) {
                    CHECK(square == k * k);
                    delivered.push_back(k);
                    most_ahead = std::max<Index>(most_ahead, made - k);
                });
            REQUIRE(static_cast<Index>(delivered.size()) == count);
            for (Index k = 0; k < count; ++k) CHECK(delivered[static_cast<std::size_t>(k)] == k);
            CHECK(made == count);
            CHECK(most_ahead <= 3 * threads + 1);  // waiting, and in the making
        }
    set_num_threads(before);
}

TEST_CASE("in order: what make or deliver throws ends the loop and reaches the caller") {
    const int before = num_threads();
    for (const int threads : {1, 3}) {
        set_num_threads(threads);
        Index last = -1;
        const auto deliver = [&](Index k, Index) { last = k; };
        CHECK(message_of<std::runtime_error>([&] {
                  detail::for_each_in_order(
                      50,
                      [](Index k) {
                          if (k == 20) throw std::runtime_error("made 20");
                          return k;
                      },
                      deliver);
              }) == "made 20");
        CHECK(last < 20);
        CHECK(message_of<std::runtime_error>([&] {
                  detail::for_each_in_order(
                      50, [](Index k) { return k; },
                      [&](Index k, Index) {
                          if (k == 10) throw std::runtime_error("delivered 10");
                          last = k;
                      });
              }) == "delivered 10");
        CHECK(last == 9);
    }
    set_num_threads(before);
}

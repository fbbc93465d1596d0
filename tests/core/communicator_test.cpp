#include "mpo/core/communicator.hpp"

#include <array>

#include "support/catch.hpp"
#include "support/files.hpp"

TEST_CASE("a single process is a communicator whose collective calls change nothing") {
    static_assert(mpo::Communicator<mpo::SingleProcess>);
    mpo::SingleProcess group;
    CHECK(group.rank() == 0);
    CHECK(group.size() == 1);
    group.barrier();

    std::array<double, 3> doubles{1, -2, 3};
    std::array<float, 2> floats{0.5f, 4};
    std::array<std::int64_t, 1> counts{7};
    group.all_reduce_sum(std::span<double>(doubles));
    group.all_reduce_sum(std::span<float>(floats));
    group.all_reduce_sum(std::span<std::int64_t>(counts));
    CHECK(doubles == std::array<double, 3>{1, -2, 3});
    CHECK(floats == std::array<float, 2>{0.5f, 4});
    CHECK(counts[0] == 7);

    std::array<std::byte, 2> bytes{std::byte{1}, std::byte{2}};
    group.broadcast(bytes, 0);
    CHECK(bytes == std::array<std::byte, 2>{std::byte{1}, std::byte{2}});
    CHECK(group.gather(bytes, 0) ==
          std::vector<std::vector<std::byte>>{{std::byte{1}, std::byte{2}}});
    CHECK(group.gather({}, 0) == std::vector<std::vector<std::byte>>{{}});
}

TEST_CASE("a root outside the group is refused") {
    mpo::SingleProcess group;
    const int root = GENERATE(-1, 1, 7);
    mpo::test::check_throws<mpo::ArgumentError>([&] { group.broadcast({}, root); },
                                                {"broadcast", std::to_string(root)});
    mpo::test::check_throws<mpo::ArgumentError>([&] { static_cast<void>(group.gather({}, root)); },
                                                {"gather", std::to_string(root)});
}

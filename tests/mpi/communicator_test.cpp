// What every Communicator promises, on the ranks of a real job: ctest runs this under mpirun.

#include "mpo/core/communicator.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "mpo/core/random.hpp"
#include "mpo/mpi.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace mpo;
using namespace mpo::test;

static_assert(Communicator<MpiCommunicator>);

/// Calls of one element, of a few, and of all.
const Index call_sizes[] = {8, 24, 1000, Index{1} << 26};

/// What rank r contributes: numbers of very different sizes, so that every order has its own rounding.
template <class T>
[[nodiscard]] std::vector<T> contribution(int r, std::size_t n) {
    Random random(static_cast<std::uint64_t>(r) + 100);
    std::vector<T> values(n);
    for (auto& value : values) {
        const double draw = random.uniform() - 0.5;
        if constexpr (std::is_integral_v<T>)
            value = static_cast<T>(random.bits());
        else
            value = static_cast<T>(draw * std::pow(10.0, static_cast<double>(random.below(16))));
    }
    return values;
}

template <class T>
[[nodiscard]] std::span<std::byte> bytes_of(std::vector<T>& values) {
    return std::as_writable_bytes(std::span<T>(values));
}

}  // namespace

TEST_CASE("mpi: ranks are numbered") {
    MpiCommunicator all;
    REQUIRE(all.size() >= 1);
    CHECK(all.rank() >= 0);
    CHECK(all.rank() < all.size());
    std::vector<std::int64_t> seen(static_cast<std::size_t>(all.size()));
    seen[static_cast<std::size_t>(all.rank())] = 1;
    all.all_reduce_sum(std::span<std::int64_t>(seen));
    CHECK(seen == std::vector<std::int64_t>(seen.size(), 1));
    all.barrier();
}

TEST_CASE("mpi: everybody has the root's bytes, whoever is root") {
    for (const Index call : call_sizes) {
        MpiCommunicator all(MPI_COMM_WORLD, {.max_call_bytes = call});
        for (int root = 0; root < all.size(); ++root)
            for (const std::size_t n : std::initializer_list<std::size_t>{0, 1, 7, 1001}) {
                auto values = contribution<double>(all.rank(), n);
                all.broadcast(bytes_of(values), root);
                CHECK(values == contribution<double>(root, n));
            }
    }
}

TEMPLATE_TEST_CASE("mpi: sums are those in order of rank, to the bit, on every rank", "", float,
                   double, std::int64_t) {
    for (const Index call : call_sizes) {
        MpiCommunicator all(MPI_COMM_WORLD, {.max_call_bytes = call});
        for (const std::size_t n : std::initializer_list<std::size_t>{0, 1, 2, 3, 5, 64, 1003}) {
            INFO(n << " elements, calls of " << call << " bytes, " << all.size() << " ranks");
            auto values = contribution<TestType>(all.rank(), n);
            all.all_reduce_sum(std::span<TestType>(values));
            for (std::size_t i = 0; i < n; ++i) {
                if constexpr (std::is_integral_v<TestType>) {
                    std::uint64_t sum = 0;
                    for (int r = 0; r < all.size(); ++r)
                        sum += static_cast<std::uint64_t>(contribution<TestType>(r, n)[i]);
                    REQUIRE(values[i] == static_cast<TestType>(sum));
                } else {
                    double sum = static_cast<double>(contribution<TestType>(0, n)[i]);
                    for (int r = 1; r < all.size(); ++r)
                        sum += static_cast<double>(contribution<TestType>(r, n)[i]);
                    REQUIRE(values[i] == static_cast<TestType>(sum));
                }
                if (n > 100) i += 17;
            }
            const auto everywhere = all.gather(bytes_of(values), 0);
            for (const auto& one : everywhere)
                CHECK(std::equal(one.begin(), one.end(), bytes_of(values).begin(),
                                 bytes_of(values).end()));
        }
    }
}

TEST_CASE("mpi: NaN and infinity reach every rank") {
    MpiCommunicator all;
    std::vector<float> values{1, 1, 1};
    if (all.rank() == all.size() - 1)
        values = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                  1};
    all.all_reduce_sum(std::span<float>(values));
    CHECK(std::isnan(values[0]));
    CHECK(std::isinf(values[1]));
    CHECK(values[2] == static_cast<float>(all.size()));
}

TEST_CASE("mpi: the root gathers bytes of every length, in order of rank") {
    for (const Index call : call_sizes) {
        MpiCommunicator all(MPI_COMM_WORLD, {.max_call_bytes = call});
        const auto length = [](int r) { return static_cast<std::size_t>((r * 37 + 12) % 50); };
        for (int root = 0; root < all.size(); ++root) {
            auto own = contribution<float>(all.rank(), length(all.rank()));
            const auto gathered = all.gather(bytes_of(own), root);
            if (all.rank() != root) {
                CHECK(gathered.empty());
                continue;
            }
            REQUIRE(gathered.size() == static_cast<std::size_t>(all.size()));
            for (int r = 0; r < all.size(); ++r) {
                auto expected = contribution<float>(r, length(r));
                const auto& one = gathered[static_cast<std::size_t>(r)];
                CHECK(std::equal(one.begin(), one.end(), bytes_of(expected).begin(),
                                 bytes_of(expected).end()));
            }
        }
        CHECK(all.gather({}, 0).size() ==
              (all.rank() == 0 ? static_cast<std::size_t>(all.size()) : 0));
    }
}

TEST_CASE("mpi: what MPI refuses becomes an exception, and the job works on") {
    MpiCommunicator all;
    MPI_Comm first =
        MPI_COMM_NULL;  // two ranks: where more wait for one another, a breach may hang
    REQUIRE(MPI_Comm_split(MPI_COMM_WORLD, all.rank() < 2 ? 0 : 1, 0, &first) == MPI_SUCCESS);
    MpiCommunicator two(first);
    if (all.rank() < 2 && all.size() > 1) {
        std::vector<std::byte> bytes(all.rank() == 0 ? 64 : 16);
        if (all.rank() == 0)  // sends more than the other takes
            two.broadcast(bytes, 0);
        else
            check_throws<BackendError>([&] { two.broadcast(bytes, 0); },
                                       {"MPI_Bcast", "rank 1 of 2", "TRUNCATE"});
    }
    REQUIRE(MPI_Comm_free(&first) == MPI_SUCCESS);
    std::vector<double> one{1};
    all.all_reduce_sum(std::span<double>(one));
    CHECK(one[0] == all.size());
}

TEST_CASE("mpi: arguments outside their domain are refused on every rank") {
    MpiCommunicator all;
    for (const int root : {-1, all.size(), all.size() + 7}) {
        check_throws<ArgumentError>(
            [&] { all.broadcast({}, root); },
            {"broadcast", std::to_string(root), std::to_string(all.size())});
        check_throws<ArgumentError>([&] { static_cast<void>(all.gather({}, root)); },
                                    {"gather", std::to_string(root)});
    }
    for (const Index bytes : {Index{0}, Index{-1}, (Index{1} << 30) + 1})
        check_throws<ArgumentError>(
            [&] { MpiCommunicator(MPI_COMM_WORLD, {.max_call_bytes = bytes}); },
            {"max_call_bytes", "got " + std::to_string(bytes)});
}

TEST_CASE("mpi: a part of the ranks is a group of its own, whose messages meet nobody else's") {
    MpiCommunicator all;
    MPI_Comm half = MPI_COMM_NULL;
    REQUIRE(MPI_Comm_split(MPI_COMM_WORLD, all.rank() % 2, -all.rank(), &half) == MPI_SUCCESS);
    {
        MpiCommunicator group(half);
        REQUIRE(MPI_Comm_free(&half) == MPI_SUCCESS);  // it has its own
        std::vector<std::int64_t> ranks{all.rank()};
        group.all_reduce_sum(std::span<std::int64_t>(ranks));
        std::int64_t expected = 0;
        for (int r = all.rank() % 2; r < all.size(); r += 2) expected += r;
        CHECK(ranks[0] == expected);
    }
    all.barrier();
}

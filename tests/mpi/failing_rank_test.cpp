// A rank that fails or dies ends the whole job, soon, with a status other than 0 and, where it can still speak, one line.

#include <string>

#include "support/catch.hpp"
#include "support/mpi_job.hpp"

namespace {

using namespace mpo::test;

/// mpirun -n ranks mpo_mpi_failing_rank how
[[nodiscard]] Job run_job(int ranks, const std::string& how) {
    return mpo::test::run_job(ranks, MPO_MPI_FAILING_RANK, {how});
}

constexpr double soon =
    20;  // seconds, on a machine that builds beside it; without an end it is for ever

}  // namespace

TEST_CASE("failing rank: a job without one ends with status 0") {
    for (const int ranks : {1, 2, 3}) {
        const auto job = run_job(ranks, "nothing");
        INFO(job.err);
        CHECK(job.status == 0);
        CHECK(job.out == "done: " + std::to_string(ranks) + "\n");
        CHECK(job.err.empty());
    }
}

TEST_CASE("failing rank: one that throws says which rank and why, and all end") {
    for (const int ranks : {2, 3}) {
        const auto job = run_job(ranks, "throw");
        INFO(job.err);
        CHECK(job.signal == 0);
        CHECK(job.status == 1);
        CHECK(count(job.err, "mpo: error: rank 1 of " + std::to_string(ranks) +
                                 ": block 3, step 7: the loss is nan\n") == 1);
        CHECK(count(job.err, "mpo: error: ") == 1);
        CHECK(job.out.empty());
        CHECK(job.seconds < soon);
    }
    const auto unknown = run_job(2, "throw_int");
    CHECK(unknown.status == 1);
    CHECK(count(unknown.err, "rank 1 of 2: an exception that is no std::exception") == 1);
}

TEST_CASE("failing rank: where all throw the same, one of them speaks") {
    const auto job = run_job(3, "all_throw");
    INFO(job.err);
    CHECK(job.status == 1);
    CHECK(count(job.err, "mpo: error: ") == 1);
    CHECK(count(job.err, "rank 0 of 3: block 3, step 7") == 1);
    CHECK(job.seconds < soon);
}

TEST_CASE("failing rank: a status other than 0 ends all with it") {
    const auto job = run_job(3, "return");
    INFO(job.err);
    CHECK(job.status == 3);
    CHECK(count(job.err, "mpo: error: rank 1 of 3: ended with status 3\n") == 1);
    CHECK(job.seconds < soon);
}

TEST_CASE("failing rank: a status whose eight bits are 0 is no success") {
    const auto job = run_job(3, "return_256");
    INFO(job.err);
    CHECK(job.status == 1);
    CHECK(count(job.err, "mpo: error: rank 1 of 3: ended with status 256\n") == 1);
}

TEST_CASE("failing rank: one that dies without a word ends all") {
    for (const std::string how : {"exit", "_exit", "kill", "abort"})
        for (const int ranks : {2, 3}) {
            const auto job = run_job(ranks, how);
            INFO(how << ", " << ranks << " ranks: " << job.err);
            CHECK(job.signal == 0);
            CHECK(job.status != 0);
            CHECK(job.out.empty());
            CHECK(job.seconds < soon);
        }
}

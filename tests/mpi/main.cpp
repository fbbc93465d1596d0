// The test runner of a job: every rank runs every test; one that finds a failure ends all.
#ifdef __has_include
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_RUNNER
#endif
#endif
#include "mpo/mpi.hpp"
#include "support/catch.hpp"

int main(int argc, char** argv) {
    return mpo::run_ranks(argc, argv, [&](mpo::MpiCommunicator&) {
        return Catch::Session().run(argc, argv) == 0 ? 0 : 1;
    });
}

// A stranger's program with mpo::mpi: each rank decomposes a matrix of its own, and all have the sum of the errors.
#include <cstdint>
#include <iostream>
#include <span>

#include "mpo/mpi.hpp"
#include "mpo/mpo.hpp"

int main(int argc, char** argv) {
    return mpo::run_ranks(argc, argv, [](mpo::MpiCommunicator& all) {
        const mpo::EigenBackend cpu;
        const auto seed = static_cast<std::uint64_t>(all.rank());
        const auto W = mpo::normal_tensor<float>({12, 20}, seed);
        const auto result = mpo::decompose(W, {.layout = {.out = {3, 4}, .in = {4, 5}}}, cpu);
        double error[] = {result.report.relative_error};
        all.all_reduce_sum(std::span<double>(error));
        if (all.rank() == 0) std::cout << all.size() << " ranks, error " << error[0] << '\n';
        return error[0] < 1e-5 * all.size() ? 0 : 1;
    });
}

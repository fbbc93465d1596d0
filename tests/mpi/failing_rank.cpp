// A job of which rank 1 fails in the way that its argument names, while the others wait for it.

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string_view>

#include "mpo/mpi.hpp"

int main(int argc, char** argv) {
    const std::string_view how = argc == 2 ? argv[1] : "";
    return mpo::run_ranks(argc, argv, [&](mpo::MpiCommunicator& all) {
        std::int64_t ranks[] = {1};
        all.all_reduce_sum(std::span<std::int64_t>(ranks));
        if (how == "all_throw") throw mpo::NumericalError("block 3, step 7: the loss is nan");
        if (all.rank() == 1) {
            if (how == "throw") throw mpo::NumericalError("block 3, step 7: the loss is nan");
            if (how == "throw_int") throw 7;
            if (how == "return") return 3;
            if (how == "return_256") return 256;  // of which the system would keep 0
            if (how == "exit") std::exit(0);      // as if all were well
            if (how == "_exit") std::_Exit(5);
            if (how == "kill") std::raise(SIGKILL);
            if (how == "abort") std::abort();
        }
        if (how != "nothing") all.barrier();
        all.barrier();
        if (all.rank() == 0) std::cout << "done: " << ranks[0] << '\n';
        return 0;
    });
}

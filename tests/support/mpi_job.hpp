// A program run on several ranks.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "child.hpp"
#include "files.hpp"

namespace mpo::test {

struct Job : Ended {
    double seconds = 0;
};

/// mpirun -n ranks program arguments..
[[nodiscard]] inline Job run_job(int ranks, const std::string& program,
                                 const std::vector<std::string>& arguments) {
    const TemporaryFolder folder;
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::string> all{MPO_MPIEXEC, MPO_MPIEXEC_NUMPROC_FLAG, std::to_string(ranks),
                                 program};
    all.insert(all.end(), arguments.begin(), arguments.end());
    Job job;
    static_cast<Ended&>(job) = run_program("/usr/bin/env", all, folder.path());
    job.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return job;
}

[[nodiscard]] inline std::size_t count(const std::string& text, const std::string& piece) {
    std::size_t found = 0;
    for (auto at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1))
        ++found;
    return found;
}

}  // namespace mpo::test

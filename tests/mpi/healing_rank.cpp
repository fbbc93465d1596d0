// A job that heals, of which rank 1 meets its fate at a sum that its arguments name, while the others wait for it.
//
//   mpo_mpi_healing_rank FOLDER TO INPUTS FATE SUM
//
// FOLDER has "teacher" and "student"; FOLDER/TO is written, FOLDER/work_TO resumed. FATE: none, kill, or nan: rank 1
// alone sees a number in a sum that is none.

#include <csignal>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mpo/model/heal.hpp"
#include "mpo/mpi.hpp"
#include "support/heal_settings.hpp"

namespace {

using namespace mpo;

/// MPI's processes, one of them doomed.
class DoomedGroup {
  public:
    DoomedGroup(MpiCommunicator& all, std::string fate, int sum)
        : all_(all), fate_(std::move(fate)), left_(sum) {}

    [[nodiscard]] int rank() const { return all_.rank(); }
    [[nodiscard]] int size() const { return all_.size(); }
    void barrier() { all_.barrier(); }
    void broadcast(std::span<std::byte> bytes, int root) { all_.broadcast(bytes, root); }
    void all_reduce_sum(std::span<float> values) {
        const bool now = is_time();
        all_.all_reduce_sum(values);
        if (now && !values.empty()) values.front() = std::numeric_limits<float>::quiet_NaN();
    }
    void all_reduce_sum(std::span<double> values) { all_.all_reduce_sum(values); }
    void all_reduce_sum(std::span<std::int64_t> values) {
        (void)is_time();
        all_.all_reduce_sum(values);
    }
    [[nodiscard]] std::vector<std::vector<std::byte>> gather(std::span<const std::byte> own,
                                                             int root) {
        return all_.gather(own, root);
    }

  private:
    /// Whether rank 1 is to see a NaN now; does not return where it is to die.
    [[nodiscard]] bool is_time() {
        if (all_.rank() != 1 || fate_ == "none" || --left_ > 0) return false;
        if (fate_ == "kill") std::raise(SIGKILL);
        return true;
    }

    MpiCommunicator& all_;
    std::string fate_;
    int left_;
};

static_assert(Communicator<DoomedGroup>);

}  // namespace

int main(int argc, char** argv) {
    return mpo::run_ranks(argc, argv, [&](MpiCommunicator& all) {
        const std::vector<std::string> arguments(argv + 1, argv + argc);
        const std::filesystem::path folder = arguments.at(0);
        const std::string to = arguments.at(1);
        DoomedGroup group(all, arguments.at(3), std::stoi(arguments.at(4)));
        auto options = mpo::test::heal_settings();
        if (arguments.at(2) == "dense") options.blocks->inputs = HealInputs::dense;
        (void)mpo::heal(folder / "student", folder / "teacher",
                        mpo::test::heal_texts(folder / "teacher"), folder / to,
                        folder / ("work_" + to), options, EigenBackend{}, group);
    });
}

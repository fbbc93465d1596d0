// A callback that cancels, or throws, at any event: the exception says where, nothing stays, and the
// same call without it succeeds.

#include "support/jobs.hpp"
#include "support/thread_count.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

/// compress or reconstruct, with a callback.
struct Cancellable {
    std::string name;
    std::function<void(const std::filesystem::path&, const ProgressCallback&)> run;
};

[[nodiscard]] std::vector<Cancellable> cancellables(const Sources& sources) {
    return {{"compress",
             [&](const auto& path, const ProgressCallback& progress) {
                 compress_model(sources.model, path, progress);
             }},
            {"reconstruct", [&](const auto& path, const ProgressCallback& progress) {
                 reconstruct_model(sources.small, path, progress);
             }}};
}

constexpr int num_linears = 14;

}  // namespace

TEST_CASE("cancel: at every event, with the step and how far it got, and nothing stays") {
    const Sources sources;
    const auto good = good_outputs(jobs(sources));
    for (const auto& job : cancellables(sources))
        for (const int threads : {1, 2, 3}) {
            const ThreadCount scope(threads);
            const TemporaryFolder folder;
            for (int k = 1; k <= num_linears; ++k) {
                INFO(job.name << ", " << threads << " threads, event " << k);
                int events = 0;
                std::string linear;
                check_throws<Cancelled>(
                    [&] {
                        job.run(folder / "out", [&](const Progress& progress) {
                            linear = progress.linear;
                            return ++events == k ? ProgressReply::cancel : ProgressReply::go_on;
                        });
                    },
                    {job.name + ": cancelled after " + std::to_string(k) + " of 14 linears",
                     linear + "; nothing was kept"});
                CHECK(events == k);  // none behind the one that cancelled
                CHECK(folder.names().empty());
            }
            job.run(folder / "out", {});
            CHECK(everything(folder / "out") == good.at(job.name));
        }
}

TEST_CASE("cancel: what a callback throws reaches the caller, and nothing stays") {
    const Sources sources;
    for (const auto& job : cancellables(sources))
        for (const int threads : {1, 2}) {
            INFO(job.name << ", " << threads << " threads");
            const ThreadCount scope(threads);
            const TemporaryFolder folder;
            const auto complain = [](const Progress& progress) -> ProgressReply {
                if (progress.done == 3) throw std::out_of_range("no patience");
                return ProgressReply::go_on;
            };
            CHECK(message_of<std::out_of_range>([&] { job.run(folder / "out", complain); }) ==
                  "no patience");
            CHECK(folder.names().empty());
        }
}

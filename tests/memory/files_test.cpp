// Out of memory at every allocation while an MPO is decomposed and written, and while it is read
// back.

#include "support/files.hpp"
#include "mpo/io/safetensors.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/network/decompose.hpp"
#include "support/matrices.hpp"
#include "support/models.hpp"
#include "support/out_of_memory.hpp"
#include "support/thread_count.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

[[nodiscard]] std::string core_of(Index k) {
    return "model.layers.0.self_attn.q_proj.cores." + std::to_string(k);
}

/// The file that holds the cores of W.
void decompose_and_write(const Tensor<float>& W, const std::filesystem::path& path) {
    const auto mpo =
        decompose(W, {.layout = {.out = {3, 4}, .in = {5, 4}}, .truncation = {.max_bond_dim = 5}},
                  EigenBackend{})
            .mpo;
    SafetensorsWriter writer(path);
    for (Index k = 0; k < mpo.num_sites(); ++k) writer.append(core_of(k), mpo.core(k));
    writer.finish();
}

}  // namespace

TEST_CASE("out of memory: decompose and write, over an older file") {
    const auto W = matrix_with_spectrum<float>(12, 20, power_spectrum(12), 3);
    for (const int threads : {1, 2})
        for (const auto shortage : {Shortage::once, Shortage::lasting}) {
            const ThreadCount scope(threads);
            const TemporaryFolder folder;
            decompose_and_write(W, folder / "out");
            const auto expected = read_file(folder / "out");
            write_file(folder / "out", std::string("old"));
            const auto counts = for_every_allocation(
                shortage,
                [&] {
                    decompose_and_write(W, folder / "out");
                    return 0;
                },
                [&](int) {
                    const bool written = read_file(folder / "out") == expected;
                    write_file(folder / "out", std::string("old"));
                    return written;
                },
                [&] {
                    return read_file(folder / "out") == "old" &&
                           folder.names() == std::vector<std::string>{"out"};
                });
            CHECK(counts.failed > 50);
        }
}

namespace {

/// call() with its n-th allocation failing, and once more where it failed. False where it has fewer.
template <class Call>
[[nodiscard]] bool with_a_second_try(long n, Call&& call) {
    FailingAllocation failing(n, Shortage::once);
    try {
        call();
    } catch (const std::bad_alloc&) {
        failing.stop();
        call();
    }
    failing.stop();
    return failing.happened();
}

/// Two tensors through a writer, the second one with a second try, and finish(writer, n).
template <class MakeWriter, class Finish>
void check_second_tries(const std::filesystem::path& folder, MakeWriter&& make_writer,
                        Finish&& finish) {
    const auto first = normal_tensor<float>({5, 3}, 1), second = normal_tensor<float>({7, 2}, 2);
    std::map<std::string, std::string> expected;
    bool happened = true;
    for (long n = 0; happened; ++n) {
        INFO("allocation " << n);  // 0: none fails
        auto writer = make_writer();
        writer.append("first", first);
        happened = with_a_second_try(n, [&] { writer.append("second", second); });
        happened = finish(writer, n) || happened || n == 0;
        if (n == 0) expected = contents(folder);
        CHECK(contents(folder) == expected);
        CHECK(expected.size() > 0);
    }
}

}  // namespace

TEST_CASE("out of memory: a writer is after a failed append, or finish, what it was before") {
    const TemporaryFolder folder;
    const auto finish = [](auto& writer, long n) {
        return with_a_second_try(n, [&] { writer.finish(); });
    };
    for (const Index reserved : {0, 1 << 16})
        check_second_tries(
            folder.path(),
            [&] { return SafetensorsWriter(folder / "out", {.reserved_header_bytes = reserved}); },
            finish);
}

TEST_CASE("out of memory: a writer of shards is after a failed append what it was before") {
    const TemporaryFolder folder;
    const auto finish = [](auto& writer, long) {
        writer.finish();
        return false;
    };
    for (const Index limit : {Index{10}, Index{1000}}) {
        const auto inside = folder / std::to_string(limit);
        std::filesystem::create_directory(inside);
        check_second_tries(
            inside, [&] { return ShardedSafetensorsWriter(inside, {.max_shard_bytes = limit}); },
            finish);
    }
}

TEST_CASE("out of memory: reading back") {
    const auto W = matrix_with_spectrum<float>(12, 20, power_spectrum(12), 3);
    const TemporaryFolder folder;
    decompose_and_write(W, folder / "out");
    const auto written = read_file(folder / "out");
    for (const auto mode : {ReadMode::mapped, ReadMode::buffered}) {
        const auto make = [&] {
            const SafetensorsFile file(folder / "out", {.mode = mode});
            std::vector<float> numbers;
            for (Index k = 0; k < 2; ++k) {
                const auto core = file.read<float>(core_of(k));
                numbers.insert(numbers.end(), core.data(), core.data() + core.size());
            }
            return numbers;
        };
        const auto expected = make();
        for (const auto shortage : {Shortage::once, Shortage::lasting}) {
            const auto counts = for_every_allocation(
                shortage, make, [&](const auto& numbers) { return numbers == expected; },
                [&] { return read_file(folder / "out") == written; });
            CHECK(counts.failed > 20);
        }
    }
}

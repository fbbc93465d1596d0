// Many readers of one open file, of each format and in each mode.

#include <thread>

#include "mpo/model/checkpoint.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/models.hpp"

using namespace mpo;
using namespace mpo::test;

TEST_CASE("threads: one checkpoint serves many readers") {
    const TemporaryFolder folder;
    write_model(folder / "model", small_weights());
    for (const auto& path : {folder / "model", fixture("tiny_llama.gguf")})
        for (const auto mode : {ReadMode::mapped, ReadMode::buffered}) {
            const Checkpoint checkpoint(path, mode);
            std::vector<Tensor<float>> expected;
            for (const auto& tensor : checkpoint.tensors())
                expected.push_back(checkpoint.read<float>(tensor.name));
            std::vector<int> wrong(4, 0);
            std::vector<std::thread> readers;
            for (auto& mine : wrong)
                readers.emplace_back([&] {
                    for (int repeat = 0; repeat < 5; ++repeat)
                        for (std::size_t k = 0; k < expected.size(); ++k)
                            if (!same_values(checkpoint.read<float>(checkpoint.tensors()[k].name),
                                             expected[k]))
                                ++mine;
                });
            for (auto& reader : readers) reader.join();
            CHECK(wrong == std::vector<int>(4, 0));
        }
}

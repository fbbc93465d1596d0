// A layer in a safetensors file: the same to the last bit, and nothing of a stranger's is believed.
#include "mpo/io/layer_file.hpp"

#include "mpo/linalg/eigen_backend.hpp"
#include "mpo/network/mpo_linear.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/matrices.hpp"
#include "support/scalars.hpp"

using namespace mpo;
using namespace mpo::test;

namespace {

template <class T>
[[nodiscard]] MpoLinear<T> small_layer(const EigenBackend& cpu, Index bias = 6) {
    return {random_mpo<T>({{3, 2}, {2, 4}}, {1, 5, 1}, 41),
            bias == 0 ? Tensor<T>() : normal_tensor<T>({bias}, 42),
            {},
            cpu};
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("layer file: saved and loaded, it is the same to the last bit", "",
                        EveryScalar) {
    using T = TestType;
    const EigenBackend cpu;
    const TemporaryFolder folder;
    const auto path = folder / "layer.safetensors";
    for (const Index bias : {0, 6}) {
        const auto layer = small_layer<T>(cpu, bias);
        save_layer(layer, path);
        CHECK(folder.names() == std::vector<std::string>{"layer.safetensors"});
        const auto back = load_layer<MpoLinear<T>>(path, {}, cpu);  // planned alike: the same bits
        REQUIRE(back.mpo().bond_dims() == layer.mpo().bond_dims());
        CHECK(back.mpo().layout() == layer.mpo().layout());
        for (Index k = 0; k < 2; ++k)
            CHECK(naive::distance(back.mpo().core(k), layer.mpo().core(k)) == 0);
        CHECK(naive::distance(back.bias(), layer.bias()) == 0);
        const auto X = normal_tensor<T>({3, 8}, 43);
        Tensor<T> Y({3, 6}), again({3, 6});
        layer.apply(X, Y);
        back.apply(X, again);
        CHECK(naive::distance(Y, again) == 0);
    }
}

TEST_CASE("layer file: what holds no such layer is refused with the file's name") {
    const EigenBackend cpu;
    const TemporaryFolder folder;
    const auto path = folder / "layer.safetensors";
    const auto refused = [&](const std::string& what) {
        std::string message = "nothing was thrown";
        try {
            (void)load_layer<MpoLinear<float>>(path, {}, cpu);
        } catch (const FormatError& error) {
            message = error.what();
        }
        CAPTURE(message, what);
        CHECK(message.find(path.string()) == 0);
        CHECK(message.find(what) != std::string::npos);
    };
    CHECK_THROWS_AS(load_layer<MpoLinear<float>>(path, {}, cpu), FileError);

    write_file(path, std::string("no safetensors"));
    refused("byte 0");

    save_layer(small_layer<double>(cpu), path);
    refused("'scalar' must be 'float32', got 'float64'");

    {  // a stranger's checkpoint
        SafetensorsWriter writer(path);
        writer.append("weight", normal_tensor<float>({6, 8}, 44));
        writer.finish();
    }
    refused("lack 'kind'");

    save_layer(small_layer<float>(cpu), path);
    const auto whole = read_file(path);
    write_file(path, whole.substr(0, whole.size() - 4));
    refused("bias");

    {  // legs whose products no index holds, in cores that the file does hold
        SafetensorsWriter writer(path);
        for (const auto& [key, value] : {std::pair{"kind", "mpo_linear"},
                                         {"format_version", "1"},
                                         {"scalar", "float32"},
                                         {"num_sites", "12"}})
            writer.set_metadata(key, value);
        for (int k = 0; k < 12; ++k)
            writer.append("cores." + std::to_string(k), Tensor<float>({1, 64, 1, 1}));
        writer.finish();
    }
    refused("layer.safetensors: ");
}

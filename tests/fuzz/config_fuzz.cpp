// The JSON beside weights: any text as config.json, and as the index of two shards. A config.json that
// is accepted can be written again and says the same.

#include "fuzz.hpp"
#include "mpo/io/safetensors_shards.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "mpo/model/hyperparameters.hpp"

namespace {

using namespace mpo;

/// Shards a (x, y) and b (z).
struct Shards {
    Shards() {
        SafetensorsWriter a(folder.path() / "a"), b(folder.path() / "b");
        a.append("x", Tensor<float>({2}));
        a.append("y", Tensor<float>({1}));
        b.append("z", Tensor<float>({1}));
        a.finish();
        b.finish();
    }
    fuzz::Folder folder;
};

[[nodiscard]] std::string check_config(std::string_view text, const std::string& name) {
    const auto config = parse_config(text, name);
    const auto again = to_config_json(config, DType::f32);
    fuzz::require(to_config_json(parse_config(again, name), DType::f32) == again,
                  "config.json says the same");
    return again;
}

[[nodiscard]] std::string check_index(const std::filesystem::path& path) {
    const ShardedSafetensors shards(path);
    for (const char* name : {"x", "y", "z"})
        if (shards.contains(name)) (void)shards.shard_of(name).read<float>(name);
    return std::to_string(shards.shards().size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Shards scratch;
    const auto text = fuzz::text_of(data, size);
    (void)fuzz::outcome("config.json", [&] { return check_config(text, "config.json"); });
    const auto path = scratch.folder.write("index.json", text);
    (void)fuzz::outcome(path.parent_path(), [&] { return check_index(path); });
    return 0;
}

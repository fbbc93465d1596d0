// A compressed folder: the input is mpo_config.json and, behind a NUL byte, model.safetensors; without
// one, two cores that fit the first seed. Refused, or all linears can be read.

#include "fuzz.hpp"
#include "mpo/io/safetensors_writer.hpp"
#include "mpo/model/describe.hpp"

namespace {

using namespace mpo;

/// A folder whose cores are those of a linear "l", (6, 4) = 3*2 : 2*2 with a bond of 3.
struct Scratch {
    Scratch() {
        folder.write("config.json", "{}");
        SafetensorsWriter writer(folder.path() / "model.safetensors");
        writer.append("l.cores.0", Tensor<float>({1, 3, 2, 3}));
        writer.append("l.cores.1", Tensor<float>({3, 2, 2, 1}));
        writer.finish();
        const MappedFile file(folder.path() / "model.safetensors", ReadMode::buffered);
        cores.resize(static_cast<std::size_t>(file.size()));
        file.read(0, std::as_writable_bytes(std::span(cores)));
    }
    fuzz::Folder folder;
    std::string cores;
};

[[nodiscard]] std::string describe(const std::filesystem::path& path, ReadMode mode) {
    const CompressedCheckpoint compressed(path, mode);
    for (const auto& linear : compressed.linears())
        fuzz::require(compressed.read<float>(linear).layout() == linear.layout,
                      "cores have the layout stated");
    return to_json(compressed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Scratch scratch;
    const auto text = fuzz::text_of(data, size);
    const auto nul = text.find('\0');
    const bool whole = nul != std::string_view::npos;
    scratch.folder.write(compressed_config_file, text.substr(0, nul));
    scratch.folder.write("model.safetensors", whole ? text.substr(nul + 1) : scratch.cores);
    const auto& path = scratch.folder.path();
    const auto open = [&](ReadMode mode) {
        return fuzz::outcome(path, [&] { return describe(path, mode); });
    };
    fuzz::require(open(ReadMode::mapped) == open(ReadMode::buffered), "both modes agree");
    return 0;
}

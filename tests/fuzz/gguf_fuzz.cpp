// A GGUF file of any bytes as a checkpoint: refused, or described and read; mapped and buffered alike.

#include "checkpoint_text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace mpo;
    static const fuzz::Folder folder;
    const auto path = folder.write("m.gguf", fuzz::text_of(data, size));
    const auto open = [&](ReadMode mode) {
        return fuzz::outcome(path, [&] { return fuzz::text_of(Checkpoint(path, mode)); });
    };
    fuzz::require(open(ReadMode::mapped) == open(ReadMode::buffered), "both modes agree");
    return 0;
}

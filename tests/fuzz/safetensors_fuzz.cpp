// A safetensors file of any bytes: refused, or its tensors cover the data and can be read; mapped
// and buffered alike.

#include <span>

#include "fuzz.hpp"
#include "mpo/io/safetensors.hpp"

namespace {

using namespace mpo;

[[nodiscard]] std::string describe(const std::filesystem::path& path, ReadMode mode,
                                   TrailingBytes trailing) {
    const SafetensorsFile file(path, {mode, trailing});
    Index bytes = 0;
    std::string text = std::to_string(file.metadata().size());
    for (const auto& entry : file.tensors()) {
        bytes += entry.bytes;
        const auto stored = file.bytes(entry.name);
        fuzz::require(stored.size() == entry.bytes, "a tensor has its bytes");
        for (const std::byte byte : stored.span()) text += static_cast<char>(byte);
        if (is_convertible(entry.dtype) && entry.dtype != DType::c64)
            fuzz::require(file.read<float>(entry.name).shape() == entry.shape, "shape");
        text += entry.name + to_string(entry.dtype) + to_string(entry.shape);
    }
    if (!file.tensors().empty()) {
        const auto& last = file.tensors().back();
        const Index begin = file.tensors().front().offset, end = last.offset + last.bytes;
        fuzz::require(end - begin == bytes, "the tensors cover the data");
    }
    return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    const auto path = folder.write("m.safetensors", fuzz::text_of(data, size));
    const auto open = [&](ReadMode mode, TrailingBytes trailing) {
        return fuzz::outcome(path, [&] { return describe(path, mode, trailing); });
    };
    const auto strict = open(ReadMode::mapped, TrailingBytes::refuse);
    fuzz::require(strict == open(ReadMode::buffered, TrailingBytes::refuse), "both modes agree");
    (void)open(ReadMode::buffered, TrailingBytes::tolerate);
    return 0;
}

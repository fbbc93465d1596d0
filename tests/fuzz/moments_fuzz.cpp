// A file of moments of any bytes: refused, or every moment in it can be read, written and read again.

#include "fuzz.hpp"
#include "tiny_moments.hpp"

namespace {

using namespace mpo;

[[nodiscard]] std::string describe(const std::filesystem::path& path,
                                   const std::filesystem::path& copy) {
    const auto config = fuzz::tiny_config();
    const MomentsFile file(path, config);
    MomentsWriter writer(copy, config);
    for (const auto& linear : file.linears()) {
        const auto moments = file.read(linear);
        fuzz::require(moments.linears().front() == linear, "moments have their linear");
        fuzz::require(moments.sums().dense.extent(0) == moments.inputs(), "moments are square");
        writer.append(moments);
    }
    writer.finish(file.summary());
    const MomentsFile again(copy, config);
    fuzz::require(again.linears() == file.linears(), "the copy has the same linears");
    for (const auto& linear : file.linears()) {
        const auto one = file.read(linear), other = again.read(linear);
        fuzz::require(one.tokens() == other.tokens() && one.sinks() == other.sinks(),
                      "the copy says the same of " + linear);
    }
    return std::to_string(file.summary().tokens);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    const auto path = folder.write("moments.safetensors", fuzz::text_of(data, size));
    (void)fuzz::outcome(path, [&] { return describe(path, folder.path() / "copy.safetensors"); });
    return 0;
}

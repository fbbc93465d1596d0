// The metadata of a GGUF file, where the tokenizer is: the input is the number of pairs and the pairs
// themselves. What is accepted becomes a config.json that reads back, and travels as a file; a tokenizer
// that is accepted encodes, and decodes to the same.

#include "checkpoint_text.hpp"
#include "support/gguf_bytes.hpp"
#include "tokenizer_text.hpp"

namespace {

using namespace mpo;

[[nodiscard]] std::string check(const std::filesystem::path& path,
                                const std::filesystem::path& copy_path) {
    const Checkpoint checkpoint(path);
    const auto text = fuzz::text_of(checkpoint);
    if (const auto& model = checkpoint.hyperparameters()) {
        const auto again = parse_config(checkpoint.config_json(), path.string());
        fuzz::require(again.hidden_size == model->hidden_size &&
                          again.num_key_value_heads == model->num_key_value_heads &&
                          again.eos_token_ids == model->eos_token_ids,
                      "config.json says the same");
    }
    checkpoint.write_gguf_metadata(copy_path);
    const GgufFile original(path), copy(copy_path);
    fuzz::require(copy.metadata().size() == original.metadata().size(), "the copy is whole");
    return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    if (size == 0) return 0;
    auto file = test::gguf_preamble(0, data[0]);
    const auto path = folder.write("m.gguf", file.text(fuzz::text_of(data + 1, size - 1)).data());
    (void)fuzz::outcome(path, [&] { return check(path, folder.path() / "copy.gguf"); });
    (void)fuzz::outcome(path, [&] { return fuzz::text_of(read_tokenizer(path)); });
    return 0;
}
